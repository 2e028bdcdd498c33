//! Calls under SRTP: loss, wrong keys, new keys, strangers.

use crate::call::{ADDRESSES, Call, srtp};
use crate::packets::{library, rtp};
use std::net::SocketAddr;
use voice_gateway::media::rtp::Packet;
use voice_gateway::media::srtp::Suite;
use voice_gateway::media::{Codec, Input};

#[test]
fn a_call_is_heard_both_ways_through_loss_disorder_and_rollovers_and_nothing_of_it_is_readable() {
    for suite in Suite::ALL {
        let mut call = Call::new(64_036);
        call.both(suite, [1, 2]);
        (call.loss, call.disorder) = (5, 1);
        call.play(0, 1, vec![0x21; 160 * 4000]);
        call.play(1, 1, vec![0x42; 160 * 4000]);
        // Over the rollover of the sequence numbers in the middle.
        call.run(3000);
        let readable = call.flight.iter().flatten().any(|(_, packet)| packet.windows(8).any(|w| w == [0x21; 8]));
        assert!(!readable);
        assert!(call.share(1, 2900, 0x21) > 0.9 && call.share(0, 2900, 0x42) > 0.9, "{suite:?}");
        for side in [0, 1] {
            let counts = call.statistics(side);
            assert_eq!((counts.dropped.forged, counts.dropped.replayed), (0, 0), "{suite:?}");
            assert!((90..220).contains(&counts.lost), "{counts:?}");
        }
    }
}

#[test]
fn with_wrong_keys_or_none_nothing_is_heard_and_the_rest_of_the_call_goes_on() {
    let suite = Suite::AeadAes128Gcm;
    let mut call = Call::new(5);
    call.agree(0, Codec::Pcmu, srtp(suite, 1, 2));
    call.agree(1, Codec::Pcmu, srtp(suite, 3, 1));
    call.play(0, 1, vec![0x21; 160 * 1000]);
    call.play(1, 1, vec![0x42; 160 * 1000]);
    call.run(500);
    assert!(call.share(1, 400, 0x21) > 0.99, "this direction has its key");
    assert!(call.share(0, 400, 0x42) < 0.01);
    let arrived = |call: &Call| call.statistics(1).packets_out - call.flight[1].len() as u64;
    assert_eq!(call.statistics(0).dropped.forged, arrived(&call));
    assert!(call.statistics(0).packets_out >= 500);

    call.agree(1, Codec::Pcmu, None);
    call.run(100);
    assert_eq!(call.statistics(0).dropped.forged, arrived(&call), "plain RTP is none of an encrypted call's");
    call.agree(1, Codec::Pcmu, srtp(suite, 2, 1));
    call.run(100);
    assert!(call.share(0, 90, 0x42) > 0.99, "and with the right key it is heard");
}

#[test]
fn new_keys_by_re_invite_lose_nothing_and_a_packet_under_the_old_key_is_still_read() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut call = Call::new(65_400);
    call.both(suite, [1, 2]);
    call.play(0, 1, vec![0x21; 160 * 3000]);
    call.play(1, 1, vec![0x42; 160 * 3000]);
    call.run(300);
    // The answering side knows first; the offering side three slots later.
    call.agree(1, Codec::Pcmu, srtp(suite, 4, 3));
    call.run(3);
    call.agree(0, Codec::Pcmu, srtp(suite, 3, 4));
    call.run(200);
    assert!(call.share(1, 250, 0x21) > 0.95, "{}", call.share(1, 250, 0x21));
    let dropped = call.statistics(1).dropped;
    assert_eq!((dropped.forged, dropped.replayed), (0, 0), "what was under way when the keys changed was still read");
    assert!(call.statistics(0).dropped.forged <= 3, "only what came before the answer was known");
    assert!(call.share(0, 180, 0x42) > 0.99);
    // The same again without a change: nothing begins anew.
    let before = [call.statistics(0), call.statistics(1)];
    call.both(suite, [3, 4]);
    call.run(50);
    for side in [0, 1] {
        assert_eq!(call.statistics(side).packets_in - before[side].packets_in, 50);
        assert_eq!(call.statistics(side).dropped, before[side].dropped);
    }
}

#[test]
fn a_new_key_means_a_new_source_whose_rollovers_nobody_can_count_wrongly() {
    let suite = Suite::AeadAes256Gcm;
    let mut call = Call::new(65_530);
    call.both(suite, [1, 2]);
    call.run(10);
    let last = |call: &Call| {
        let (_, packet) = call.flight[0].last().unwrap();
        let packet = Packet::read(packet).unwrap();
        (packet.ssrc, packet.sequence, packet.timestamp)
    };
    let (ssrc, sequence, timestamp) = last(&call);
    assert!(sequence < 10, "over its rollover: {sequence}");
    call.agree(0, Codec::Pcmu, srtp(suite, 3, 2));
    call.run(1);
    let (renewed, sequence, later) = last(&call);
    assert!(renewed != ssrc && sequence < 0x8000 && later == timestamp + 160);
    // An own stream of the library, begun at once, reads it with a rollover counter of 0.
    let (_, packet) = call.flight[0].last().unwrap().clone();
    assert!(library(suite, 3).decrypt_rtp(&packet).is_ok());
}

#[test]
fn a_stranger_with_the_right_address_and_a_recorder_with_true_packets_disturb_nothing() {
    let suite = Suite::AesCm128HmacSha1_32;
    let mut call = Call::new(100);
    call.both(suite, [1, 2]);
    call.play(0, 1, vec![0x21; 160 * 1000]);
    let from: SocketAddr = ADDRESSES[0].parse().unwrap();
    let elsewhere: SocketAddr = "198.51.100.7:6666".parse().unwrap();
    let (mut recorded, mut replayed) = (Vec::<Vec<u8>>::new(), 0);
    for n in 0..300_u32 {
        recorded.extend(call.flight[0].iter().map(|(_, packet)| packet.clone()));
        for extra in 0..20 {
            let forged = rtp(n as u16 + extra, n % 3, &[0x99; 164]);
            call.feed(1, Input::Datagram { from: if extra % 2 == 0 { from } else { elsewhere }, bytes: &forged });
        }
        if let Some(old) = recorded.get(recorded.len().saturating_sub(30)).cloned() {
            call.feed(1, Input::Datagram { from: elsewhere, bytes: &old });
            replayed += 1;
        }
        call.run(1);
    }
    let counts = call.statistics(1);
    // Some of the forged bear the number of a packet that has come: those are not even looked at.
    assert!(counts.dropped.forged > 4000 && counts.dropped.replayed > 1000, "{counts:?}");
    assert_eq!(counts.dropped.forged + counts.dropped.replayed, 6000 + replayed, "{counts:?}");
    assert_eq!(counts.packets_in, recorded.len() as u64);
    assert!(call.share(1, 250, 0x21) > 0.99);
    let sent_to = call.flight[1].len();
    assert_eq!(sent_to, 1, "and the other direction never moved to {elsewhere}");
}
