//! What a run cost, as a table and against the targets.

use crate::gateway::Sample;
use crate::machine::Steadiness;
use crate::phones::{Heard, Times};
use crate::plot::{self, Point};
use std::fmt::Write as _;
use std::time::Duration;

/// One run.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) calls: usize,
    seconds: u64,
    ready: Duration,
    machine: Steadiness,
    pub(crate) setups: Vec<Duration>,
    pub(crate) answered: usize,
    pub(crate) failed: usize,
    /// Calls that the daemon still counts when all have hung up.
    pub(crate) left: i64,
    pub(crate) exit: Option<i32>,
    /// kB: idle, and with all calls up.
    pub(crate) memory: (u64, u64),
    pub(crate) memory_after: u64,
    /// Percent of a core.
    cpu: f64,
    /// The same of sandbox and phones; and of both while callers interrupt.
    beside: f64,
    interrupted: Option<(f64, f64)>,
    turns: f64,
    /// Milliseconds.
    gateway_share: (f64, f64),
    total: f64,
    text_to_speech: f64,
    /// By the daemon's own account: percent of packets later than 20 ms, and milliseconds that 99 % keep to.
    own_late: (f64, f64),
    lost_in: f64,
    troubles: Vec<String>,
    threads: Vec<(String, f64, f64)>,
    heard: Heard,
    load: String,
}

impl Row {
    pub(crate) fn new(calls: usize, seconds: u64, ready: Duration, machine: Steadiness) -> Self {
        Self { calls, seconds, ready, machine, ..Self::default() }
    }

    pub(crate) fn spent(&mut self, before: &Sample, after: &Sample) {
        let window = after.at.duration_since(before.at).as_secs_f64();
        let percent = |took: Duration| 100.0 * took.as_secs_f64() / window;
        self.cpu = percent(after.spent - before.spent);
        self.beside = percent(after.beside - before.beside);
        for (name, (ran, waited)) in &after.threads {
            let earlier = before.threads.get(name).copied().unwrap_or_default();
            let (ran, waited) = (ran.saturating_sub(earlier.0), waited.saturating_sub(earlier.1));
            self.threads.push((name.clone(), percent(ran), percent(waited)));
        }
        let (new, old) = (&after.metrics, &before.metrics);
        let gained = |name: &str, label: &str| new.value(name, label) - old.value(name, label);
        self.turns = gained("voice_gateway_turns_total", "");
        self.lost_in = gained("voice_gateway_rtp_lost_total", "");
        let share = new.gain(old, "voice_gateway_turn_stage_seconds", "stage=\"gateway\"");
        self.gateway_share = (share.quantile(0.5), share.quantile(0.99));
        self.total = new.gain(old, "voice_gateway_turn_stage_seconds", "stage=\"total\"").quantile(0.5);
        self.text_to_speech =
            new.gain(old, "voice_gateway_turn_stage_seconds", "stage=\"text_to_speech\"").quantile(0.5);
        let late = new.gain(old, "voice_gateway_rtp_late_seconds", "");
        self.own_late = (late.share_above(0.02), late.quantile(0.99));
        for name in ["upstream_errors", "queue_dropped", "rtp_dropped", "stt_reconnects", "sip_refused"] {
            let name = format!("voice_gateway_{name}_total");
            let grown = new.grown(&crate::exposition::EMPTY, &name);
            self.troubles.extend(grown.map(|(series, count)| format!("{series} {count}")));
        }
        self.load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned();
    }

    /// What it took while callers interrupted.
    pub(crate) fn bore(&mut self, before: &Sample, after: &Sample) {
        let window = after.at.duration_since(before.at).as_secs_f64();
        let percent = |took: Duration| 100.0 * took.as_secs_f64() / window;
        self.interrupted = Some((percent(after.spent - before.spent), percent(after.beside - before.beside)));
    }

    pub(crate) fn heard(&mut self, heard: Heard) {
        self.heard = heard;
        self.setups.sort();
    }

    fn per_call(&self) -> f64 {
        self.memory.1.saturating_sub(self.memory.0) as f64 / self.calls as f64 / 1024.0
    }

    fn late(&self) -> f64 {
        share_above(&self.heard.all.late, 20_000)
    }

    pub(crate) fn point(&self) -> Point {
        Point { calls: self.calls as f64, cpu: self.cpu, memory: self.per_call() * self.calls as f64 }
    }

    pub(crate) fn detail(&self, threads: bool) -> String {
        let heard = &self.heard;
        let expected = self.calls as u64 * self.seconds * 50;
        let mut text = format!(
            "{} calls, {} s: packets heard {} of {expected}, with sound {}; behind the grid p50 {:.1} p99 {:.1} max {:.1} ms; \
             gaps over 40 ms {:.3} %; own visits late p99 {:.1} ms; turns {} of about {}; lost on the way in {}; total p50 {:.0} ms, of it text to speech {:.1} ms; \
             RSS {} -> {} -> {} kB; calls left {}; exit {:?}; load average {}\n  reactions: words p50 {:.1} p95 {:.1} max {:.1} ms of {}, keys p50 {:.1} p95 {:.1} max {:.1} ms of {}, answer p50 {:.1} p95 {:.1} ms of {}",
            self.calls,
            self.seconds,
            heard.packets,
            heard.voiced,
            quantile(&heard.all.late, 0.5),
            quantile(&heard.all.late, 0.99),
            quantile(&heard.all.late, 1.0),
            share_above(&heard.gaps, 40_000),
            quantile(&heard.own, 0.99),
            self.turns,
            self.calls as u64 * self.seconds / 8,
            self.lost_in,
            self.total,
            self.text_to_speech,
            self.memory.0,
            self.memory.1,
            self.memory_after,
            self.left,
            self.exit,
            self.load,
            quantile(&heard.all.speech, 0.5),
            quantile(&heard.all.speech, 0.95),
            quantile(&heard.all.speech, 1.0),
            heard.all.speech.len(),
            quantile(&heard.all.key, 0.5),
            quantile(&heard.all.key, 0.95),
            quantile(&heard.all.key, 1.0),
            heard.all.key.len(),
            quantile(&heard.all.answer, 0.5),
            quantile(&heard.all.answer, 0.95),
            heard.all.answer.len(),
        );
        write!(text, "\n  {}", self.machine.told()).unwrap();
        let steady = &heard.steady;
        write!(
            text,
            "\n  of this while the machine was steady, {:.0} % of the packets: behind the grid p99 {:.1} ms, {:.3} % over 20 ms; \
             words p95 {:.1} ms of {}, keys p95 {:.1} ms of {}, answer p95 {:.1} ms of {}",
            100.0 * steady.late.len() as f64 / heard.all.late.len().max(1) as f64,
            quantile(&steady.late, 0.99),
            share_above(&steady.late, 20_000),
            quantile(&steady.speech, 0.95),
            steady.speech.len(),
            quantile(&steady.key, 0.95),
            steady.key.len(),
            quantile(&steady.answer, 0.95),
            steady.answer.len(),
        )
        .unwrap();
        write!(text, "\n  sandbox and phones: {:.0} % of a core", self.beside).unwrap();
        if let Some((own, beside)) = self.interrupted {
            write!(text, "; while callers interrupt: daemon {own:.0} %, sandbox and phones {beside:.0} %").unwrap();
        }
        for trouble in &self.troubles {
            write!(text, "\n  {trouble}").unwrap();
        }
        for (name, ran, waited) in self.threads.iter().filter(|_| threads) {
            write!(text, "\n  {name:20} ran {ran:5.1} %  waited for a core {waited:5.1} %").unwrap();
        }
        text
    }
}

/// The table, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "| calls | answered | failed | CPU % | CPU % a call | MB a call | late > 20 ms % (own / heard) | \
                    late p99 ms (own / heard) | lost | left out | setup p50 / p99 ms | gateway share p50 / p99 ms | \
                    answer p50 / p95 ms | words to silence p95 ms | key to silence p95 ms | generator lag p99 ms |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let setup = |quantile: f64| {
            let index = ((row.setups.len() as f64 * quantile) as usize).min(row.setups.len().saturating_sub(1));
            row.setups.get(index).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
        };
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.3} | {:.3} | {:.3} / {:.3} | {:.1} / {:.1} | {} | {} | {:.0} / {:.0} | {:.1} / {:.1} | \
             {:.0} / {:.0} | {:.0} | {:.0} | {:.1} |",
            row.calls,
            row.answered,
            row.failed,
            row.cpu,
            row.cpu / row.calls as f64,
            row.per_call(),
            row.own_late.0,
            row.late(),
            row.own_late.1,
            quantile(&row.heard.all.late, 0.99),
            row.heard.lost,
            row.heard.skipped,
            setup(0.5),
            setup(0.99),
            row.gateway_share.0,
            row.gateway_share.1,
            quantile(&row.heard.all.answer, 0.5),
            quantile(&row.heard.all.answer, 0.95),
            quantile(&row.heard.all.speech, 0.95),
            quantile(&row.heard.all.key, 0.95),
            quantile(&row.heard.own, 0.99),
        )
        .unwrap();
    }
    text
}

/// The targets, with how far from them the runs were.
pub(crate) fn targets(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut line = |what: &str, measured: f64, limit: f64, unit: &str| {
        let verdict = if measured <= limit { "met" } else { "MISSED" };
        let ratio = if limit > 0.0 { format!(", ratio {:.2}", measured / limit) } else { String::new() };
        writeln!(text, "{verdict:6} {what}: {measured:.2} {unit}, limit {limit} {unit}{ratio}").unwrap();
    };
    for row in rows {
        let at = |what: &str| format!("{what} at {} calls", row.calls);
        line(&at("packets lost"), row.heard.lost as f64, 0.0, "packets");
        line(&at("packets later than 20 ms, heard"), row.late(), 0.1, "%");
        // Below, what the first calls cost once weighs too much.
        if row.calls >= 100 {
            line(&at("memory a call"), row.per_call() * 1024.0, 200.0, "KB");
        }
        if row.calls == 500 {
            line(&at("send lateness, 99th percentile, own"), row.own_late.1, 3.0, "ms");
        }
        if row.calls >= 1000 {
            line(&at("processor time a call"), row.cpu / row.calls as f64, 0.10, "% of a core");
        }
        let mut reacted = |times: &Times, when: &str| {
            for (what, times, limit) in [("words", &times.speech, 60.0), ("key", &times.key, 40.0)] {
                if !times.is_empty() {
                    line(&at(&format!("{what} to silence{when}, 95th percentile")), quantile(times, 0.95), limit, "ms");
                }
            }
        };
        reacted(&row.heard.all, "");
        if !row.machine.holds() {
            reacted(&row.heard.steady, " while the machine was steady");
            let late = share_above(&row.heard.steady.late, 20_000);
            line(&at("packets later than 20 ms, heard, while the machine was steady"), late, 0.1, "%");
        }
        if row.calls == 100 {
            line(&at("gateway share of a turn, median"), row.gateway_share.0, 20.0, "ms");
            line(&at("gateway share of a turn, 99th percentile"), row.gateway_share.1, 40.0, "ms");
        }
    }
    if rows.len() > 2 {
        let points: Vec<_> = rows.iter().map(|row| (row.calls as f64, row.cpu)).collect();
        line("processor time off the line through all runs, farthest", plot::off_line(&points), 20.0, "%");
    }
    if let Some(slowest) = rows.iter().map(|row| row.ready).max() {
        line("cold start to ready, slowest", slowest.as_secs_f64() * 1_000.0, 300.0, "ms");
    }
    for row in rows.iter().filter(|row| !row.machine.holds()) {
        writeln!(text, "UNSTEADY before {} calls, {}: times are its own", row.calls, row.machine.told()).unwrap();
    }
    text
}

/// A quantile of sorted microseconds, in milliseconds.
fn quantile(sorted: &[u32], quantile: f64) -> f64 {
    let index = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(index).copied().unwrap_or_default()) / 1_000.0
}

/// The share of sorted microseconds above `limit`, in percent.
fn share_above(sorted: &[u32], limit: u32) -> f64 {
    let above = sorted.len() - sorted.partition_point(|value| *value <= limit);
    if sorted.is_empty() { 0.0 } else { 100.0 * above as f64 / sorted.len() as f64 }
}
