//! Whose packets are taken: the peer behind NAT, its new source, and not a stranger or a flood.

use crate::stage::{PEER, SLOT, Stage, agreement, peer, rtp, sound};
use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::media::{Input, Negotiated, Settings};

#[test]
fn a_source_that_changes_with_each_packet_and_one_that_bears_the_peers_name_change_nothing() {
    let mut stage = Stage::agreed();
    for n in 0..100_u16 {
        stage.receive(n);
        // From the peer's host any port may be the peer's until it is known; from elsewhere nothing is taken, whatever it says.
        let packet = rtp(0, n, u32::from(n) * 160, 1, &[99; 160]);
        stage.receive_from(&format!("198.51.100.7:{}", 20_000 + n), &packet);
        stage.receive_from(&format!("203.0.113.{}:{}", n % 250 + 1, 1024 + n), &packet);
        stage.run(SLOT);
    }
    assert!(!stage.all_heard().contains(&99));
    assert!(stage.sent.iter().all(|sent| sent.to == peer()));
    let statistics = stage.session.statistics();
    assert_eq!((statistics.packets_in, statistics.dropped.stranger, statistics.lost), (100, 200, 0));
}

#[test]
fn another_source_of_the_same_peer_is_followed() {
    let mut stage = Stage::agreed();
    (0..10).for_each(|n| {
        stage.receive(n);
        stage.run(SLOT);
    });
    stage.heard.clear();
    for n in 0..20_u16 {
        stage.receive_from(PEER, &rtp(0, 9000 + n, 77 + u32::from(n) * 160, 2, &[sound(50 + n); 160]));
        stage.run(SLOT);
    }
    let frames: Vec<u8> = stage.all_heard().chunks(160).map(|frame| frame[0]).collect();
    assert_eq!(frames[4..20], (52..68).map(sound).collect::<Vec<u8>>());
    assert_eq!(stage.session.statistics().lost, 0);
}

#[test]
fn a_stranger_neither_is_heard_nor_gets_what_is_sent() {
    let mut stage = Stage::agreed();
    stage.receive_from("198.51.100.7:5000", &rtp(0, 0, 0, 1, &[sound(0); 160]));
    for n in 1..50 {
        stage.receive_from("198.51.100.7:5000", &rtp(0, n, u32::from(n) * 160, 1, &[sound(n); 160]));
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
        stage.receive_from("203.0.113.66:4000", &rtp(101, n, 0, 1, &[1, 0x8A, 0, 160]));
        stage.run(SLOT);
    }
    assert!(!stage.all_heard().contains(&99));
    assert_eq!(stage.digits(), "");
    assert_eq!(stage.session.statistics().dropped.stranger, 98);
    let there: SocketAddr = "198.51.100.7:5000".parse().unwrap();
    assert!(stage.sent.iter().skip(1).all(|sent| sent.to == there));
}

#[test]
fn a_peer_behind_nat_is_followed_to_where_it_signals_from_and_a_guesser_is_not() {
    let private = Negotiated { remote: "192.168.1.20:4000".parse().unwrap(), ..agreement() };
    let signalling = Some("203.0.113.9".parse().unwrap());
    let mut stage = Stage::waiting(Settings { signalling, ..Settings::default() });
    stage.feed(Input::Agree(private));
    for n in 0..2 {
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
    }
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, "192.168.1.20:4000".parse().unwrap());
    stage.receive_from("203.0.113.9:33000", &rtp(0, 0, 0, 2, &[1; 160]));
    for n in 2..9 {
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
    }
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, "203.0.113.9:33000".parse().unwrap());
    assert_eq!((stage.session.statistics().packets_in, stage.session.statistics().dropped.stranger), (1, 9));
}

#[test]
fn a_flood_is_counted_and_the_audio_of_a_stall_is_not_taken_for_one() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_secs(2));
    (0..50).for_each(|n| stage.receive(n));
    assert_eq!(stage.session.statistics().dropped.flood, 0);
    stage.run(Duration::from_secs(1));
    for n in 0..10_000_u32 {
        stage.receive_from(PEER, &rtp(0, 50_u16.wrapping_add(n as u16), n * 160, 1, &[1; 160]));
        if n % 100 == 0 {
            stage.run(SLOT);
        }
    }
    let taken = stage.session.statistics().packets_in;
    assert!(taken <= 50 + 64 + 100 * 8, "{taken}");
    assert!(stage.session.statistics().dropped.flood > 9000);
}
