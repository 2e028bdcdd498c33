//! The live feed over a real connection, to its end.

use crate::shelf::{Shelf, at, conversation, line};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use voice_gateway::call::output::{EndReason, Who};
use voice_gateway::web::serve::Limits;

#[tokio::test]
async fn the_feed_brings_what_comes_while_the_call_goes_on_and_ends_with_it() {
    let mut live = conversation();
    (live.ended, live.end_reason, live.why) = (None, None, None);
    live.custom_data.clear();
    let shelf = Shelf::with(live.clone());
    let (address, stop, served) = shelf.serve(Limits::default()).await;

    let mut feed = Feed::open(address, &shelf.events("?after=2"), "").await;
    assert!(feed.next().await.starts_with("event: call\ndata: {"));
    let first = feed.next().await;
    assert!(first.starts_with("event: line\n") && first.contains("\"seq\":3") && first.contains("id: 3"), "{first}");

    live.lines.push(line(4, 20, Who::Caller, "two\nlines </script>"));
    shelf.change(live.clone());
    let second = feed.next().await;
    assert!(second.contains("\"text\":\"two\\nlines </script>\""), "{second}");

    live.end_reason = Some(EndReason::AssistantTransfer);
    live.why = Some("over to you".to_owned());
    shelf.change(live.clone());
    let leaving = feed.next().await;
    assert!(leaving.contains("\"state\":\"leaving\"") && leaving.contains("over to you"), "{leaving}");

    live.ended = Some(at(30));
    live.lines.push(line(5, 30, Who::Gateway, "Ended"));
    shelf.change(live);
    assert!(feed.next().await.contains("\"state\":\"ended\""));
    assert!(feed.next().await.contains("\"seq\":5"));
    assert!(feed.next().await.starts_with("event: end\n"));
    feed.closed().await;

    // A browser that comes back says what it has seen.
    let mut back = Feed::open(address, &shelf.events("?after=1"), "Last-Event-ID: 4\r\n").await;
    assert!(back.next().await.starts_with("event: call\n"));
    assert!(back.next().await.contains("\"seq\":5"));
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_open_feeds_and_the_server() {
    let mut live = conversation();
    (live.ended, live.end_reason) = (None, None);
    let shelf = Shelf::with(live);
    let (address, stop, served) = shelf.serve(Limits { grace: Duration::from_secs(60), ..Limits::default() }).await;
    let mut feed = Feed::open(address, &shelf.events(""), "").await;
    feed.next().await;
    stop.cancel();
    while !feed.ended() {
        feed.read().await;
    }
    served.await.unwrap();
}

/// A client of the feed over a real connection.
struct Feed {
    stream: TcpStream,
    text: String,
    open: bool,
}

impl Feed {
    async fn open(address: std::net::SocketAddr, path: &str, header: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n").as_bytes()).await.unwrap();
        let mut feed = Self { stream, text: String::new(), open: true };
        while !feed.text.contains("\r\n\r\n") {
            feed.read().await;
        }
        let (head, rest) =
            feed.text.split_once("\r\n\r\n").map(|(head, rest)| (head.to_lowercase(), rest.to_owned())).unwrap();
        assert!(
            head.starts_with("http/1.1 200") && head.contains("text/event-stream") && head.contains("no-store"),
            "{head}"
        );
        feed.text = rest;
        feed
    }

    pub(crate) async fn read(&mut self) {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk).await.unwrap();
        self.open = count > 0;
        self.text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }

    /// The next event; chunk framing and comments are skipped.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let start = self.text.find("event: ");
            if let Some((start, length)) = start.and_then(|start| Some((start, self.text[start..].find("\n\n")?))) {
                let event = self.text[start..start + length].to_owned();
                self.text.drain(..start + length);
                return event;
            }
            assert!(self.open && !self.ended(), "the feed ended: {}", self.text);
            self.read().await;
        }
    }

    /// The last chunk (RFC 9112 section 7.1).
    fn ended(&self) -> bool {
        self.text.ends_with("\r\n0\r\n\r\n") || !self.open
    }

    async fn closed(&mut self) {
        while !self.ended() {
            self.read().await;
        }
    }
}
