//! The figures of one call for its record: what its media was like both ways, and how long its turns took.

use crate::call::output::TurnTimes;
use crate::media::quality::Quality;
use crate::media::{Dropped, Statistics};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// The turns of a call, the last ones of a very long one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    count: u64,
    last: VecDeque<TurnTimes>,
}

impl Turns {
    pub(super) fn note(&mut self, times: TurnTimes) {
        self.count += 1;
        if self.last.len() >= MOST {
            self.last.pop_front();
        }
        self.last.push_back(times);
    }

    /// Of each stage the median and the 95th percentile.
    pub(super) fn json(&self) -> Value {
        let mut latency = Map::from_iter([("turns".to_owned(), self.count.into())]);
        let total = self.last.iter().map(|times| ("total", times.total));
        let stages = self.last.iter().flat_map(TurnTimes::stages);
        let mut taken: Vec<(&str, Vec<Duration>)> = Vec::new();
        for (stage, took) in stages.chain(total) {
            match taken.iter_mut().find(|(known, _)| *known == stage) {
                Some((_, all)) => all.push(took),
                None => taken.push((stage, vec![took])),
            }
        }
        for (stage, mut all) in taken {
            all.sort_unstable();
            latency.insert(format!("{stage}_ms"), json!({"p50": rank(&all, 50), "p95": rank(&all, 95)}));
        }
        Value::Object(latency)
    }
}

/// Everything, as it stands in the record and in `/v1/calls`.
pub(super) fn json(media: Option<&Statistics>, latency: Value) -> Value {
    json!({"media": media.and_then(of_media), "latency": latency})
}

fn of_media(statistics: &Statistics) -> Option<Value> {
    let codec = statistics.codec?;
    let quality = Quality::of(codec, statistics);
    let (playout, reports) = (statistics.playout, statistics.reports);
    let heard = reports.heard;
    Some(json!({
        "codec": codec.name(),
        "round_trip_ms": reports.round_trip.map(millis),
        "in": {
            "packets": statistics.packets_in,
            "lost": statistics.lost,
            "jitter_ms": millis(statistics.jitter),
            "dropped": dropped(&statistics.dropped),
            "concealed_ms": millis(playout.concealed),
            "shortened_ms": millis(playout.shortened),
            "lengthened_ms": millis(playout.lengthened),
            "buffer_ms": millis(statistics.depth),
            "reports": reports.packets_in,
            "mos": quality.incoming.map(score),
        },
        "out": {
            "packets": statistics.packets_out,
            "skipped": statistics.skipped,
            "lost": heard.map(|heard| heard.lost),
            "jitter_ms": heard.map(|heard| millis(heard.jitter_in(codec))),
            "reports": reports.packets_out,
            "mos": quality.outgoing.map(score),
        },
    }))
}

/// The reasons that there were.
fn dropped(dropped: &Dropped) -> Value {
    let counts = dropped.by_reason().into_iter().filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(reason, count)| (reason.to_owned(), count.into())).collect())
}

/// The nearest rank.
fn rank(sorted: &[Duration], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
    sorted.get(place).copied().map(millis)
}

/// To a tenth.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn score(mos: f64) -> f64 {
    (mos * 100.0).round() / 100.0
}

/// Turns that are remembered.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TurnId;
    use crate::call::output::TurnCause;
    use crate::media::Codec;
    use crate::media::rtcp::{Heard, Reports};

    fn times(turn: u64, total: u64) -> TurnTimes {
        let ms = Duration::from_millis;
        TurnTimes {
            turn: TurnId(turn),
            cause: TurnCause::Dtmf,
            end_pointing: None,
            speech_to_text: None,
            assistant: ms(total / 2),
            waited: Duration::ZERO,
            text_to_speech: ms(total / 2),
            gateway: ms(total % 2),
            total: ms(total),
        }
    }

    #[test]
    fn stages_are_told_by_median_and_percentile_and_memory_is_bounded() {
        let mut turns = Turns::default();
        assert_eq!(json(None, turns.json()), json!({"media": null, "latency": {"turns": 0}}));
        (1..=20).for_each(|n| turns.note(times(n, n * 100)));
        let told = turns.json();
        assert_eq!(told["total_ms"], json!({"p50": 1000.0, "p95": 1900.0}));
        assert_eq!(told["assistant_ms"], json!({"p50": 500.0, "p95": 950.0}));
        assert!(told.get("speech_to_text_ms").is_none(), "no turn had it");
        (0..10_000).for_each(|n| turns.note(times(n, 7)));
        assert_eq!((turns.last.len(), turns.json()["turns"].clone()), (MOST, json!(10_020)));
    }

    #[test]
    fn media_is_told_both_ways() {
        let heard = Heard { lost: 5, of: 1000, jitter: 80 };
        let round_trip = Some(Duration::from_micros(41_230));
        let mut statistics = Statistics {
            codec: Some(Codec::Pcmu),
            packets_in: 1000,
            packets_out: 1010,
            reports: Reports { packets_in: 4, packets_out: 5, round_trip, heard: Some(heard) },
            ..Statistics::default()
        };
        statistics.dropped.stranger = 3;
        let told = json(Some(&statistics), Turns::default().json())["media"].clone();
        assert_eq!((&told["codec"], &told["round_trip_ms"]), (&json!("PCMU"), &json!(41.2)));
        assert_eq!((&told["in"]["mos"], &told["in"]["dropped"]), (&json!(4.41), &json!({"stranger": 3})));
        assert_eq!((&told["out"]["lost"], &told["out"]["jitter_ms"]), (&json!(5), &json!(10.0)));
        assert!(told["out"]["mos"].as_f64().unwrap() < 4.40, "{told}");
        statistics.reports = Reports::default();
        let told = json(Some(&statistics), Turns::default().json())["media"].clone();
        assert_eq!(
            (&told["out"]["lost"], &told["out"]["mos"], &told["round_trip_ms"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}
