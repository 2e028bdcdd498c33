//! Streams: framing, connections that are gone under a call, and strangers who get none.

use crate::sip_support::station::{Station, read_until, within_reason};
use crate::sip_support::{self, bare, invite, sdp, settings};
use crate::station;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use voice_gateway::net::sip::SocketOptions;
use voice_gateway::sip::{LegCommand, LegEvent, Settings, Transport};

#[tokio::test]
async fn a_stream_is_framed_pinged_and_closed_when_it_cannot_be_read() {
    let gateway = station().await;
    let mut stream = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    let options = |id: &str| bare("OPTIONS", id, &format!("z9hG4bK{id}"), 1, "").replace("UDP", "TCP");
    // Two requests and a half in one write, the rest behind it.
    let (a, b, c) = (options("aaa"), options("bbb"), options("ccc"));
    let (c1, c2) = c.split_at(40);
    stream.write_all(format!("\r\n{a}{b}{c1}").as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "Call-ID: bbb").await;
    assert!(text.contains("Call-ID: aaa") && !text.contains("Call-ID: ccc"), "{text}");
    stream.write_all(c2.as_bytes()).await.unwrap();
    read_until(&mut stream, "Call-ID: ccc").await;
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    within_reason(stream.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"\r\n");
    let negative = options("ddd").replace("Content-Length: 0", "Content-Length: -9");
    stream.write_all(negative.as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "never").await;
    assert!(text.starts_with("SIP/2.0 400 Bad Request: Content-Length is not a number"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_call_outlives_the_connection_it_came_by() {
    let mut gateway = station().await;
    let mut first = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    first.write_all(invite("c", "z9hG4bK1", 1, "").as_bytes()).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
    let text = read_until(&mut first, "m=audio").await;
    let to = text.lines().rfind(|line| line.starts_with("To:")).unwrap();
    let tag = to.rsplit_once("tag=").unwrap().1;
    drop(first);
    let mut second = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    second.write_all(sip_support::within("ACK", "c", "z9hG4bKa", 1, tag, "", "").as_bytes()).await.unwrap();
    second.write_all(sip_support::within("INFO", "c", "z9hG4bKi", 2, tag, "", "").as_bytes()).await.unwrap();
    read_until(&mut second, "CSeq: 2 INFO").await;
    assert!(matches!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { .. })));
    call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
    assert!(read_until(&mut second, "BYE sip:").await.contains("BYE sip:a@127.0.0.1:5070 SIP/2.0"));
    drop(second);
    assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Ended), "the BYE's connection is gone");
    gateway.stop().await;
}

/// A call by TCP from a peer that cannot be reached by its Contact, and whose connection is gone: where our BYE comes to, and the BYE.
async fn bye_after_the_connection(
    text: impl Fn(String) -> String,
    more: &str,
    home: tokio::net::TcpListener,
) -> String {
    let mut gateway = station().await;
    let mut first = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    first.write_all(text(invite("c", "z9hG4bK1", 1, more)).as_bytes()).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
    let answer = read_until(&mut first, "m=audio").await;
    let to = answer.lines().rfind(|line| line.starts_with("To:")).unwrap();
    let ack = sip_support::within("ACK", "c", "z9hG4bKa", 1, to.rsplit_once("tag=").unwrap().1, "", "");
    first.write_all(text(ack).as_bytes()).await.unwrap();
    assert!(matches!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { .. })));
    // The gateway closes its end behind ours: then it knows.
    first.shutdown().await.unwrap();
    read_until(&mut first, "never").await;
    call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
    let (mut second, _) = within_reason(home.accept()).await.unwrap();
    let bye = read_until(&mut second, "\r\n\r\n").await;
    drop((second, call));
    gateway.stop().await;
    bye
}

#[tokio::test]
async fn a_connection_that_is_gone_is_opened_to_the_port_in_sent_by() {
    let home = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = format!("TCP pbx.example.com:{}", home.local_addr().unwrap().port());
    let text = |text: String| text.replace("UDP 127.0.0.1:5070", &named).replace("a@127.0.0.1:5070", "a@pbx");
    let bye = bye_after_the_connection(text, "", home).await;
    assert!(bye.starts_with("BYE sip:a@pbx SIP/2.0"), "{bye}");
}

#[tokio::test]
async fn a_connection_that_is_gone_is_opened_to_the_proxy_that_recorded_itself() {
    let home = tokio::net::TcpListener::bind("127.0.0.3:0").await.unwrap();
    let routes = format!("<sip:{};transport=tcp;lr>, <sip:far.example.com;lr>", home.local_addr().unwrap());
    let recorded = format!("Record-Route: {}\r\n", routes.replace(", ", "\r\nRecord-Route: "));
    let text = |text: String| text.replace("UDP 127.0.0.1:5070", "TCP 127.0.0.1:9");
    let bye = bye_after_the_connection(text, &recorded, home).await;
    assert!(bye.starts_with("BYE sip:a@127.0.0.1:5070 SIP/2.0"), "loose routing: {bye}");
    let seen: Vec<_> = bye.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(seen.join(", "), routes);
}

/// Who is not in `sip.allow_from` cannot even open a connection, and hears no more than the 403s of a second's bucket.
#[tokio::test]
async fn strangers_have_no_connection_and_few_answers() {
    let elsewhere = Settings { allow_from: vec!["192.0.2.0/24".parse().unwrap()], ..settings() };
    let both = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"];
    let gateway = Station::with(&both, SocketOptions::default(), elsewhere).await;
    let mut stream = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    stream.write_all(bare("OPTIONS", "t", "z9hG4bKt", 1, "").replace("UDP", "TCP").as_bytes()).await.ok();
    let mut buffer = [0; 2048];
    assert!(matches!(within_reason(stream.read(&mut buffer)).await, Ok(0) | Err(_)), "closed without a word");
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.send_to(bare("OPTIONS", "c", "z9hG4bK1", 1, "").as_bytes(), gateway.at(Transport::Udp)).await.unwrap();
    let (length, _) = within_reason(udp.recv_from(&mut buffer)).await.unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 403"));
    gateway.stop().await;
}
