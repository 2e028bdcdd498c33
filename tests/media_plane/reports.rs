//! RTCP by the port behind that of RTP.

use crate::plane::{HERE, plane};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use voice_gateway::call::MediaEvent;
use voice_gateway::media::rtcp::{Item, read};
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::MediaOptions;

/// Two sockets whose ports follow each other.
fn neighbours() -> [UdpSocket; 2] {
    loop {
        let rtp = UdpSocket::bind((HERE, 0)).unwrap();
        let next = rtp.local_addr().unwrap().port().checked_add(1);
        if let Some(Ok(rtcp)) = next.map(|port| UdpSocket::bind((HERE, port))) {
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            }
            return [rtp, rtcp];
        }
    }
}

#[tokio::test]
async fn reports_leave_by_the_odd_port_and_what_comes_there_is_measured_or_counted() {
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let [to_rtp, to_rtcp] = [0, 1].map(|odd| SocketAddr::from((HERE, port.port() + odd)));
    let [rtp, rtcp] = neighbours();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(rtp.local_addr().unwrap(), Codec::Pcmu) };
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    rtp.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &[1; 160]].concat(), to_rtp).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    let stranger = UdpSocket::bind((HERE, 0)).unwrap();
    for length in [0, 1, 3, 4, 8, 27, 1200, 2048, 9000, 65_507] {
        let junk: Vec<u8> = (0..length).map(|n| (n * 31 % 256) as u8).collect();
        rtcp.send_to(&junk, to_rtcp).unwrap();
        stranger.send_to(&junk, to_rtcp).unwrap();
    }
    let mut room = [0; 2048];
    let (length, from) = rtcp.recv_from(&mut room).unwrap();
    assert_eq!(from, to_rtcp);
    let mut items = Vec::new();
    assert!(read(&room[..length], |item| items.push(item)));
    let [Item::Sender { ssrc, ntp }, Item::Report(block)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((block.ssrc, block.last_sequence_number), (9, 1));
    // An answer at once: all of the time away was on the way.
    let mut answer = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    for word in [*ssrc, 3, 1, 16, (*ntp >> 16) as u32, 0] {
        answer.extend(word.to_be_bytes());
    }
    let learnt = loop {
        rtcp.send_to(&answer, to_rtcp).unwrap();
        let statistics = handle.control.statistics().await.unwrap();
        if statistics.reports.round_trip.is_some() && statistics.dropped.not_rtcp > 0 {
            break statistics;
        }
        let _ = handle.audio.recv().await;
    };
    let heard = learnt.reports.heard.unwrap();
    assert_eq!((heard.lost, heard.jitter), (3, 16));
    assert!(heard.of > 0 && learnt.dropped.not_rtp == 0, "{learnt:?}");
    let last = handle.control.close().await.unwrap();
    assert!(last.reports.packets_out >= 2);
    let mut left = false;
    while !left {
        let (length, _) = rtcp.recv_from(&mut room).unwrap();
        assert!(read(&room[..length], |item| left |= item == Item::Goodbye(*ssrc)));
    }
    plane.stop();
}
