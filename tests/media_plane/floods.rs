//! Garbage, strangers and floods: what they cost the call, and the others of its worker.

use crate::plane::{HERE, SILENCE, pair, plane, play_and_hear, speech};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use voice_gateway::call::MediaEvent;
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::MediaOptions;

#[tokio::test]
async fn garbage_strangers_and_floods_on_the_port_leave_the_call_as_it_is() {
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let there: SocketAddr = (HERE, port.port()).into();
    let peer = UdpSocket::bind((HERE, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let negotiated = Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu);
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    let stranger = UdpSocket::bind((HERE, 0)).unwrap();
    // The peer is known from here on.
    peer.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    for length in [0, 1, 11, 12, 19, 172, 2047, 2048, 9000, 65_507] {
        let junk: Vec<u8> = (0..length).map(|n| (n * 31 % 256) as u8).collect();
        peer.send_to(&junk, there).unwrap();
        stranger.send_to(&junk, there).unwrap();
    }
    for n in 0..5000_u32 {
        stranger.send_to(&[0x80, 0, 0, n as u8, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1], there).unwrap();
    }
    // A key after all that is still heard, once.
    for n in 0..3 {
        peer.send_to(&[0x80, 101, 0, 2 + n, 0, 0, 9, 0, 0, 0, 0, 1, 7, 0x8A, 1, 0], there).unwrap();
    }
    // The flood may have filled the socket: keep telling until it has got through.
    let key = loop {
        tokio::select! {
            event = handle.events.recv() => break event,
            _ = handle.audio.recv() => {
                peer.send_to(&[0x80, 101, 0, 9, 0, 0, 9, 0, 0, 0, 0, 1, 7, 0x8A, 1, 0], there).unwrap();
            }
        }
    };
    assert!(matches!(key, Some(MediaEvent::Digit('7'))), "{key:?}");
    let mut packet = [0; 200];
    let (length, from) = peer.recv_from(&mut packet).unwrap();
    assert_eq!((length, from), (172, there));
    let statistics = handle.control.close().await.unwrap();
    assert!(statistics.dropped.stranger > 0 && statistics.dropped.not_rtp > 0, "{statistics:?}");
    plane.stop();
}

#[tokio::test]
async fn a_flood_on_the_port_of_one_call_costs_the_others_of_its_worker_nothing() {
    /// As fast as the system takes them, but not without end.
    const MOST: u32 = 5_000_000;
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let there: SocketAddr = (HERE, port.port()).into();
    let peer = UdpSocket::bind((HERE, 0)).unwrap();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu) };
    let flooded = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let flood = std::thread::spawn(move || {
        for n in (0..MOST).take_while(|_| !ended.load(Ordering::Relaxed)) {
            let [high, low] = (n as u16).to_be_bytes();
            // The kernel may have no room for more: that is a flood's own loss.
            let _ = peer.send_to(&[&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there);
        }
    });
    let (mut phone, mut gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    let sound = speech();
    assert!(play_and_hear(&mut phone, &mut gateway, &sound, SILENCE).await == sound, "not what was said");
    assert!(play_and_hear(&mut gateway, &mut phone, &sound, SILENCE).await == sound, "not what was answered");
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    let statistics = gateway.control.close().await.unwrap();
    assert_eq!((statistics.lost, statistics.dropped.flood), (0, 0));
    let statistics = flooded.control.close().await.unwrap();
    assert!(statistics.dropped.flood > 100, "{statistics:?}");
    // Bounded by time, not by what comes: eight in 20 ms, and 64 at once.
    assert!(statistics.packets_in <= 64 + 8 * (statistics.packets_out + statistics.skipped), "{statistics:?}");
    plane.stop();
}
