//! sipp (Debian: sip-tester) with a scenario of tests/sipp, and every SIP message it sent and received.

use super::gateway::{DEADLINE, Gateway};
use super::message::Message;
use super::phone::tone;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// What to run.
pub(crate) struct Sipp {
    scenario: &'static str,
    tcp: bool,
    calls: u32,
    keys: Vec<(&'static str, String)>,
    digest: Option<(String, String)>,
}

/// A sipp that runs.
pub(crate) struct Running {
    child: Child,
    dir: TempDir,
}

/// What it sent and received, all calls in one list.
pub(crate) struct Trace {
    pub(crate) sent: Vec<Message>,
    pub(crate) received: Vec<Message>,
}

impl Sipp {
    /// A scenario of tests/sipp by its name, with its contact id.
    pub(crate) fn new(scenario: &'static str, contact: &str) -> Self {
        Self { scenario, tcp: false, calls: 1, keys: vec![("contact", contact.to_owned())], digest: None }
    }

    pub(crate) fn tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    /// So many calls, all begun within a second.
    pub(crate) fn calls(self, calls: u32) -> Self {
        Self { calls, ..self }
    }

    /// User and password for a 401.
    pub(crate) fn digest(self, user: &str, password: &str) -> Self {
        Self { digest: Some((user.to_owned(), password.to_owned())), ..self }
    }

    pub(crate) fn start(self, gateway: &Gateway) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let scenario = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(self.scenario);
        std::fs::write(dir.path().join("speech.ulaw"), speech()).unwrap();
        let target = if self.tcp { gateway.tcp } else { gateway.udp };
        let mut command = Command::new("sipp");
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).arg("-sf").arg(scenario).arg(target.to_string());
        command.args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin", "-t", if self.tcp { "t1" } else { "u1" }]);
        command.args(["-p", &free_port().to_string(), "-mp", &free_port().to_string()]);
        command.args(["-m", &self.calls.to_string(), "-r", &self.calls.to_string(), "-l", &self.calls.to_string()]);
        command.args(["-timeout", "60", "-timeout_error", "-trace_msg", "-message_file", "messages"]);
        command.args(["-trace_err", "-error_file", "errors", "-s", "+18882346789"]);
        for (name, value) in &self.keys {
            command.args(["-key", name, value]);
        }
        if let Some((user, password)) = &self.digest {
            command.args(["-au", user, "-ap", password]);
        }
        let child = command.spawn().expect("sipp cannot be run: install Debian's sip-tester, as tests/run does");
        Running { child, dir }
    }

    pub(crate) async fn run(self, gateway: &Gateway) -> Trace {
        self.start(gateway).finish().await
    }
}

impl Running {
    /// Its end, which must be a good one.
    pub(crate) async fn finish(self) -> Trace {
        let output =
            tokio::time::timeout(DEADLINE * 2, self.child.wait_with_output()).await.expect("sipp ends").unwrap();
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        let (messages, errors) = (read("messages"), read("errors"));
        let messages = String::from_utf8_lossy(&messages);
        assert!(
            output.status.success(),
            "sipp ended with {}:\n{}\n{}\n{messages}",
            output.status,
            String::from_utf8_lossy(&errors),
            String::from_utf8_lossy(&output.stderr)
        );
        trace(&messages)
    }
}

impl Trace {
    /// Status lines received for requests of this method.
    pub(crate) fn codes(&self, method: &str) -> Vec<u16> {
        let of_method = |message: &&Message| message.header("CSeq").is_some_and(|cseq| cseq.ends_with(method));
        self.received.iter().filter(of_method).filter_map(Message::code).collect()
    }

    pub(crate) fn answer(&self) -> &Message {
        let answer = |m: &&Message| m.code() == Some(200) && m.header("CSeq").is_some_and(|c| c.ends_with("INVITE"));
        self.received.iter().find(answer).expect("a 200 for the INVITE")
    }

    /// The session key that the 200 carried.
    pub(crate) fn session_key(&self) -> String {
        self.answer().header("X-Session-Key").expect("X-Session-Key in the 200").to_owned()
    }

    /// Requests of this method that the gateway sent.
    pub(crate) fn requests(&self, method: &str) -> Vec<&Message> {
        self.received.iter().filter(|message| message.method() == Some(method)).collect()
    }
}

/// A file that Debian's package ships.
pub(crate) fn shipped(name: &str) -> PathBuf {
    let path = Path::new("/usr/share/sip-tester").join(name);
    assert!(path.exists(), "{} is missing: install Debian's sip-tester, as tests/run does", path.display());
    path
}

fn trace(text: &str) -> Trace {
    let mut trace = Trace { sent: Vec::new(), received: Vec::new() };
    let lines = text.split("-----------------------------------------------").skip(1);
    for piece in lines {
        let Some((title, message)) = piece.split_once("\n\n") else { continue };
        let message = Message::parse(&message.trim_end_matches('\n').replace("\r\n", "\n").replace('\n', "\r\n"));
        match title.contains("sent") {
            true => trace.sent.push(message),
            false => trace.received.push(message),
        }
    }
    trace
}

/// A second of silence, a word, silence.
fn speech() -> Vec<u8> {
    let mut speech = vec![0xff; 8_000];
    speech.extend(tone(600));
    speech.extend(vec![0xff; 16_000]);
    speech
}

/// A port that is free now with the three after it, for any transport. Below the ports that the system gives to others.
fn free_port() -> u16 {
    loop {
        let port = 22_000 + 2 * fastrand::u16(..5_000);
        let udp = (port..port + 4).all(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok());
        if udp && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
