//! What we seal the library of webrtc-rs opens, and the other way round.

use crate::packets::{key, library, opened, report, rtp, sealed};
use voice_gateway::media::srtp::{Receiver, Refused, Sender, Suite};

#[test]
fn what_we_seal_the_library_opens_and_the_other_way_round_over_rollovers() {
    for suite in Suite::ALL {
        let (mut ours, mut theirs) = (Sender::new(suite, &key(suite, 1)).unwrap(), library(suite, 1));
        let (mut ours_in, mut theirs_out) = (Receiver::new(suite, &key(suite, 2), 0).unwrap(), library(suite, 2));
        // 2.1 rounds of sequence numbers; between the rollovers every 97th packet comes through.
        for n in 30_000..168_000_u32 {
            if n % 97 != 0 && (3..65_533).contains(&(n % 65_536)) {
                continue;
            }
            let packet = rtp(n as u16, 0xDECA_FBAD, &[n as u8; 20]);
            assert_eq!(theirs.decrypt_rtp(&sealed(&mut ours, &packet)).unwrap(), packet, "{suite:?} {n}");
            let protected = theirs_out.encrypt_rtp(&packet).unwrap();
            assert_eq!(opened(&mut ours_in, &protected).unwrap(), packet, "{suite:?} {n}");
        }
    }
}

#[test]
fn headers_with_sources_and_extensions_stay_readable_and_the_library_agrees() {
    for suite in Suite::ALL {
        let mut packet = rtp(5, 77, b"");
        packet[0] |= 0x12;
        packet.extend([1; 8]);
        packet.extend([0xAB, 0xCD, 0, 2, 9, 9, 9, 9, 8, 8, 8, 8]);
        let header = packet.clone();
        packet.extend(b"the sound");
        let protected = sealed(&mut Sender::new(suite, &key(suite, 1)).unwrap(), &packet);
        assert!(protected.starts_with(&header) && !protected.windows(5).any(|window| window == b"sound"));
        assert_eq!(library(suite, 1).decrypt_rtp(&protected).unwrap(), packet, "{suite:?}");
        assert_eq!(opened(&mut Receiver::new(suite, &key(suite, 1), 0).unwrap(), &protected).unwrap(), packet);
    }
}

#[test]
fn reports_are_sealed_and_opened_as_the_library_does() {
    for suite in Suite::ALL {
        let (mut ours, mut theirs) = (Sender::new(suite, &key(suite, 1)).unwrap(), library(suite, 1));
        let (mut ours_in, mut theirs_out) = (Receiver::new(suite, &key(suite, 2), 0).unwrap(), library(suite, 2));
        for n in 0..50 {
            let packet = report(0x0BAD_CAFE, 4 * n);
            let mut room = [0; 300];
            room[..packet.len()].copy_from_slice(&packet);
            let length = ours.rtcp(&mut room, packet.len()).unwrap();
            assert_eq!(theirs.decrypt_rtcp(&room[..length]).unwrap(), packet, "{suite:?}");

            let protected = theirs_out.encrypt_rtcp(&packet).unwrap();
            let length = ours_in.rtcp(&protected, &mut room).unwrap();
            assert_eq!(room[..length], packet, "{suite:?}");
            assert_eq!(ours_in.rtcp(&protected, &mut room), Err(Refused::Replayed));
            let mut forged = theirs_out.encrypt_rtcp(&packet).unwrap();
            let last = forged.len() - 1;
            forged[last] ^= 1;
            assert_eq!(ours_in.rtcp(&forged, &mut room), Err(Refused::Forged));
        }
        let mut plain = report(5, 40);
        plain.extend([0, 0, 0, 9]);
        plain.extend([0; 16]);
        assert_eq!(ours_in.rtcp(&plain, &mut [0; 300]), Err(Refused::Forged), "not even encrypted");
    }
}
