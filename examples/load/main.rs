//! Load test: the sandbox and many test phones in this process, the daemon in its own, and a table of what it cost. `tests/load/run`
//! builds and pins both; `tests/load/README.md` says what is measured and how. Loopback only, bounded in calls and time.
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
    missing_docs,
    reason = "a load generator: it stops loudly, prints, and measures on its own clock"
)]

mod exposition;
mod gateway;
mod machine;
mod moments;
mod phones;
mod plot;
mod reaction;
mod report;
mod soak;

use clap::Parser;
use gateway::Gateway;
use machine::Steadiness;
use phones::Phones;
use report::Row;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::media::Codec;
use voice_gateway::media::sdp::{self, LocalMedia};
use voice_gateway::net::sip::{self, OutLeg, SipHandle};
use voice_gateway::sandbox::assistant::Dialog;
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};
use voice_gateway::sandbox::{self, SandboxOptions};
use voice_gateway::sip::{Dial, DialEvent, Settings, Transport};

/// Drives concurrent calls of the full path against one gateway and prints what they cost.
#[derive(Debug, Parser)]
struct Arguments {
    /// Concurrent calls of each run, one run after the other, each with a fresh daemon
    #[arg(long, value_delimiter = ',', default_value = "50,100,200,300")]
    calls: Vec<usize>,
    /// Length of the measurement, once all calls are up
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// New calls a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    ramp: u64,
    /// The daemon
    #[arg(long, default_value = "target/release/voice-gateway")]
    gateway: PathBuf,
    /// Words before the daemon's command line, e.g. "nice -n -10 taskset -c 0"
    #[arg(long, default_value = "taskset -c 0")]
    prefix: String,
    /// Folder for configuration, history and log of the daemon
    #[arg(long, default_value = "target/load")]
    dir: PathBuf,
    /// Calls come and go so many times before the measured run, in the same daemon: memory must not grow with it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50))]
    rounds: u32,
    /// After the measurement all services vanish at once: every call has to take the error path to its BYE
    #[arg(long)]
    outage: bool,
    /// After the measurement callers interrupt the assistant for so many seconds, with words and with keys; 0 leaves it out
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=600))]
    interrupt: u64,
    /// A line of the daemon's processor time by thread
    #[arg(long)]
    threads: bool,
    /// Length of a message of audio to Speech to Text (`speech_to_text.audio_message`), instead of the default
    #[arg(long)]
    audio_message: Option<String>,
    /// Draw processor time and memory against the number of calls, as SVG, into this file
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Instead of all this: for so many minutes calls come and go in one daemon, as many at once as the first of `--calls`, and what
    /// memory grows by is carried on to eight hours
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    soak: Option<u64>,
    /// Length of the shortest calls of the soak, in seconds; the longest are three times as long. Short calls age a daemon fast: what
    /// grows by the call grows sooner, and high-water marks are reached before the line begins
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    hold: u64,
}

fn main() {
    let arguments = Arguments::parse();
    assert!(arguments.calls.iter().all(|calls| (1..=MOST_CALLS).contains(calls)), "1 to {MOST_CALLS} calls a run");
    rustls::crypto::ring::default_provider().install_default().ok();
    std::fs::create_dir_all(&arguments.dir).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if let Some(minutes) = arguments.soak {
        let soaked = runtime.block_on(soak::run(&arguments, arguments.calls[0], minutes));
        println!("{}", soaked.report());
        std::process::exit(i32::from(!soaked.passed()));
    }
    let mut rows = Vec::new();
    for calls in &arguments.calls {
        let row = runtime.block_on(run(&arguments, *calls));
        eprintln!("{}", row.detail(arguments.threads));
        rows.push(row);
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    println!("{}", report::table(&rows));
    println!("{}", report::targets(&rows));
    if let Some(file) = &arguments.plot {
        std::fs::write(file, plot::svg(&rows.iter().map(Row::point).collect::<Vec<_>>())).unwrap();
    }
    if rows.iter().any(|row| row.failed > 0 || row.exit != Some(0)) {
        std::process::exit(1);
    }
}

/// The daemon, its services and the phones.
struct Stage {
    tracker: TaskTracker,
    stop: CancellationToken,
    stop_services: CancellationToken,
    gateway: Gateway,
    field: Field,
}

impl Stage {
    async fn build(arguments: &Arguments) -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let stop_services = stop.child_token();
        let recognition = LoadTestRecognition::new(["what is my balance".to_owned()]);
        let dialog = Dialog::parse("load test", DIALOG).unwrap();
        let options = SandboxOptions::new(Arc::new(recognition), Arc::new(LoadTestSynthesis), dialog);
        let sandbox = sandbox::start(options, &tracker, stop_services.clone()).await.unwrap();
        let mut services = sandbox.gateway_config();
        if let Some(length) = &arguments.audio_message {
            services = services.replace("[speech_to_text]", &format!("[speech_to_text]\naudio_message = {length:?}"));
        }
        let gateway = Gateway::start(&arguments.gateway, &arguments.prefix, &arguments.dir, &services, "");
        let bound = sip::bind(&["udp:127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let (sip, _incoming) = bound.start(Settings::default(), &tracker, stop.clone());
        let field = Field { sip, phones: Phones::start(), gateway: gateway.sip_port, ramp: arguments.ramp };
        Self { tracker, stop, stop_services, gateway, field }
    }

    /// Ends the daemon, then the rest; its exit status.
    async fn end(mut self) -> Option<i32> {
        let exit = self.gateway.stop();
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.ok();
        exit
    }
}

/// One run, from a fresh daemon to its exit.
async fn run(arguments: &Arguments, calls: usize) -> Row {
    // The one that `tests/load/run` gives the daemon.
    let machine = Steadiness::of_core(0);
    let stage = Stage::build(arguments).await;
    let Stage { tracker, gateway, field, .. } = &stage;
    let phones = &field.phones;
    let mut row = Row::new(calls, arguments.seconds, gateway.ready_after, machine);
    tokio::time::sleep(SETTLE).await;
    let idle = gateway.memory();

    for round in 1..=arguments.rounds {
        let crowd = Crowd::call(field, calls, tracker).await;
        tokio::time::sleep(GREETINGS).await;
        crowd.hang_up(&field.sip).await;
        eprintln!("round {round}: {} answered, RSS {} kB", crowd.setups.len(), gateway.memory());
    }
    let crowd = Crowd::call(field, calls, tracker).await;
    row.answered = crowd.setups.len();
    row.failed = calls - row.answered;
    row.setups.clone_from(&crowd.setups);
    // Every call has had its greeting by then.
    tokio::time::sleep(GREETINGS).await;

    let before = gateway.sample();
    phones.measure(true);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    phones.measure(false);
    let after = gateway.sample();
    row.memory = (idle, gateway.memory());
    row.spent(&before, &after);
    if arguments.interrupt > 0 {
        phones.interrupt(true);
        tokio::time::sleep(Duration::from_secs(arguments.interrupt)).await;
        phones.interrupt(false);
        row.bore(&after, &gateway.sample());
        // What was interrupted last is silent by then.
        tokio::time::sleep(SETTLE).await;
    }
    let ended = crowd.ended();
    if ended > 0 {
        eprintln!("{ended} calls were ended by the gateway");
    }
    row.failed += ended;

    if arguments.outage {
        stage.stop_services.cancel();
        let began = Instant::now();
        while crowd.ended() < row.answered && began.elapsed() < 2 * PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (ended, took) = (crowd.ended(), began.elapsed().as_secs_f64());
        eprintln!("outage: {ended} of {} calls ended by the error path within {took:.1} s", row.answered);
        row.failed += row.answered - ended;
    }
    crowd.hang_up(&field.sip).await;
    tokio::time::sleep(SETTLE).await;
    row.left = gateway.sample().metrics.value("voice_gateway_calls_active", "") as i64;
    row.memory_after = gateway.memory();
    row.heard(phones.stop());
    row.exit = stage.end().await;
    row
}

/// What all phones share.
#[derive(Clone)]
struct Field {
    sip: SipHandle,
    phones: Phones,
    gateway: u16,
    ramp: u64,
}

impl Field {
    fn uri(&self) -> String {
        format!("sip:+18882346789@127.0.0.1:{}", self.gateway)
    }
}

/// Calls that are up.
struct Crowd {
    setups: Vec<Duration>,
    ended: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Crowd {
    /// Places all calls and waits for their answers.
    async fn call(field: &Field, calls: usize, tracker: &TaskTracker) -> Self {
        let (ended, over) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (place, mut placed) = mpsc::unbounded_channel();
        let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(field.ramp).unwrap());
        for number in 0..calls {
            pace.tick().await;
            let phone = Phone {
                number,
                uri: field.uri(),
                phones: field.phones.clone(),
                ended: Arc::clone(&ended),
                over: over.clone(),
            };
            tracker.spawn(phone.call(field.sip.clone(), place.clone()));
        }
        drop(place);
        let mut setups = Vec::new();
        for _ in 0..calls {
            match tokio::time::timeout(PATIENCE, placed.recv()).await {
                Ok(Some(Ok(took))) => setups.push(took),
                Ok(Some(Err(why))) => eprintln!("a call failed: {why}"),
                Ok(None) | Err(_) => eprintln!("a call got no final answer"),
            }
        }
        Self { setups, ended, over }
    }

    /// How many were ended by the gateway.
    fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    async fn hang_up(&self, sip: &SipHandle) {
        self.over.cancel();
        let deadline = Instant::now() + PATIENCE;
        while sip.active() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One phone: INVITE as Placecall sends it, sound both ways, BYE when the run is over.
struct Phone {
    number: usize,
    uri: String,
    phones: Phones,
    ended: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Phone {
    async fn call(self, sip: SipHandle, placed: mpsc::UnboundedSender<Result<Duration, String>>) {
        let mut leg = match self.place(&sip).await {
            Ok((leg, took)) => {
                drop(placed.send(Ok(took)));
                leg
            }
            Err(why) => return drop(placed.send(Err(why))),
        };
        tokio::select! {
            _ = leg.event() => {
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
            () = self.over.cancelled() => {
                // Not all at once: that is a test of another thing.
                tokio::time::sleep(Duration::from_millis(self.number as u64 % MOST_CALLS as u64 * 10)).await;
                leg.bye(Vec::new()).await;
            }
        }
        while leg.event().await.is_some() {}
    }

    async fn place(&self, sip: &SipHandle) -> Result<(OutLeg, Duration), String> {
        let number = self.number;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = LocalMedia {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: socket.local_addr().unwrap().port(),
            session_id: number as u64 + 1,
            session_version: 1,
        };
        let codecs = [Codec::Pcmu];
        let dial = Dial {
            uri: self.uri.clone(),
            from: format!("sip:+1555{number:07}@127.0.0.1"),
            headers: vec![("X-ContactID".to_owned(), (1_000_000 + number).to_string())],
            sdp: sdp::offer(&local, &codecs),
            credentials: None,
        };
        let began = Instant::now();
        let mut leg = sip.dial(dial, Some(Transport::Udp)).await.map_err(|error| error.to_string())?;
        loop {
            match leg.event().await {
                Some(DialEvent::Answered { sdp: Some(answer), .. }) => {
                    let took = began.elapsed();
                    let agreed = sdp::accept_answer(&answer, &local, &codecs).map_err(|problem| problem.to_string())?;
                    self.phones.add(socket, agreed.remote, self.over.clone());
                    return Ok((leg, took));
                }
                Some(DialEvent::Provisional { .. }) => {}
                Some(DialEvent::Refused { code, reason, .. }) => return Err(format!("{code} {reason}")),
                other => return Err(format!("{other:?}")),
            }
        }
    }
}

/// Each utterance is answered with some three and a half seconds of speech, 60 ms a character and without a pause; a key with nothing.
const DIALOG: &str = r#"
name = "load test"

[[rules]]
name = "greeting"
patterns = ["^$"]
responses = [{ response_type = "text", text = "Hello-and-welcome-how-can-I-help-you-today-please-speak-now" }]

[[rules]]
name = "key"
patterns = ["^[0-9]$"]
responses = []

[fallback]
responses = [{ response_type = "text", text = "Your-balance-is-forty-two-dollars-what-else-would-you-like" }]
"#;
const MOST_CALLS: usize = 2000;
/// For what a start or an end leaves to do.
const SETTLE: Duration = Duration::from_secs(2);
const GREETINGS: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(40);
