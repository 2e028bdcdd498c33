//! The soak: calls come and go in one daemon, and the line through its memory is carried on to eight hours.

use super::{Arguments, Field, MOST_CALLS, PATIENCE, Phone, SETTLE, Stage};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What came of it.
pub(crate) struct Soaked {
    minutes: u64,
    at_once: usize,
    /// Minutes since the start, and resident memory in kB.
    memory: Vec<(f64, f64)>,
    calls: usize,
    /// Why calls failed.
    failed: Vec<String>,
    ended_early: usize,
    cpu: f64,
    exit: Option<i32>,
}

/// Runs it.
pub(crate) async fn run(arguments: &Arguments, at_once: usize, minutes: u64) -> Soaked {
    let stage = Stage::build(arguments).await;
    let over = CancellationToken::new();
    let (calls, early) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (fail, mut failures) = mpsc::unbounded_channel();
    for line in 0..at_once {
        let subscriber = Subscriber {
            field: stage.field.clone(),
            number: line,
            over: over.clone(),
            hold: arguments.hold,
            calls: Arc::clone(&calls),
            early: Arc::clone(&early),
            fail: fail.clone(),
        };
        let wait = Duration::from_secs(line as u64) / u32::try_from(arguments.ramp).unwrap();
        stage.tracker.spawn(subscriber.live(wait));
    }
    drop(fail);
    let (began, before) = (Instant::now(), stage.gateway.sample());
    let length = Duration::from_secs(60 * minutes);
    let mut memory = Vec::new();
    while began.elapsed() < length {
        tokio::time::sleep(SAMPLED).await;
        let at = began.elapsed().as_secs_f64() / 60.0;
        memory.push((at, stage.gateway.memory() as f64));
        if memory.len() % 6 == 0 {
            let (calls, kilobytes) = (calls.load(Ordering::Relaxed), stage.gateway.memory());
            eprintln!("{at:.1} min: {calls} calls so far, RSS {kilobytes} kB");
        }
    }
    let after = stage.gateway.sample();
    over.cancel();
    let deadline = Instant::now() + PATIENCE;
    while stage.field.sip.active() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(SETTLE).await;
    drop(stage.field.phones.stop());
    let mut failed = Vec::new();
    while let Ok(why) = failures.try_recv() {
        failed.push(why);
    }
    Soaked {
        minutes,
        at_once,
        memory,
        calls: calls.load(Ordering::Relaxed),
        failed,
        ended_early: early.load(Ordering::Relaxed),
        cpu: 100.0 * (after.spent - before.spent).as_secs_f64() / after.at.duration_since(before.at).as_secs_f64(),
        exit: stage.end().await,
    }
}

/// Who calls again and again.
struct Subscriber {
    field: Field,
    number: usize,
    over: CancellationToken,
    hold: u64,
    calls: Arc<AtomicUsize>,
    early: Arc<AtomicUsize>,
    fail: mpsc::UnboundedSender<String>,
}

impl Subscriber {
    async fn live(self, wait: Duration) {
        let mut number = self.number;
        self.over.run_until_cancelled(tokio::time::sleep(wait)).await;
        while !self.over.is_cancelled() {
            let over = self.over.child_token();
            let phone = Phone {
                number,
                uri: self.field.uri(),
                phones: self.field.phones.clone(),
                ended: Arc::clone(&self.early),
                over: over.clone(),
            };
            let (place, mut placed) = mpsc::unbounded_channel();
            let call = phone.call(self.field.sip.clone(), place);
            let hang_up = async {
                match placed.recv().await {
                    Some(Ok(_)) => self.calls.fetch_add(1, Ordering::Relaxed),
                    Some(Err(why)) => {
                        drop(self.fail.send(why));
                        return tokio::time::sleep(AFTER_FAILURE).await;
                    }
                    None => return,
                };
                let length = Duration::from_millis(fastrand::u64(self.hold * 1_000..self.hold * 3_000));
                self.over.run_until_cancelled(tokio::time::sleep(length)).await;
                over.cancel();
            };
            tokio::join!(call, hang_up);
            // Other contacts, other callers, and at once: memory stands at the mark of as many calls as there ever were together, and
            // pauses of any length would have that creep up for hours.
            number = (number + MOST_CALLS) % 10_000_000;
        }
    }
}

impl Soaked {
    /// What grows still after a third of the time: kB a minute, and the level at the end, both of the line of least squares.
    fn trend(&self) -> (f64, f64) {
        let settled: Vec<(f64, f64)> =
            self.memory.iter().copied().filter(|(at, _)| *at >= self.minutes as f64 / 3.0).collect();
        let (level, slope) = super::plot::line(&settled);
        (slope, level + slope * self.minutes as f64)
    }

    /// Growth over eight hours, in percent.
    fn growth(&self) -> f64 {
        let (slope, level) = self.trend();
        100.0 * slope * 480.0 / level
    }

    pub(crate) fn passed(&self) -> bool {
        self.failed.is_empty() && self.ended_early == 0 && self.exit == Some(0) && self.growth() < MOST_GROWTH
    }

    pub(crate) fn report(&self) -> String {
        let (slope, level) = self.trend();
        let mut text = "| minute | RSS kB |\n|---|---|\n".to_owned();
        let minutes = self.memory.iter().skip(5).step_by((self.memory.len() / 15).max(1));
        for (at, kilobytes) in minutes {
            writeln!(text, "| {at:.1} | {kilobytes:.0} |").unwrap();
        }
        for why in self.failed.iter().take(10) {
            writeln!(text, "a call failed: {why}").unwrap();
        }
        let verdict = if self.growth() < MOST_GROWTH { "met" } else { "MISSED" };
        writeln!(
            text,
            "{} min, {} calls at once, {} in all, {} failed, {} ended by the gateway, CPU {:.1} %, exit {:?}; from the third on {slope:+.2} kB a minute at {level:.0} kB\n\
             {verdict:6} growth carried on to 8 hours: {:+.2} %, limit {MOST_GROWTH} %",
            self.minutes,
            self.at_once,
            self.calls,
            self.failed.len(),
            self.ended_early,
            self.cpu,
            self.exit,
            self.growth(),
        )
        .unwrap();
        text
    }
}

const SAMPLED: Duration = Duration::from_secs(10);
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Percent in eight hours.
const MOST_GROWTH: f64 = 1.0;
