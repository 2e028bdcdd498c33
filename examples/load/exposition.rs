//! The Prometheus text format, as far as the load test needs it: values, and quantiles of what a histogram gained between two readings.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Exposition(BTreeMap<String, f64>);

/// What a histogram gained: upper edges and counts up to them.
pub(crate) struct Gain(Vec<(f64, f64)>);

impl Exposition {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// The sum of the series of `name` whose labels hold `label`.
    pub(crate) fn value(&self, name: &str, label: &str) -> f64 {
        let fits = |series: &str| {
            let (series, labels) = series.split_once('{').unwrap_or((series, ""));
            series == name && labels.contains(label)
        };
        self.0.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }

    /// Series of `name` that grew since `before`, with by how much.
    pub(crate) fn grown<'a>(&'a self, before: &'a Self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let own = self.0.iter().filter(move |(series, _)| series.starts_with(name));
        own.map(|(series, value)| (series.as_str(), value - before.0.get(series).copied().unwrap_or_default()))
            .filter(|(_, grown)| *grown > 0.0)
    }

    pub(crate) fn gain(&self, before: &Self, name: &str, label: &str) -> Gain {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (series, value) in self.0.range(name.clone()..).take_while(|(series, _)| series.starts_with(&name)) {
            let Some((_, edge)) = series.split_once("le=\"") else { continue };
            if !series.contains(label) {
                continue;
            }
            let edge = edge.trim_end_matches("\"}").parse().unwrap_or(f64::INFINITY);
            buckets.push((edge, value - before.0.get(series).copied().unwrap_or_default()));
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Gain(buckets)
    }
}

impl Gain {
    pub(crate) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The share above an edge, in percent.
    pub(crate) fn share_above(&self, edge: f64) -> f64 {
        let below = self.0.iter().rfind(|(upper, _)| *upper <= edge + 1e-9).map_or(0.0, |(_, count)| *count);
        if self.count() > 0.0 { 100.0 * (1.0 - below / self.count()) } else { 0.0 }
    }

    /// A quantile in milliseconds, linear within its bucket.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        let wanted = quantile * self.count();
        let (mut edge, mut below) = (0.0, 0.0);
        for (upper, count) in &self.0 {
            if *count >= wanted && *count > below {
                if upper.is_infinite() {
                    return f64::INFINITY;
                }
                return 1_000.0 * (edge + (upper - edge) * (wanted - below) / (count - below));
            }
            (edge, below) = (*upper, *count);
        }
        0.0
    }
}

/// What a counter is measured against from the daemon's start on.
pub(crate) static EMPTY: Exposition = Exposition(BTreeMap::new());
