//! The agent's page, its JSON and its live feed, through the public door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use voice_gateway::base::SessionKey;
use voice_gateway::call::output::{EndReason, Who};
use voice_gateway::web::serve::{Limits, serve_within};
use voice_gateway::web::{Conversation, Histories, HistoryUnavailable, Line, Pending, agent, serve};

#[tokio::test]
async fn the_page_tells_who_said_what_and_why_the_call_came_over() {
    let shelf = Shelf::with(conversation());
    let response = shelf.request(&shelf.page()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let page = body(response).await;
    for part in [
        "+1 859 555 3456",
        "483920175523",
        "Ok, I&#39;m transferring you.",
        "<th scope=\"row\">p2</th><td dir=\"auto\">billing</td>",
        "Transferred to an agent",
        "<li class=\"caller\" data-seq=\"2\"><p class=\"meta\"><span class=\"who\">Caller</span><time datetime=\"2026-01-01T00:00:07.000Z\" title=\"00:00:07 UTC\">0:05</time>",
        "<span class=\"length\" id=\"length\" aria-label=\"Length of the call\">0:58</span>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(
        policy.contains("default-src 'none'") && policy.ends_with("frame-ancestors 'self' https://*.niceincontact.com"),
        "{policy}"
    );
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert_eq!(nonce.len(), 22);
    assert_eq!(page.matches("<script").count(), page.matches(&format!("<script nonce=\"{nonce}\">")).count());
    assert_eq!(page.matches("<style").count(), page.matches(&format!("<style nonce=\"{nonce}\">")).count());
    for forbidden in ["http://", "https://", " onclick", " onload", "style=\"", "innerHTML"] {
        assert!(
            !page.replace("http://www.w3.org/2000/svg", "").replace("http:%", "").contains(forbidden),
            "{forbidden}"
        );
    }
    let again = shelf.request(&shelf.page()).await;
    assert_ne!(again.headers()["content-security-policy"].to_str().unwrap(), policy, "the nonce is used once");
}

#[tokio::test]
async fn whatever_a_caller_says_is_read_and_not_run() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}</style>";
    let mut said = conversation();
    said.lines.push(line(3, 9, Who::Caller, hostile));
    said.why = Some(hostile.to_owned());
    said.caller_number = Some(hostile.to_owned());
    said.called_number = hostile.to_owned();
    said.call_id = hostile.to_owned();
    said.contact_id = Some(hostile.to_owned());
    said.custom_data = vec![(hostile.to_owned(), hostile.to_owned())];
    let shelf = Shelf::with(said);
    let page = body(shelf.request(&shelf.page()).await).await;
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    assert!(page.contains("{{ 7 * 7 }}"));
    let json: serde_json::Value = serde_json::from_str(&body(shelf.request(&shelf.json()).await).await).unwrap();
    assert_eq!(json["entries"][3]["text"], hostile);
}

#[tokio::test]
async fn unknown_expired_and_malformed_keys_are_all_alike() {
    let shelf = Shelf::with(conversation());
    let unknown = SessionKey::from_random([9; 20]).as_str().to_owned();
    let long = "a".repeat(65);
    let keys = [
        unknown.as_str(),
        "",
        "hangup",
        "short",
        &long,
        "%00",
        "%FF%FE%FF",
        "..%2F..%2Fetc",
        "%3Cscript%3E",
        "aaaaaaaaaaaaaaaaaaaaaaaa%20a",
    ];
    let mut pages = Vec::new();
    let addressed = keys.iter().map(|key| format!("/loadAgentAppFrame.html?session_history_key={key}"));
    for path in addressed.chain(["/loadAgentAppFrame.html".to_owned(), "/nowhere".to_owned()]) {
        let response = shelf.request(&path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        pages.push(body(response).await.replace(&nonce, ""));
    }
    assert!(pages.iter().all(|page| *page == pages[0]));
    assert!(pages[0].contains("This conversation is not available"));
    let mut answers = Vec::new();
    for key in keys {
        for path in [format!("/v1/history/{key}"), format!("/v1/history/{key}/events")] {
            let response = shelf.request(&path).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            answers.push(body(response).await);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(*shelf.asked.lock(), 3, "only well-formed keys reach the store");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_as_such() {
    let shelf = Shelf::with(conversation());
    *shelf.conversation.lock() = Err(HistoryUnavailable);
    for path in [shelf.page(), shelf.json(), shelf.events("")] {
        assert_eq!(shelf.request(&path).await.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let post = Request::post(shelf.json()).body(Body::empty()).unwrap();
    assert_eq!(router(&shelf).oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_json_says_the_same_as_the_page() {
    let shelf = Shelf::with(conversation());
    let response = shelf.request(&shelf.json()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let json: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
    assert_eq!(json["state"], "ended");
    assert_eq!(json["end_reason"], "assistant_transfer");
    assert_eq!(json["milliseconds_elapsed"], 58_000);
    assert_eq!(json["answered"], "2026-01-01T00:00:02.000Z");
    assert_eq!(json["custom_data"][0], serde_json::json!({"key": "p2", "value": "billing"}));
    assert_eq!(
        json["entries"][1],
        serde_json::json!({"seq": 2, "at": "2026-01-01T00:00:07.000Z", "offset": "0:05", "who": "caller", "text": "my bill is wrong"})
    );
}

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

#[tokio::test]
async fn a_connection_that_dawdles_over_its_head_is_closed() {
    let shelf = Shelf::with(conversation());
    let (address, stop, served) = shelf.serve(Limits { head: Duration::from_millis(20), ..Limits::default() }).await;
    for said in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Ends only because the server closes.
        let _ = stream.read_to_end(&mut rest).await;
    }
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn no_more_connections_than_the_limit_are_served_at_once() {
    let shelf = Shelf::with(conversation());
    let (address, stop, served) = shelf.serve(Limits { connections: 1, ..Limits::default() }).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", shelf.json());
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = None;
    for round in 1..=20 {
        first.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("}]}") && !answer.ends_with("\"}") {
            let mut chunk = [0; 4096];
            let count = first.read(&mut chunk).await.unwrap();
            answer.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
        assert_eq!(*shelf.asked.lock(), round, "the second connection was served");
        if second.is_none() {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
            second = Some(stream);
        }
    }
    drop(first);
    let mut answer = String::new();
    second.unwrap().read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop.cancel();
    served.await.unwrap();
}

/// One conversation under one key.
struct Shelf {
    key: String,
    conversation: Mutex<Result<Conversation, HistoryUnavailable>>,
    changes: watch::Sender<u64>,
    asked: Mutex<u32>,
}

impl Shelf {
    fn with(conversation: Conversation) -> Arc<Self> {
        let key = SessionKey::from_random([7; 20]).as_str().to_owned();
        Arc::new(Self {
            key,
            conversation: Mutex::new(Ok(conversation)),
            changes: watch::channel(0).0,
            asked: Mutex::new(0),
        })
    }

    fn change(&self, conversation: Conversation) {
        *self.conversation.lock() = Ok(conversation);
        self.changes.send_modify(|version| *version += 1);
    }

    fn page(&self) -> String {
        format!("/loadAgentAppFrame.html?session_history_key={}", self.key)
    }

    fn json(&self) -> String {
        format!("/v1/history/{}", self.key)
    }

    fn events(&self, query: &str) -> String {
        format!("/v1/history/{}/events{query}", self.key)
    }

    async fn request(self: &Arc<Self>, path: &str) -> Response<Body> {
        router(self).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn serve(
        self: &Arc<Self>,
        limits: Limits,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let tracker = tokio_util::task::TaskTracker::new();
        (address, stop.clone(), tracker.spawn(serve_within(limits, listener, router(self), stop)))
    }
}

impl Histories for Shelf {
    fn load<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<Conversation>, HistoryUnavailable>> {
        *self.asked.lock() += 1;
        let found = self.conversation.lock().clone().map(|conversation| (key == self.key).then_some(conversation));
        Box::pin(std::future::ready(found))
    }

    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>> {
        (key == self.key).then(|| self.changes.subscribe())
    }
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

    async fn read(&mut self) {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk).await.unwrap();
        self.open = count > 0;
        self.text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }

    /// The next event; chunk framing and comments are skipped.
    async fn next(&mut self) -> String {
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

fn router(shelf: &Arc<Shelf>) -> axum::Router {
    let frame_ancestors = ["'self'", "https://*.niceincontact.com"].map(str::to_owned);
    agent::router(agent::Agent {
        histories: Arc::clone(shelf) as Arc<dyn Histories>,
        frame_ancestors: frame_ancestors.into(),
    })
}

fn conversation() -> Conversation {
    Conversation {
        call_id: "a84b4c76e66710@example.com".to_owned(),
        contact_id: Some("483920175523".to_owned()),
        caller_number: Some("+1 859 555 3456".to_owned()),
        called_number: "+18882346789".to_owned(),
        started: at(0),
        answered: Some(at(2)),
        ended: Some(at(60)),
        end_reason: Some(EndReason::AssistantTransfer),
        why: Some("Ok, I'm transferring you.".to_owned()),
        custom_data: vec![("p2".to_owned(), "billing".to_owned())],
        lines: vec![
            line(1, 3, Who::Assistant, "Welcome."),
            line(2, 7, Who::Caller, "my bill is wrong"),
            line(3, 9, Who::CallerKeys, "1#"),
        ],
    }
}

fn line(seq: u64, seconds: u64, who: Who, text: &str) -> Line {
    Line { seq, at: at(seconds), who, text: text.to_owned() }
}

/// Seconds into 2026.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

async fn body(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_plain_server_answers() {
    let shelf = Shelf::with(conversation());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let stop = CancellationToken::new();
    let served = tokio_util::task::TaskTracker::new().spawn(serve(listener, router(&shelf), stop.clone()));
    stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    stop.cancel();
    served.await.unwrap();
}
