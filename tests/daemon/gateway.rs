//! The real binary as a child process: its log, its pages, its metrics, its end.

use super::stage::eventually;
use parking_lot::Mutex;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running `voice-gateway serve`.
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) agent: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// The binary, without whatever configuration the environment of the tests has.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voice-gateway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VOICE_GATEWAY")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command that ends by itself.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    let running = binary().args(arguments).output();
    tokio::time::timeout(DEADLINE, running).await.expect("the command ends").expect("the binary runs")
}

impl Gateway {
    pub(crate) async fn serve(config: &Path) -> Self {
        let mut child =
            binary().arg("serve").arg("--config").arg(config).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (child.stderr.take().unwrap(), Arc::clone(&log));
        tokio::spawn(async move {
            let mut lines = BufReader::new(lines).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().push(line);
            }
        });
        let http = reqwest::Client::builder().timeout(DEADLINE).build().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway =
            Self { child, log, http, udp: nowhere, tcp: nowhere, tls: nowhere, agent: nowhere, admin: nowhere };
        let ready = gateway.logged("ready").await;
        let address = |text: &str| text.parse::<SocketAddr>().unwrap_or_else(|_| panic!("{text:?} in {ready}"));
        for listener in ready["sip"].as_str().unwrap().split(',') {
            match listener.split_once(':') {
                Some(("udp", at)) => gateway.udp = address(at),
                Some(("tcp", at)) => gateway.tcp = address(at),
                Some(("tls", at)) => gateway.tls = address(at),
                _ => panic!("{listener:?} in {ready}"),
            }
        }
        gateway.agent = address(ready["agent"].as_str().unwrap());
        gateway.admin = address(ready["admin"].as_str().unwrap());
        gateway
    }

    /// Every line so far, each of which must be JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.log.lock();
        log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.log.lock().join("\n")
    }

    /// The first line with this `event`.
    pub(crate) async fn logged(&mut self, event: &str) -> Value {
        self.logged_where(event, |_| true).await
    }

    pub(crate) async fn logged_where(&mut self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let log = Arc::clone(&self.log);
        eventually(&format!("the log says {event}"), async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", log.lock().join("\n"));
            }
            let lines = self.lines();
            lines.into_iter().find(|line| line["event"] == event && wanted(line))
        })
        .await
    }

    pub(crate) async fn admin(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("http://{}{path}", self.admin)).send().await.unwrap()
    }

    pub(crate) async fn order(&self, path: &str) -> reqwest::Response {
        self.http.post(format!("http://{}{path}", self.admin)).send().await.unwrap()
    }

    pub(crate) async fn calls(&self) -> Value {
        self.admin("/v1/calls").await.json().await.unwrap()
    }

    /// The figures of its oldest live call, up to now.
    pub(crate) async fn figures(&self) -> Value {
        let calls = self.calls().await;
        let id = calls["calls"][0]["call_id"].as_str().unwrap();
        let call: Value = self.admin(&format!("/v1/calls/{id}")).await.json().await.unwrap();
        call["figures"].clone()
    }

    /// The sum of the series of `name` that carry all these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin("/metrics").await.text().await.unwrap();
        let series = text.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(series, _)| {
            let whole = series.split('{').next() == Some(&format!("voice_gateway_{name}"));
            whole && labels.iter().all(|label| series.contains(label))
        });
        series.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// Waits until the metric has reached this value.
    pub(crate) async fn counted(&self, name: &str, labels: &[&str], least: f64) {
        eventually(&format!("{name}{labels:?} reaches {least}"), async || {
            (self.metric(name, labels).await >= least).then_some(())
        })
        .await;
    }

    /// Waits until no call is left, neither in the list nor in the gauge.
    pub(crate) async fn idle(&self) {
        eventually("no call is left", async || {
            let none = self.calls().await["active"] == 0 && self.metric("calls_active", &[]).await == 0.0;
            none.then_some(())
        })
        .await;
    }

    pub(crate) async fn history(&self, key: &str) -> Option<Value> {
        let answer = self.http.get(format!("http://{}/v1/history/{key}", self.agent)).send().await.unwrap();
        match answer.status().as_u16() {
            200 => Some(answer.json().await.unwrap()),
            404 => None,
            other => panic!("history answered {other}"),
        }
    }

    /// The history, once `wanted` holds.
    pub(crate) async fn history_where(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the history is as wanted", async || self.history(key).await.filter(&wanted)).await
    }

    /// The agent's link, as PopURL opens it.
    pub(crate) fn page(&self, key: &str) -> String {
        format!("http://{}/loadAgentAppFrame.html?session_history_key={key}", self.agent)
    }

    pub(crate) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the gateway runs");
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await.unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the gateway ends").unwrap()
    }
}

/// Who says what: `("assistant", "Hi there.")`.
pub(crate) fn said(history: &Value) -> Vec<(&str, &str)> {
    let entries = history["entries"].as_array().unwrap();
    entries.iter().map(|entry| (entry["who"].as_str().unwrap(), entry["text"].as_str().unwrap())).collect()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock();
            let from = log.len().saturating_sub(60);
            eprintln!("--- the gateway's log\n{}\n---", log[from..].join("\n"));
        }
    }
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
