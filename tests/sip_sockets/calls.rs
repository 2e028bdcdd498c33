//! Calls from our UAC to our UAS, over UDP and TCP: one, a hundred, and those that come to nothing.

use crate::sip_support::station::{Station, within_reason};
use crate::sip_support::{self, invite, sdp};
use crate::{dial, station, uri};
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use voice_gateway::net::sip::SocketOptions;
use voice_gateway::sip::{DialEvent, LegCommand, LegEvent, Transport};

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
