//! Signalling benchmark: short calls at a steady rate against the daemon in its own process, with the sandbox behind it, and a table of
//! how fast it answered and what it kept of them. `tests/load/signalling` builds and pins both. Loopback only, bounded in calls and rate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    dead_code,
    missing_docs,
    reason = "a load generator: it stops loudly, prints, measures on its own clock, and shares modules with its neighbour"
)]

mod caller;
#[path = "../load/exposition.rs"]
mod exposition;
#[path = "../load/gateway.rs"]
mod gateway;

use caller::{Caller, Pace, Seen};
use clap::Parser;
use gateway::{Gateway, Sample};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::sandbox::assistant::Dialog;
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};
use voice_gateway::sandbox::{self, SandboxOptions};

/// Places short calls (INVITE, 200, ACK, BYE) at a steady rate and prints how the gateway bore them.
#[derive(Debug, Parser)]
struct Arguments {
    /// New calls a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Calls that are measured
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    calls: u32,
    /// Calls before them, until memory has its working size: transactions live for 32 s, and so many seconds of calls must have been placed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    warm_up: u32,
    /// Milliseconds from the answer to our BYE
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    hold: u64,
    /// Seconds from the last call to the reading of the memory: transactions live for 32
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(0..=120))]
    settle: u64,
    /// The daemon
    #[arg(long, default_value = "target/release/voice-gateway")]
    gateway: PathBuf,
    /// Words before the daemon's command line
    #[arg(long, default_value = "taskset -c 0")]
    prefix: String,
    /// Folder for configuration, history and log of the daemon
    #[arg(long, default_value = "target/load")]
    dir: PathBuf,
    /// A line of the daemon's processor time by thread
    #[arg(long)]
    threads: bool,
}

fn main() {
    let arguments = Arguments::parse();
    rustls::crypto::ring::default_provider().install_default().ok();
    std::fs::create_dir_all(&arguments.dir).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let good = runtime.block_on(run(&arguments));
    runtime.shutdown_timeout(Duration::from_secs(5));
    if !good {
        std::process::exit(1);
    }
}

/// The whole run; whether all targets were met.
async fn run(arguments: &Arguments) -> bool {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let recognition = LoadTestRecognition::new(["what is my balance".to_owned()]);
    let dialog = Dialog::parse("load test", DIALOG).unwrap();
    let options = SandboxOptions::new(Arc::new(recognition), Arc::new(LoadTestSynthesis), dialog);
    let sandbox = sandbox::start(options, &tracker, stop.clone()).await.unwrap();
    let sip = format!("max_calls_per_second = {}", arguments.rate * 2);
    let mut gateway =
        Gateway::start(&arguments.gateway, &arguments.prefix, &arguments.dir, &sandbox.gateway_config(), &sip);
    let fresh = gateway.memory();
    let pace = |calls| Pace { calls, rate: arguments.rate, hold: Duration::from_millis(arguments.hold) };
    let caller = Arc::new(Caller::new(gateway.sip_port));

    let warm = place(&caller, pace(arguments.warm_up)).await;
    settle(&gateway, arguments.settle).await;
    let warmed = gateway.memory();
    eprintln!("warm-up: {} calls, {} failed, RSS {fresh} -> {warmed} kB", arguments.warm_up, warm.failed());

    let before = gateway.sample();
    let seen = place(&caller, pace(arguments.calls)).await;
    let after = gateway.sample();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    settle(&gateway, arguments.settle).await;
    let last = gateway.memory();
    let left = gateway.sample().metrics.value("voice_gateway_calls_active", "");
    if arguments.threads {
        eprintln!("{}", threads(&before, &after));
    }
    for name in ["upstream_errors", "queue_dropped", "sip_refused"] {
        let name = format!("voice_gateway_{name}_total");
        after.metrics.grown(&before.metrics, &name).for_each(|(series, count)| eprintln!("{series} {count}"));
    }
    for why in seen.why() {
        eprintln!("failed: {why}");
    }
    let exit = gateway.stop();
    stop.cancel();
    tracker.close();
    tokio::time::timeout(Duration::from_secs(10), tracker.wait()).await.ok();

    let window = after.at.duration_since(before.at).as_secs_f64();
    let setup = after.metrics.gain(&before.metrics, "voice_gateway_setup_seconds", "");
    let cpu = 100.0 * (after.spent - before.spent).as_secs_f64() / window;
    let growth = 100.0 * (last as f64 - warmed as f64) / warmed as f64;
    println!(
        "| calls | a second | failed | sent again | setup p50 / p99 ms (own) | over 20 ms % (own) | answer p50 / p99 / max ms (phone) | \
         over 20 ms % (phone) | generator lag p99 / max ms | CPU % | RSS kB after {} calls, after {} more | growth % | load |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n\
         | {} | {:.0} | {} | {} | {:.1} / {:.1} | {:.2} | {:.1} / {:.1} / {:.1} | {:.2} | {:.1} / {:.1} | {cpu:.0} | {warmed}, {last} | {growth:+.1} | {} |\n",
        arguments.warm_up,
        arguments.calls,
        arguments.calls,
        seen.rate(),
        seen.failed(),
        seen.again,
        setup.quantile(0.5),
        setup.quantile(0.99),
        setup.share_above(0.02),
        seen.answer(0.5),
        seen.answer(0.99),
        seen.answer(1.0),
        seen.over(Duration::from_millis(20)),
        seen.lag(0.99),
        seen.lag(1.0),
        load.split_whitespace().next().unwrap_or_default(),
    );
    let mut verdict = Verdict::default();
    verdict.line("calls that failed", seen.failed() as f64, 0.0, "");
    verdict.line("calls that are left", left, 0.0, "");
    verdict.line("answers over 20 ms by the gateway's own account", setup.share_above(0.02), 1.0, "%");
    verdict.line("answers over 20 ms at the phone", seen.over(Duration::from_millis(20)), 1.0, "%");
    verdict.line("growth of memory", growth, 5.0, "%");
    verdict.line("exit status of the daemon", f64::from(exit.unwrap_or(-1)).abs(), 0.0, "");
    println!("{}", verdict.text);
    verdict.good
}

async fn place(caller: &Arc<Caller>, pace: Pace) -> Seen {
    let caller = Arc::clone(caller);
    tokio::task::spawn_blocking(move || caller.place(&pace)).await.unwrap()
}

/// Until all that calls leave behind for a while is over.
async fn settle(gateway: &Gateway, seconds: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while gateway.sample().metrics.value("voice_gateway_calls_active", "") > 0.0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn threads(before: &Sample, after: &Sample) -> String {
    let window = after.at.duration_since(before.at).as_secs_f64();
    let mut text = String::new();
    for (name, (ran, waited)) in &after.threads {
        let earlier = before.threads.get(name).copied().unwrap_or_default();
        let percent = |now: &Duration, then: Duration| 100.0 * now.saturating_sub(then).as_secs_f64() / window;
        let (ran, waited) = (percent(ran, earlier.0), percent(waited, earlier.1));
        writeln!(text, "{name:>16}: {ran:5.1} % of a core, waited for one {waited:5.1} %").unwrap();
    }
    text
}

struct Verdict {
    text: String,
    good: bool,
}

impl Default for Verdict {
    fn default() -> Self {
        Self { text: String::new(), good: true }
    }
}

impl Verdict {
    fn line(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        let met = measured <= limit;
        self.good &= met;
        writeln!(
            self.text,
            "{:6} {what}: {measured:.2} {unit}, limit {limit} {unit}",
            if met { "met" } else { "MISSED" }
        )
        .unwrap();
    }
}

const DIALOG: &str = r#"
name = "load test"

[[rules]]
name = "greeting"
patterns = ["^$"]
responses = [{ response_type = "text", text = "Hello, and welcome. How can I help you today? Please speak." }]

[fallback]
responses = [{ response_type = "text", text = "I see." }]
"#;
