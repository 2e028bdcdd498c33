//! PJSIP and baresip as phones: each a Python program that takes orders and tells what happens.

use super::gateway::DEADLINE;
use super::peers::{own_file, program, python_program};
use super::sound::wav;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// Whose phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Pjsip,
    Baresip,
}

/// A phone that runs.
pub(crate) struct Softphone {
    make: Make,
    _child: Child,
    orders: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    dir: TempDir,
    story: Vec<String>,
}

impl Softphone {
    /// Starts it with a recording of tests/audio to say.
    pub(crate) async fn new(make: Make, says: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = match make {
            Make::Pjsip => "phone_pjsip.py",
            Make::Baresip => "phone_baresip.py",
        };
        let mut command = program(python_program("python"));
        command.arg("-I").arg(own_file(script)).current_dir(dir.path()).stdin(Stdio::piped()).stderr(Stdio::inherit());
        command.arg("--say").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(says));
        command.arg("--record").arg(dir.path().join("heard.wav")).args(options);
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut phone = Self { make, _child: child, orders, events, dir, story: Vec::new() };
        phone.until("ready", |_| true).await;
        phone
    }

    /// An order, which it takes.
    pub(crate) async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    /// The next event of this name that is as wanted.
    pub(crate) async fn until(&mut self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = tokio::time::timeout(DEADLINE, self.events.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{:?} tells of {event}; so far {:#?}", self.make, self.story));
            let line =
                line.unwrap().unwrap_or_else(|| panic!("{:?} ended before {event}: {:#?}", self.make, self.story));
            self.story.push(line.clone());
            if let Some(told) = read(&line, event).filter(&wanted) {
                return told;
            }
        }
    }

    /// What it has told of an encrypted stream so far: the suite where it says that.
    pub(crate) fn encrypted(&self) -> Option<Value> {
        self.story.iter().find_map(|line| read(line, "encrypted"))
    }

    pub(crate) async fn call(&mut self, uri: &str) {
        self.order(&format!("call {uri}")).await;
        self.until("established", |_| true).await;
    }

    /// Puts the gateway on hold, or takes it back; until the phone's media are so.
    pub(crate) async fn hold(&mut self, hold: bool) {
        self.order(if hold { "hold" } else { "resume" }).await;
        match self.make {
            Make::Pjsip => self.until("media", |told| told["held"] == hold).await,
            Make::Baresip => self.until("described", |_| true).await,
        };
    }

    pub(crate) async fn hang_up(&mut self) {
        self.order("bye").await;
        self.until("ended", |_| true).await;
    }

    /// What it heard in all, once its call is over.
    pub(crate) async fn heard(mut self) -> Vec<i16> {
        self.order("quit").await;
        self.until("recorded", |_| true).await;
        wav(&self.dir.path().join("heard.wav")).remove(0)
    }
}

/// The event of this name, if the line is one: the stacks' own prints are not.
fn read(line: &str, event: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line).ok().filter(|told| told["event"] == event)
}
