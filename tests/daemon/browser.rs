//! Headless Chromium, asked over its DevTools protocol what it really shows.

use super::gateway::DEADLINE;
use super::stage::eventually;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// One window with one page.
pub(crate) struct Browser {
    _child: Child,
    _profile: TempDir,
    page: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
}

impl Browser {
    pub(crate) async fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("chromium cannot be run: install Debian's chromium, as tests/run does");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let endpoint = tokio::time::timeout(DEADLINE, async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromium says where its DevTools listen");
                if let Some(endpoint) = line.strip_prefix("DevTools listening on ws://") {
                    return endpoint.split('/').next().unwrap().to_owned();
                }
            }
        })
        .await
        .expect("chromium starts");
        // Its stderr must not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = eventually("chromium has a page", async || {
            let list = reqwest::get(format!("http://{endpoint}/json/list")).await.ok()?;
            let list: Value = list.json().await.ok()?;
            let page = list.as_array()?.iter().find(|target| target["type"] == "page")?;
            Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
        })
        .await;
        let (page, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        Self { _child: child, _profile: profile, page, asked: 0 }
    }

    /// The value of an expression in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.ask("Runtime.evaluate", json!({"expression": expression, "returnByValue": true})).await["result"]["value"]
            .take()
    }

    pub(crate) async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let question = json!({"id": self.asked, "method": method, "params": parameters});
        self.page.send(Message::text(question.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(DEADLINE, self.page.next()).await.expect("chromium answers");
            let Message::Text(text) = message.unwrap().unwrap() else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.asked {
                return answer["result"].take();
            }
        }
    }

    /// Waits until an expression is true in the page.
    pub(crate) async fn shows(&mut self, what: &str, expression: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.evaluate(expression).await != true {
            if tokio::time::Instant::now() > deadline {
                let page = self.evaluate("document.body.innerText").await;
                panic!("the page never shows {what}: {page}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}
