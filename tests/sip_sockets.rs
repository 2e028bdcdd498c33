//! SIP over real sockets on loopback: our UAC calls our UAS, and raw sockets misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::station::{Station, read_until, within_reason};
use sip_support::{bare, invite, sdp, settings};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use voice_gateway::net::sip::SocketOptions;
use voice_gateway::sip::{Dial, DialEvent, LegCommand, LegEvent, Settings, Transport};

/// On UDP and TCP.
async fn station() -> Station {
    Station::start(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], SocketOptions::default()).await
}

fn uri(station: &Station, transport: Transport) -> String {
    format!("sip:+18882346789@{};transport={transport}", station.at(transport))
}

fn dial(uri: String) -> Dial {
    Dial {
        uri,
        from: String::new(),
        headers: vec![("X-ContactID".into(), "12345".into())],
        sdp: sdp(),
        ..Dial::default()
    }
}

async fn a_call(transport: Transport) {
    let (mut gateway, phone) = (station().await, station().await);
    let mut out = phone.handle.dial(dial(uri(&gateway, transport)), None).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    assert_eq!(call.invite.called_number, "+18882346789");
    assert!(call.invite.headers.contains(&("X-ContactID".into(), "12345".into())));
    assert_eq!(call.invite.sdp, Some(sdp()));
    assert!(call.local_ip.is_loopback());
    assert_eq!((gateway.handle.active(), phone.handle.active()), (1, 1));

    call.leg.command(LegCommand::Ring).await;
    let headers = vec![("X-Session-Key".to_owned(), "key".to_owned())];
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers }).await;
    assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { sdp: None }));
    let mut heard = Vec::new();
    loop {
        match within_reason(out.event()).await.unwrap() {
            DialEvent::Provisional { code, .. } => heard.push(code),
            DialEvent::Answered { sdp: answer, headers } => {
                assert_eq!(answer, Some(sdp()));
                assert!(headers.contains(&("X-Session-Key".into(), "key".into())));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, [100, 180]);

    call.leg.command(LegCommand::Bye { headers: vec![("Reason".into(), "SIP;cause=200".into())] }).await;
    let Some(DialEvent::Bye { headers }) = within_reason(out.event()).await else { panic!("no BYE") };
    assert!(headers.contains(&("Reason".into(), "SIP;cause=200".into())));
    assert_eq!(within_reason(out.event()).await, Some(DialEvent::Ended));
    assert_eq!(within_reason(out.event()).await, None);
    assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Ended));
    assert_eq!(within_reason(call.leg.event()).await, None);
    gateway.stop().await;
    phone.stop().await;
}

#[tokio::test]
async fn a_call_over_udp() {
    a_call(Transport::Udp).await;
}

#[tokio::test]
async fn a_call_over_tcp() {
    a_call(Transport::Tcp).await;
}

/// A listener on all addresses names itself by the route to the peer, in IPv4 and in IPv6.
#[tokio::test]
async fn listeners_on_all_addresses_say_where_they_can_be_reached() {
    for (listen, from, own) in [("udp:0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"), ("udp:[::]:0", "[::1]:0", "[::1]")] {
        let Ok(peer) = UdpSocket::bind(from).await else {
            skipped(&format!("{from} cannot be bound here"));
            continue;
        };
        let mut gateway = Station::start(&[listen], SocketOptions::default()).await;
        let to: SocketAddr = format!("{own}:{}", gateway.at(Transport::Udp).port()).parse().unwrap();
        peer.send_to(invite("c", "z9hG4bK1", 1, "").as_bytes(), to).await.unwrap();
        let call = within_reason(gateway.calls.recv()).await.unwrap();
        assert_eq!(call.local_ip, to.ip());
        call.leg.command(LegCommand::Ring).await;
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, _) = within_reason(peer.recv_from(&mut buffer)).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("SIP/2.0 180") {
                assert!(text.contains(&format!("Contact: <sip:voice-gateway@{to}>\r\n")), "{text}");
                break;
            }
        }
        drop(call);
        gateway.stop().await;
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[tokio::test]
async fn a_hundred_calls_at_once() {
    let (mut gateway, phone) = (station().await, station().await);
    let uri = uri(&gateway, Transport::Udp);
    let app = tokio_util::task::TaskTracker::new();
    let mut calls = std::mem::replace(&mut gateway.calls, tokio::sync::mpsc::channel(1).1);
    app.spawn({
        let app = app.clone();
        async move {
            while let Some(mut call) = calls.recv().await {
                app.spawn(async move {
                    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
                    while let Some(event) = call.leg.event().await {
                        if event == (LegEvent::Acknowledged { sdp: None }) {
                            call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
                        }
                    }
                });
            }
        }
    });
    let mut legs = Vec::new();
    for _ in 0..100 {
        legs.push(phone.handle.dial(dial(uri.clone()), None).await.unwrap());
    }
    for mut leg in legs {
        let mut answered = false;
        while let Some(event) = within_reason(leg.event()).await {
            answered |= matches!(event, DialEvent::Answered { .. });
        }
        assert!(answered);
    }
    assert_eq!(phone.handle.active(), 0);
    phone.stop().await;
    app.close();
    gateway.stop().await;
    within_reason(app.wait()).await;
}

#[tokio::test]
async fn a_cancelled_call_and_a_refused_one() {
    let (mut gateway, phone) = (station().await, station().await);
    let mut out = phone.handle.dial(dial(uri(&gateway, Transport::Udp)), None).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    out.cancel().await;
    assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Cancelled));
    let mut last = None;
    while let Some(event) = within_reason(out.event()).await {
        if let DialEvent::Refused { code, .. } = event {
            last = Some(code);
        }
    }
    assert_eq!(last, Some(487));

    gateway.handle.drain(true);
    let mut out = phone.handle.dial(dial(uri(&gateway, Transport::Tcp)), None).await.unwrap();
    let Some(DialEvent::Refused { code, headers, .. }) = within_reason(out.event()).await else { panic!() };
    assert_eq!(code, 503);
    assert!(headers.iter().any(|(name, _)| name == "Retry-After"));
    gateway.stop().await;
    phone.stop().await;
}

#[tokio::test]
async fn a_leg_that_is_dropped_strands_nobody() {
    let (mut gateway, phone) = (station().await, station().await);
    let mut out = phone.handle.dial(dial(uri(&gateway, Transport::Udp)), None).await.unwrap();
    drop(within_reason(gateway.calls.recv()).await.unwrap());
    let mut codes = Vec::new();
    while let Some(event) = within_reason(out.event()).await {
        if let DialEvent::Refused { code, .. } = event {
            codes.push(code);
        }
    }
    assert_eq!(codes, [500]);

    let mut out = phone.handle.dial(dial(uri(&gateway, Transport::Udp)), None).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
    assert!(matches!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { .. })));
    drop(call);
    let mut ended_by_bye = false;
    while let Some(event) = within_reason(out.event()).await {
        ended_by_bye |= matches!(event, DialEvent::Bye { .. });
    }
    assert!(ended_by_bye);
    gateway.stop().await;
    phone.stop().await;
}

#[tokio::test]
async fn stopping_hangs_up_on_everybody() {
    let (mut gateway, phone) = (station().await, station().await);
    let mut out = phone.handle.dial(dial(uri(&gateway, Transport::Tcp)), None).await.unwrap();
    let mut call = within_reason(gateway.calls.recv()).await.unwrap();
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
    assert!(matches!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { .. })));
    gateway.stop().await;
    let mut ended_by_bye = false;
    while let Some(event) = within_reason(out.event()).await {
        ended_by_bye |= matches!(event, DialEvent::Bye { .. });
    }
    assert!(ended_by_bye);
    phone.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_listen_is_ended() {
    let mut gateway = station().await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = vec![0; 65_536];
    // Our BYE goes to Contact: the peer must be where it says.
    let here = peer.local_addr().unwrap().to_string();
    peer.send_to(
        invite("c", "z9hG4bK1", 1, "").replace("127.0.0.1:5070", &here).as_bytes(),
        gateway.at(Transport::Udp),
    )
    .await
    .unwrap();
    let call = within_reason(gateway.calls.recv()).await.unwrap();
    call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
    let tag = loop {
        let (length, _) = within_reason(peer.recv_from(&mut buffer)).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.starts_with("SIP/2.0 200") {
            let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
            break to.rsplit_once("tag=").unwrap().1.to_owned();
        }
    };
    peer.send_to(sip_support::within("ACK", "c", "z9hG4bKa", 1, &tag, "", "").as_bytes(), gateway.at(Transport::Udp))
        .await
        .unwrap();
    let kind = "Content-Type: application/dtmf\r\n";
    let keys = async {
        let mut taken = 0;
        for cseq in 2.. {
            let info = sip_support::within("INFO", "c", &format!("z9hG4bK{cseq}"), cseq, &tag, kind, "5");
            peer.send_to(info.as_bytes(), gateway.at(Transport::Udp)).await.unwrap();
            let (length, _) = peer.recv_from(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            // Keys that come too fast are refused, and fill nothing.
            taken += u32::from(text.starts_with("SIP/2.0 200"));
            if text.starts_with("BYE") {
                break;
            }
        }
        taken
    };
    // The ACK and 31 keys fill the queue of 32; one more is too much.
    let taken = within_reason(keys).await;
    assert!((31..=34).contains(&taken), "{taken}");
    drop(call);
    gateway.stop().await;
}

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

#[tokio::test]
async fn a_peer_that_cannot_be_reached_or_named_is_said() {
    let phone = station().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let uri = format!("sip:x@{nobody};transport=tcp");
    let mut out = phone.handle.dial(dial(uri), None).await.unwrap();
    let Some(DialEvent::Refused { code: 503, .. }) = within_reason(out.event()).await else { panic!() };
    assert_eq!(within_reason(out.event()).await, Some(DialEvent::Ended));
    for (uri, what) in [
        ("tel:+1555", "only sip: and sips: URIs"),
        ("sip:x@127.0.0.1;transport=sctp", "transport"),
        ("sips:x@127.0.0.1;transport=udp", "by TLS only"),
        ("sip:x@[::1]", "no such listener"),
        ("nonsense", "scheme"),
    ] {
        let error = phone.handle.dial(dial(uri.to_owned()), None).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    phone.stop().await;
}
