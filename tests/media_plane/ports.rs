//! Ports are reserved, rest, run out, and are of the address family of the call.

use crate::plane::{HERE, pair, plane};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::time::Duration;
use voice_gateway::call::MediaEvent;
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaSettings};
use voice_gateway::net::ports::ReservedPort;

#[tokio::test]
async fn dropping_the_control_closes_the_session_and_rests_its_port() {
    let plane = plane(40);
    let before = plane.ports().idle();
    let (phone, mut gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert_eq!((plane.sessions(), plane.ports().idle()), (2, before - 2));
    drop(phone);
    let MediaHandle { control, .. } = &gateway;
    assert!(control.statistics().await.is_some());
    drop(gateway.control);
    // The sender of the events goes with the session.
    while gateway.events.recv().await.is_some() {}
    plane.stop();
    assert_eq!((plane.sessions(), plane.ports().idle()), (0, before));
}

#[tokio::test]
async fn when_all_ports_are_taken_there_is_none() {
    let plane = plane(3);
    let taken: Vec<ReservedPort> = std::iter::from_fn(|| plane.reserve()).collect();
    assert!(taken.len() <= 3);
    assert!(plane.reserve().is_none());
    plane.stop();
}

#[tokio::test]
async fn a_call_over_ipv6_has_rtp_over_ipv6_on_a_plane_for_any_address() {
    let Ok(peer) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
    let plane = MediaPlane::start(MediaSettings {
        port_range: first..=first + 79,
        workers: NonZeroUsize::new(1),
        ..MediaSettings::default()
    })
    .unwrap();
    let port = plane.reserve_at(Ipv6Addr::LOCALHOST.into()).unwrap();
    let there: SocketAddr = (Ipv6Addr::LOCALHOST, port.port()).into();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu) };
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    peer.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    let mut packet = [0; 200];
    assert_eq!(peer.recv_from(&mut packet).unwrap(), (172, there));
    plane.stop();
}
