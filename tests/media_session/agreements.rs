//! What another agreement changes in mid-call: address, hold, codec; and the wait for RTP.

use crate::stage::{MU_SILENCE, PEER, SLOT, Stage, agreement, peer, rtp, sound};
use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::audio::Law;
use voice_gateway::media::{Codec, Event, Input, Negotiated, Settings};

#[test]
fn media_that_moves_by_a_new_agreement_is_followed_and_the_old_place_is_a_stranger_from_then_on() {
    let mut stage = Stage::agreed();
    stage.receive(0);
    stage.run(SLOT);
    let moved: SocketAddr = "198.51.100.200:7000".parse().unwrap();
    stage.feed(Input::Agree(Negotiated { remote: moved, ..agreement() }));
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, moved);
    stage.receive(1);
    assert_eq!(stage.session.statistics().dropped.stranger, 1);
    stage.receive_from("198.51.100.200:7000", &rtp(0, 2, 320, 1, &[sound(2); 160]));
    assert_eq!(stage.session.statistics().packets_in, 2);
}

#[test]
fn a_peer_that_holds_us_is_sent_nothing_and_the_prompt_waits_for_it() {
    let mut stage = Stage::agreed();
    stage.play(1, &[&[1; 1600]]);
    stage.run(Duration::from_millis(50));
    let held = Negotiated { remote: "0.0.0.0:4000".parse().unwrap(), send: false, ..agreement() };
    stage.feed(Input::Agree(held));
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.sent.len(), 3);
    stage.feed(Input::Agree(agreement()));
    stage.run(Duration::from_secs(1));
    let resumed = stage.sent[3].packet();
    assert!(resumed.marker);
    assert_eq!(resumed.sequence, stage.sent[2].packet().sequence.wrapping_add(1));
    assert_eq!(resumed.timestamp, stage.sent[2].packet().timestamp.wrapping_add(51 * 160));
    let sent: Vec<u8> = stage.sound_sent().into_iter().filter(|b| *b != MU_SILENCE).collect();
    assert_eq!(sent.len(), 1600);
    assert_eq!(stage.sent[3].to, peer());
}

#[test]
fn no_rtp_at_all_is_told_once_and_hold_is_not_taken_for_it() {
    let settings = Settings { rtp_timeout: Duration::from_secs(5), ..Settings::default() };
    let mut stage = Stage::agreed_with(settings);
    stage.run(Duration::from_secs(3));
    stage.receive(0);
    stage.run(Duration::from_millis(4990));
    assert_eq!(stage.events(), [Event::FirstPacket]);
    stage.run(Duration::from_secs(20));
    assert_eq!(stage.events(), [Event::FirstPacket, Event::Timeout]);

    let mut held = Stage::agreed_with(settings);
    held.feed(Input::Agree(Negotiated { receive: false, ..agreement() }));
    held.run(Duration::from_secs(60));
    held.feed(Input::Agree(agreement()));
    held.run(Duration::from_millis(4900));
    assert_eq!(held.events(), []);
    held.run(Duration::from_millis(200));
    assert_eq!(held.events(), [Event::Timeout]);
}

#[test]
fn a_codec_agreed_anew_is_spoken_on_the_wire_and_speech_to_text_hears_the_first_one_on() {
    let mut stage = Stage::agreed();
    let law = Law::A;
    stage.play(1, &[&vec![Law::Mu.encode(8000); 16_000]]);
    stage.run(Duration::from_millis(100));
    stage.feed(Input::Agree(Negotiated { codec: Codec::Pcma, payload_type: 8, ..agreement() }));
    for n in 0..20_u16 {
        stage.receive_from(PEER, &rtp(8, n, u32::from(n) * 160, 1, &[law.encode(-4000); 160]));
        stage.run(SLOT);
    }
    let last = stage.sent.last().unwrap().packet();
    assert_eq!(last.payload_type, 8);
    assert!((7600..8400).contains(&law.decode(last.payload[0])));
    let heard = Law::Mu.decode(*stage.heard.last().unwrap().last().unwrap());
    assert!((-4200..-3800).contains(&heard), "{heard}");
}
