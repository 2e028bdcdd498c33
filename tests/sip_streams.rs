//! What peers may cost on SIP's sockets: silent, slow and countless connections, keep-alives, requests too large for a datagram,
//! IPv6, and several listeners at once. Over real sockets, with limits short enough to be seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::station::{Station, counted, metrics, read_until, within_reason};
use sip_support::{bare, invite, sdp, settings};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use voice_gateway::net::sip::{Limits, SipError, SocketOptions, bind};
use voice_gateway::sip::{Dial, DialEvent, LegCommand, LegEvent, Settings, Transport};

const BOTH: [&str; 2] = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"];

async fn limited(limits: Limits) -> Station {
    metrics();
    Station::start(&BOTH, SocketOptions { limits, ..SocketOptions::default() }).await
}

fn options(id: &str) -> String {
    bare("OPTIONS", id, &format!("z9hG4bK{id}"), 1, "").replace("UDP", "TCP")
}

/// Whether a peer with a connection of its own is answered.
async fn others_are_served(gateway: &Station) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(gateway.at(Transport::Tcp)).await.unwrap();
    stream.write_all(options("other").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await.starts_with("SIP/2.0 200")
}

#[tokio::test]
async fn connections_that_say_nothing_or_nothing_more_are_reaped() {
    let gateway = limited(Limits { first: Duration::from_millis(200), ..Limits::default() }).await;
    let mut silent = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    assert_eq!(read_until(&mut silent, "never").await, "", "half-open: not a byte came");
    let mut pinging = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    pinging.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut pinging, "never").await, "\r\n", "pings are no message");
    gateway.stop().await;
    let gateway = limited(Limits { idle: Duration::from_secs(1), ..Limits::default() }).await;
    let mut idle = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    idle.write_all(options("idle").as_bytes()).await.unwrap();
    assert!(read_until(&mut idle, "never").await.starts_with("SIP/2.0 200"));
    for (reason, least) in [("no_message", 2), ("idle", 1)] {
        let series = format!("voice_gateway_sip_connections_closed_total{{reason=\"{reason}\"}}");
        assert!(counted(&series) >= least, "{reason}");
    }
    assert!(counted("voice_gateway_sip_keep_alives_total{kind=\"crlf\"}") >= 1);
    assert!(others_are_served(&gateway).await);
    gateway.stop().await;
}

/// A message that drips in byte by byte is cut off, however lively its sender seems.
#[tokio::test]
async fn a_message_that_drips_in_is_not_waited_for() {
    let gateway = limited(Limits { partial: Duration::from_millis(300), ..Limits::default() }).await;
    let stream = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(options("first").as_bytes()).await.unwrap();
    let dripping = async {
        // Far more bytes than are taken; the interval is the peer's pace, not a wait for anything.
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for byte in options("second")
            .replace("Content-Length", &format!("X-Long: {}\r\nContent-Length", "x".repeat(3000)))
            .bytes()
        {
            pace.tick().await;
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        panic!("it was waited for");
    };
    let (said, ()) = tokio::join!(read_until(&mut read, "never"), within_reason(dripping));
    assert!(said.contains("Call-ID: first") && !said.contains("Call-ID: second"), "{said}");
    assert!(counted("voice_gateway_sip_connections_closed_total{reason=\"unfinished\"}") >= 1);
    assert!(others_are_served(&gateway).await);
    gateway.stop().await;
}

/// Who asks and never reads its answers is let go, and its requests are bounded by the sockets' buffers.
#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let gateway = limited(Limits { write: Duration::from_millis(300), ..Limits::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.at(Transport::Tcp)).await.unwrap();
    let many = options("x").repeat(100);
    let mut sent = 0;
    while within_reason(stream.write_all(many.as_bytes())).await.is_ok() {
        sent += 100;
        assert!(sent < 1_000_000, "it was served for ever");
    }
    let closed = |reason| counted(&format!("voice_gateway_sip_connections_closed_total{{reason=\"{reason}\"}}"));
    assert!(closed("not_reading") + closed("queue_full") >= 1);
    assert!(others_are_served(&gateway).await);
    gateway.stop().await;
}

#[tokio::test]
async fn ten_thousand_connections_of_one_address_leave_room_for_others() {
    // None that was let in is closed for its silence: one too many would be waited for in vain, and fail the test.
    let gateway = limited(Limits { first: Duration::from_secs(3600), ..Limits::default() }).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let mut stream = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
        if held.len() < 256 {
            stream.write_all(b"\r\n\r\n").await.unwrap();
            within_reason(stream.read_exact(&mut [0; 2])).await.unwrap();
            held.push(stream);
        } else {
            refused += usize::from(matches!(within_reason(stream.read(&mut [0; 2])).await, Ok(0) | Err(_)));
        }
    }
    assert_eq!((held.len(), refused), (256, 9_744));
    assert!(counted("voice_gateway_sip_refused_total{reason=\"connections\"}") >= 9_744);
    assert!(others_are_served(&gateway).await);
    gateway.stop().await;
}

#[tokio::test]
async fn stun_on_udp_tells_who_may_call_where_it_comes_from_and_strangers_nothing() {
    let request = b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl";
    let gateway = limited(Limits::default()).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 2048];
    peer.send_to(request, gateway.at(Transport::Udp)).await.unwrap();
    let (length, _) = within_reason(peer.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..2], &buffer[8..20], length), (&b"\x01\x01"[..], &b"abcdefghijkl"[..], 32));
    let port = u16::from_be_bytes([buffer[26], buffer[27]]) ^ 0x2112;
    assert_eq!(port, peer.local_addr().unwrap().port());
    gateway.stop().await;

    let far = Settings { allow_from: vec!["192.0.2.0/24".parse().unwrap()], ..settings() };
    let gateway = Station::with(&BOTH, SocketOptions::default(), far).await;
    peer.send_to(request, gateway.at(Transport::Udp)).await.unwrap();
    // The next datagram is answered, and its answer comes first.
    peer.send_to(bare("OPTIONS", "c", "z9hG4bK1", 1, "").as_bytes(), gateway.at(Transport::Udp)).await.unwrap();
    within_reason(peer.recv_from(&mut buffer)).await.unwrap();
    assert!(buffer.starts_with(b"SIP/2.0 403"));
    gateway.stop().await;
}

/// Beyond what a peer sends that places all the calls that are allowed, nothing more of it is read; others do not notice.
#[tokio::test]
async fn a_flood_of_one_address_is_cut_and_counted() {
    metrics();
    let few = Settings { max_calls: 10, max_calls_per_second: 1, ..settings() };
    let gateway = Station::with(&BOTH, SocketOptions::default(), few).await;
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut sent = 0;
    while counted("voice_gateway_sip_refused_total{reason=\"source_flood\"}") < 100 {
        sent += 1;
        assert!(sent < 200_000, "it was read for ever");
        flood.send_to(b"\0\0\0\0 is no SIP", gateway.at(Transport::Udp)).await.unwrap();
        tokio::task::yield_now().await;
    }
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let mut buffer = [0; 2048];
    other.send_to(bare("OPTIONS", "o", "z9hG4bKo", 1, "").as_bytes(), gateway.at(Transport::Udp)).await.unwrap();
    within_reason(other.recv_from(&mut buffer)).await.unwrap();
    assert!(buffer.starts_with(b"SIP/2.0 200"));
    gateway.stop().await;
}

/// A request that came by UDP in many fragments is answered where it came from.
#[tokio::test]
async fn a_datagram_as_large_as_they_get_is_taken() {
    let gateway = limited(Limits::default()).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let small = bare("OPTIONS", "big", "z9hG4bKbig", 1, "");
    let filler = "x".repeat(60_000 / 8);
    let headers: String = (0..8).map(|n| format!("X-Filler-{n}: {filler}\r\n")).collect();
    let large = small.replacen("Content-Length", &format!("{headers}Content-Length"), 1);
    assert!(large.len() > 60_000);
    peer.send_to(large.as_bytes(), gateway.at(Transport::Udp)).await.unwrap();
    let mut buffer = [0; 65_535];
    within_reason(peer.recv_from(&mut buffer)).await.unwrap();
    assert!(buffer.starts_with(b"SIP/2.0 200"), "{}", String::from_utf8_lossy(&buffer[..300]));
    gateway.stop().await;
}

fn large_dial(to: SocketAddr) -> Dial {
    let headers = vec![("X-Large".to_owned(), "x".repeat(1400))];
    Dial { uri: format!("sip:100@{to}"), from: String::new(), headers, sdp: sdp(), ..Dial::default() }
}

/// RFC 3261 section 18.1.1: what is too large for a datagram goes by TCP, and all the same by UDP where nobody takes it.
#[tokio::test]
async fn a_request_too_large_for_a_datagram_goes_by_tcp_where_it_is_taken() {
    let phone = Station::start(&BOTH, SocketOptions::default()).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(here).await.unwrap();
    let _out = phone.handle.dial(large_dial(here), None).await.unwrap();
    let (mut stream, _) = within_reason(tcp.accept()).await.unwrap();
    let text = read_until(&mut stream, "\r\n\r\n").await;
    assert!(text.starts_with("INVITE sip:100@") && text.contains("\r\nVia: SIP/2.0/TCP "), "{text}");
    drop((stream, tcp));

    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _other = phone.handle.dial(large_dial(deaf.local_addr().unwrap()), None).await.unwrap();
    let mut buffer = [0; 65_535];
    let (length, _) = within_reason(deaf.recv_from(&mut buffer)).await.unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(text.starts_with("INVITE sip:100@") && text.contains("\r\nVia: SIP/2.0/UDP "), "{text}");
    assert_eq!(text.matches("\r\nVia:").count(), 1);
    phone.stop().await;
}

#[tokio::test]
async fn a_call_over_ipv6_by_datagrams_and_streams() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return skipped("there is no IPv6 here");
    }
    let listen = ["udp:[::1]:0", "tcp:[::1]:0"];
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut gateway = Station::start(&listen, SocketOptions::default()).await;
        let phone = Station::start(&listen, SocketOptions::default()).await;
        let to = gateway.at(transport);
        let uri = format!("sip:100@{to};transport={transport}");
        let dial = Dial { uri, from: String::new(), headers: Vec::new(), sdp: sdp(), ..Dial::default() };
        let mut out = phone.handle.dial(dial, None).await.unwrap();
        let mut call = within_reason(gateway.calls.recv()).await.unwrap();
        assert_eq!(call.local_ip, to.ip());
        call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
        assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { sdp: None }));
        let headers = loop {
            match within_reason(out.event()).await.unwrap() {
                DialEvent::Answered { headers, .. } => break headers,
                DialEvent::Provisional { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        let header = |name: &str| headers.iter().find(|(given, _)| given == name).unwrap().1.clone();
        assert!(header("Contact").contains(&format!("@[::1]:{}", to.port())), "{}", header("Contact"));
        let via = header("Via");
        assert!(via.contains("[::1]:") && via.contains("received=::1") && via.contains(";rport="), "{via}");
        call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
        assert!(matches!(within_reason(out.event()).await, Some(DialEvent::Bye { .. })));
        assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Ended));
        phone.stop().await;
        gateway.stop().await;
    }
}

/// Sockets on all addresses of both families and on one address, all at once: each answers for itself, and a port that is taken is
/// named before anything starts.
#[tokio::test]
async fn several_listeners_answer_at_once() {
    let gateway = Station::start(
        &["udp:0.0.0.0:0", "udp:127.0.0.2:0", "tcp:0.0.0.0:0", "tcp:127.0.0.2:0"],
        SocketOptions::default(),
    )
    .await;
    let mut buffer = [0; 4096];
    for (transport, address) in gateway.addresses.clone() {
        let own = if address.ip().is_unspecified() { "127.0.0.1" } else { "127.0.0.2" };
        let to = SocketAddr::new(own.parse().unwrap(), address.port());
        let id = format!("{transport}{}", address.port());
        let call = invite(&id, &format!("z9hG4bK{id}"), 1, "");
        let said = if transport == Transport::Udp {
            let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            peer.send_to(call.as_bytes(), to).await.unwrap();
            let (length, from) = within_reason(peer.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(from, to);
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        } else {
            let mut peer = TcpStream::connect(to).await.unwrap();
            peer.write_all(call.replace("UDP", "TCP").as_bytes()).await.unwrap();
            read_until(&mut peer, "\r\n\r\n").await
        };
        assert!(said.starts_with("SIP/2.0 100"), "{transport} {address}: {said}");
    }
    let (_, taken) = gateway.addresses[0];
    let twice = format!("udp:127.0.0.3:{}", taken.port());
    match bind(&["udp:127.0.0.1:0".parse().unwrap(), twice.parse().unwrap()]).await {
        Err(error @ SipError::Bind { .. }) => assert!(error.to_string().contains(&twice), "{error}"),
        other => panic!("{other:?}"),
    }
    gateway.stop().await;
}

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
