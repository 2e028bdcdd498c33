//! Packets that are forged, replayed, of any size or of any bytes; and the key identifier.

use crate::packets::{key, opened, report, rtp, sealed};
use proptest::prelude::*;
use voice_gateway::media::srtp::{Receiver, Refused, Sender, Suite};

#[test]
fn a_key_identifier_is_stepped_over() {
    for suite in Suite::ALL {
        let packet = rtp(9, 3, b"sound");
        let protected = sealed(&mut Sender::new(suite, &key(suite, 1)).unwrap(), &packet);
        let tag = if suite.name().ends_with("32") { 4 } else { 10 };
        let at = if suite.name().ends_with("GCM") { protected.len() } else { protected.len() - tag };
        let marked = [&protected[..at], &[0, 0, 0, 1][..], &protected[at..]].concat();
        let mut receiver = Receiver::new(suite, &key(suite, 1), 4).unwrap();
        assert_eq!(opened(&mut receiver, &protected), Err(Refused::Forged));
        assert_eq!(opened(&mut receiver, &marked).unwrap(), packet, "{suite:?}");
        let mut room = [0; 100];
        let packet = report(3, 8);
        room[..packet.len()].copy_from_slice(&packet);
        let length = Sender::new(suite, &key(suite, 1)).unwrap().rtcp(&mut room, packet.len()).unwrap();
        let at = if suite.name().ends_with("GCM") { length } else { length - 10 };
        let marked = [&room[..at], &[0, 0, 0, 1][..], &room[at..length]].concat();
        let mut plain = [0; 100];
        assert_eq!(receiver.rtcp(&marked, &mut plain), Ok(packet.len()));
        assert_eq!(plain[..packet.len()], packet);
    }
}

#[test]
fn a_forged_packet_changes_nothing_whatever_it_claims_and_sources_without_the_key_take_no_room() {
    let suite = Suite::AesCm128HmacSha1_80;
    let (mut sender, mut receiver) =
        (Sender::new(suite, &key(suite, 1)).unwrap(), Receiver::new(suite, &key(suite, 1), 0).unwrap());
    let size = format!("{receiver:?}").len();
    let forged = |receiver: &mut Receiver, sequence: u16, ssrc: u32| {
        let packet = rtp(sequence, ssrc, &[1; 170]);
        assert_eq!(opened(receiver, &packet), Err(Refused::Forged));
    };
    // Before the first true packet: where it would make a window that no true packet fits in.
    forged(&mut receiver, 20_000, 7);
    (0..2000).for_each(|ssrc| forged(&mut receiver, 1, ssrc));
    assert_eq!(format!("{receiver:?}").len(), size);
    for n in 100..200_u16 {
        forged(&mut receiver, n.wrapping_add(30_000), 7);
        forged(&mut receiver, n + 60, 7);
        let protected = sealed(&mut sender, &rtp(n, 7, b"sound"));
        assert!(opened(&mut receiver, &protected).is_ok());
        assert_eq!(opened(&mut receiver, &protected), Err(Refused::Replayed));
        let mut altered = protected;
        altered[1] ^= 0x80;
        altered[3] = n as u8 + 1;
        assert_eq!(opened(&mut receiver, &altered), Err(Refused::Forged));
    }
}

#[test]
fn packets_of_every_size_are_refused_or_read() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) =
            (Sender::new(suite, &key(suite, 1)).unwrap(), Receiver::new(suite, &key(suite, 1), 0).unwrap());
        let mut room = vec![0; 70_000];
        for length in (0..400).chain([1499, 1500, 2048, 8192, 65_506, 65_507]) {
            let nonsense: Vec<u8> = (0..length).map(|n| if n == 0 { 0x80 } else { n as u8 }).collect();
            assert!(receiver.rtp(&nonsense, &mut room).is_err());
            assert!(receiver.rtcp(&nonsense, &mut room).is_err());
            let packet = rtp(length as u16, 1, &nonsense);
            assert_eq!(opened(&mut receiver, &sealed(&mut sender, &packet)).unwrap(), packet);
            assert_eq!(sender.rtp(&mut nonsense.clone(), length), None, "no room behind it for a tag");
        }
        let protected = sealed(&mut sender, &rtp(9, 1, &[1; 200]));
        assert_eq!(receiver.rtp(&protected, &mut [0; 100]), Err(Refused::Malformed), "longer than the room");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), suite in 0_usize..6, mki in 0_u8..8) {
        let suite = Suite::ALL[suite];
        let mut receiver = Receiver::new(suite, &key(suite, 1), mki).unwrap();
        prop_assert!(receiver.rtp(&bytes, &mut [0; 2048]).is_err());
        prop_assert!(receiver.rtcp(&bytes, &mut [0; 2048]).is_err());
    }

    #[test]
    fn whatever_the_network_loses_doubles_and_reorders_each_packet_is_read_once(
        order in proptest::collection::vec((0_u32..60, any::<bool>()), 1..400),
        suite in 0_usize..6,
    ) {
        let suite = Suite::ALL[suite];
        let (mut sender, mut receiver) =
            (Sender::new(suite, &key(suite, 1)).unwrap(), Receiver::new(suite, &key(suite, 1), 0).unwrap());
        // Over the rollover in the middle; each packet is late by up to 59, some come twice, some never.
        let mut flight: Vec<(u32, Vec<u8>, Vec<u8>)> = Vec::new();
        for (n, (late, lost)) in (65_336_u32..).zip(order) {
            let packet = rtp(n as u16, 5, &n.to_be_bytes());
            let protected = sealed(&mut sender, &packet);
            if !lost || n == 65_336 {
                flight.push((if n == 65_336 { 0 } else { n + late }, packet, protected));
            }
        }
        flight.sort_by_key(|(arrival, ..)| *arrival);
        for (_, packet, protected) in flight {
            prop_assert_eq!(&opened(&mut receiver, &protected).unwrap(), &packet);
            prop_assert_eq!(opened(&mut receiver, &protected), Err(Refused::Replayed));
        }
    }
}
