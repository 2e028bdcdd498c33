//! SRTP against webrtc-rs' own (RFC 3711, 6188, 7714), over rollovers and changes of key, and against whoever has not the key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::base::{Now, clock};
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::srtp::{MasterKey, Receiver, Refused, Sender, Srtp, Suite};
use voice_gateway::media::{Codec, Input, Negotiated, Output, Session, Settings, Statistics};

fn key(suite: Suite, seed: u8) -> MasterKey {
    let bytes = (0..suite.key_length() + suite.salt_length()).map(|n| seed.wrapping_mul(31) ^ n as u8).collect();
    MasterKey::new(suite, bytes).unwrap()
}

/// The library's one direction under the same key.
fn library(suite: Suite, seed: u8) -> Context {
    let profile = match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256HmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AesCm256HmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let key = key(suite, seed);
    let (key, salt) = key.expose().split_at(suite.key_length());
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 0];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((u32::from(sequence) * 160).to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn report(ssrc: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, (length / 4) as u8 + 1];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((0..length).map(|n| n as u8));
    bytes
}

fn sealed(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + 32, 0);
    let length = sender.rtp(&mut room, packet.len()).unwrap();
    room.truncate(length);
    room
}

fn opened(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut room = vec![0; packet.len()];
    let length = receiver.rtp(packet, &mut room)?;
    room.truncate(length);
    Ok(room)
}

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

const ADDRESSES: [&str; 2] = ["198.51.100.7:4000", "192.0.2.10:20000"];

/// Two sessions and the network between them, on simulated time.
struct Call {
    sessions: [Session; 2],
    now: Now,
    /// What was sent, by each side, on its way: to arrive at a slot, the bytes.
    flight: [Vec<(u32, Vec<u8>)>; 2],
    slot: u32,
    heard: [Vec<u8>; 2],
    closed: [Option<Statistics>; 2],
    random: fastrand::Rng,
    /// Percent of packets that get lost.
    loss: u8,
    /// Slots by which packets overtake each other.
    disorder: u32,
}

fn srtp(suite: Suite, ours: u8, theirs: u8) -> Option<Srtp> {
    Some(Srtp { suite, ours: key(suite, ours), theirs: key(suite, theirs), mki: 0 })
}

impl Call {
    fn new(sequence: u16) -> Self {
        let now = clock::now();
        let settings = Settings { chunk: Duration::from_millis(20), ..Settings::default() };
        let session = |ssrc| Session::new(settings, now.at, Numbering::new(ssrc, sequence, 0));
        Self {
            sessions: [session(1), session(2)],
            now,
            flight: [vec![], vec![]],
            slot: 0,
            heard: [vec![], vec![]],
            closed: [None, None],
            random: fastrand::Rng::with_seed(7),
            loss: 0,
            disorder: 0,
        }
    }

    fn agree(&mut self, side: usize, codec: Codec, srtp: Option<Srtp>) {
        let remote: SocketAddr = ADDRESSES[1 - side].parse().unwrap();
        let media = Negotiated { srtp, ..Negotiated::usual(remote, codec) };
        self.feed(side, Input::Agree(media));
    }

    fn both(&mut self, suite: Suite, keys: [u8; 2]) {
        self.agree(0, Codec::Pcmu, srtp(suite, keys[0], keys[1]));
        self.agree(1, Codec::Pcmu, srtp(suite, keys[1], keys[0]));
    }

    fn feed(&mut self, side: usize, input: Input<'_>) {
        let mut out = Vec::new();
        let _ = self.sessions[side].step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send { datagram, .. } if self.random.u8(..100) >= self.loss => {
                    let arrival = self.slot + 1 + self.random.u32(..=self.disorder);
                    self.flight[side].push((arrival, datagram.bytes().to_vec()));
                }
                Output::Heard(bytes) => self.heard[side].extend_from_slice(&bytes),
                Output::Closed(statistics) => self.closed[side] = Some(statistics),
                _ => {}
            }
        }
    }

    /// What arrives now, then a slot of each side.
    fn run(&mut self, slots: u32) {
        for _ in 0..slots {
            self.slot += 1;
            self.now = self.now.after(Duration::from_millis(20));
            for side in [0, 1] {
                let (due, later) = std::mem::take(&mut self.flight[side])
                    .into_iter()
                    .partition(|(arrival, _): &(u32, _)| *arrival <= self.slot);
                self.flight[side] = later;
                for (_, bytes) in due {
                    let from = ADDRESSES[side].parse().unwrap();
                    self.feed(1 - side, Input::Datagram { from, bytes: &bytes });
                }
            }
            (0..2).for_each(|side| self.feed(side, Input::Tick));
        }
    }

    fn play(&mut self, side: usize, play: u64, sound: Vec<u8>) {
        let play = voice_gateway::base::PlayId(play);
        self.feed(side, Input::Play(play));
        self.feed(side, Input::Chunk { play, bytes: sound.into() });
        self.feed(side, Input::PlayEnd(play));
    }

    fn statistics(&self, side: usize) -> Statistics {
        self.sessions[side].statistics()
    }

    /// How much of the last `slots` slots that `side` heard is this byte.
    fn share(&self, side: usize, slots: usize, byte: u8) -> f64 {
        let heard = &self.heard[side][self.heard[side].len() - slots * 160..];
        heard.iter().filter(|heard| **heard == byte).count() as f64 / heard.len() as f64
    }
}

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
