//! Connections that dawdle, and more of them than are served.

use crate::shelf::{Shelf, conversation, router};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use voice_gateway::web::serve;
use voice_gateway::web::serve::Limits;

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
