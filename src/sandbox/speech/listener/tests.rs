use super::*;
use proptest::prelude::*;

fn listener() -> Listener {
    let settings = ListenerSettings {
        format: AudioFormat { encoding: Encoding::L16Little, rate: 16_000 },
        ..ListenerSettings::default()
    };
    Listener::new(settings).unwrap()
}

/// Something that the voice detector takes for speech: a buzz with moving resonances, in syllables.
fn babble(milliseconds: usize) -> Vec<i16> {
    let (mut phase, mut a, mut b) = (0.0f32, [0.0f32; 2], [0.0f32; 2]);
    (0..milliseconds * 16)
        .map(|i| {
            let t = i as f32 / 16_000.0;
            phase = (phase + (120.0 + 25.0 * (t * 3.0).sin()) / 16_000.0) % 1.0;
            let syllable = (t * 4.0 * std::f32::consts::TAU).sin().max(-0.2) + 0.3;
            let mut source = if phase < 0.04 { 1.0 } else { -0.04 };
            for (state, hertz) in
                [(&mut a, 600.0 + 250.0 * (t * 5.0).sin()), (&mut b, 1500.0 + 500.0 * (t * 4.0).cos())]
            {
                let out =
                    source + 2.0 * 0.97 * (hertz * std::f32::consts::TAU / 16_000.0).cos() * state[0] - 0.94 * state[1];
                *state = [out, state[0]];
                source = out * 0.25;
            }
            (source * syllable * 6_000.0).clamp(-30_000.0, 30_000.0) as i16
        })
        .collect()
}

fn silence(milliseconds: usize) -> Vec<i16> {
    vec![0; milliseconds * 16]
}

fn feed(listener: &mut Listener, samples: &[i16]) -> Vec<Heard> {
    let mut out = Vec::new();
    for piece in samples.chunks(320) {
        listener.feed(&piece.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>(), &mut out);
    }
    out
}

fn words(words: &str) -> Option<Recognition> {
    Some(Recognition { words: words.to_owned(), confidence: 0.9 })
}

fn takes(heard: &[Heard]) -> Vec<Take> {
    heard.iter().filter_map(|h| if let Heard::Decode(take) = h { Some(take.clone()) } else { None }).collect()
}

fn finals(heard: &[Heard]) -> Vec<String> {
    heard.iter().filter_map(|h| if let Heard::Final { words, .. } = h { Some(words.clone()) } else { None }).collect()
}

#[test]
fn an_utterance_begins_is_decoded_while_it_goes_on_and_ends_once() {
    let mut ears = listener();
    let heard = feed(&mut ears, &[silence(500), babble(1500)].concat());
    assert!(matches!(heard.first(), Some(Heard::Began { at }) if (450..800).contains(&at.as_millis())), "{heard:?}");
    let first = takes(&heard);
    // One is out and not back: no other is ordered.
    assert_eq!(first.len(), 1, "{heard:?}");
    assert!(!first[0].urgent);

    let mut out = Vec::new();
    ears.decoded(first[0].id, words("hello"), &mut out);
    assert_eq!(out, [Heard::Interim { words: "hello".into() }]);
    let rest = takes(&feed(&mut ears, &[babble(600), silence(600)].concat()));
    assert!(!rest.is_empty());
    for take in rest {
        ears.decoded(take.id, words("hello you"), &mut out);
    }
    // The pause has been decoded before it is known to be the end: the final comes without delay.
    let end = [feed(&mut ears, &silence(200)), feed(&mut ears, &silence(1500))].concat();
    for take in takes(&end) {
        ears.decoded(take.id, words("hello you"), &mut out);
    }
    assert_eq!(finals(&[out, end].concat()), ["hello you"]);
    assert!(!ears.is_open() && ears.backlog() == 0);
}

#[test]
fn a_slow_decoder_gives_fewer_interims_and_the_same_final() {
    let mut ears = listener();
    let heard = feed(&mut ears, &[babble(3000), silence(1200)].concat());
    let ordered = takes(&heard);
    assert_eq!(ordered.iter().filter(|t| !t.urgent).count(), 1);
    let urgent = ordered.iter().find(|t| t.urgent).unwrap();
    assert!(urgent.pcm.len() > 3 * 16_000 - 8_000, "{}", urgent.pcm.len());
    assert_eq!(ears.backlog(), 1);
    let mut out = Vec::new();
    // The late partial is of no use any more.
    ears.decoded(ordered[0].id, words("late"), &mut out);
    assert!(out.is_empty());
    ears.decoded(urgent.id, words("all of it"), &mut out);
    assert_eq!(finals(&out), ["all of it"]);
}

#[test]
fn a_skipped_decode_that_turns_out_to_be_the_final_one_is_ordered_again() {
    let mut ears = listener();
    // No decoder is free for anything that can wait.
    let mut told = Vec::new();
    let mut todo = Vec::new();
    for piece in [babble(2000), silence(1500)].concat().chunks(320) {
        todo.extend(feed(&mut ears, piece));
        while let Some(heard) = todo.pop() {
            match heard {
                Heard::Decode(take) if take.urgent => ears.decoded(take.id, words("heard"), &mut todo),
                Heard::Decode(take) => ears.decoded(take.id, None, &mut todo),
                other => told.push(other),
            }
        }
    }
    assert_eq!(finals(&told), ["heard"], "{told:?}");
    assert_eq!(told.len(), 2, "no interim was decoded: {told:?}");

    // The one that is out when the utterance ends comes back undone.
    let heard = feed(&mut ears, &[babble(280), silence(1500)].concat());
    let out: Vec<Take> = takes(&heard);
    assert!(out.len() == 1 && !out[0].urgent, "{heard:?}");
    let mut again = Vec::new();
    ears.decoded(out[0].id, None, &mut again);
    assert_eq!(again, [Heard::Decode(Take { urgent: true, ..out[0].clone() })]);
    ears.decoded(out[0].id, words("short"), &mut again);
    assert_eq!(finals(&again), ["short"]);
}

#[test]
fn finals_keep_their_order_when_decodes_do_not() {
    let mut ears = listener();
    let heard = feed(&mut ears, &[babble(1000), silence(1200), babble(1000), silence(1200)].concat());
    let urgent: Vec<Take> = takes(&heard).into_iter().filter(|t| t.urgent).collect();
    assert_eq!(urgent.len(), 2, "{heard:?}");
    let mut out = Vec::new();
    ears.decoded(urgent[1].id, words("second"), &mut out);
    assert!(out.is_empty());
    ears.decoded(urgent[0].id, words("first"), &mut out);
    assert_eq!(finals(&out), ["first", "second"]);
}

#[test]
fn a_long_utterance_is_decoded_in_parts_and_reported_as_one() {
    let mut ears = listener();
    let speech = [babble(8500), silence(300), babble(14_000), silence(1200)].concat();
    let heard = feed(&mut ears, &speech);
    let urgent: Vec<Take> = takes(&heard).into_iter().filter(|t| t.urgent).collect();
    assert!(urgent.len() >= 3, "{heard:?}");
    assert!(urgent.iter().all(|t| t.pcm.len() <= 13 * 16_000), "{heard:?}");
    let mut out = Vec::new();
    for (n, take) in urgent.iter().enumerate() {
        ears.decoded(take.id, words(&format!("part {n}")), &mut out);
    }
    assert_eq!(finals(&out).len(), 1, "{out:?}");
    assert!(finals(&out)[0].starts_with("part 0 part 1 part 2"));
}

#[test]
fn the_end_of_the_stream_ends_the_utterance_and_nothing_said_is_nothing_reported() {
    let mut ears = listener();
    let mut out = feed(&mut ears, &babble(1000));
    ears.stop(&mut out);
    let take = takes(&out).into_iter().find(|t| t.urgent).unwrap();
    let mut end = Vec::new();
    ears.decoded(take.id, words(""), &mut end);
    assert!(end.is_empty(), "{end:?}");
    assert!(!ears.is_open());
    ears.stop(&mut end);
    assert!(end.is_empty());
}

#[test]
fn an_interim_that_was_shown_is_closed_by_a_final() {
    let mut ears = listener();
    let mut out = feed(&mut ears, &babble(1500));
    let partial = takes(&out).remove(0);
    ears.decoded(partial.id, words("maybe"), &mut out);
    ears.stop(&mut out);
    let take = takes(&out).into_iter().find(|t| t.urgent).unwrap();
    let mut end = Vec::new();
    ears.decoded(take.id, words(""), &mut end);
    assert_eq!(finals(&end), ["maybe"]);
}

#[test]
fn silence_noise_and_tones_are_nobody() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut sound = silence(3_000);
    for level in [50, 300, 1000, 3000] {
        sound.extend((0..16 * 5_000).map(|_| random.i16(-level..=level)));
    }
    for (low, high) in
        [(697.0, 1209.0), (770.0, 1336.0), (941.0, 1477.0), (350.0, 440.0), (480.0, 620.0), (425.0, 425.0)]
    {
        for on in [100, 1000] {
            sound.extend(tones(low, high, on, 6_000.0));
            sound.extend(tones(low, high, on, 600.0));
        }
    }
    // As the wire has it: narrow band, mu-law.
    let narrow: Vec<i16> = sound.iter().step_by(2).copied().collect();
    let mut ears = Listener::new(ListenerSettings::default()).unwrap();
    let mut out = Vec::new();
    ears.feed(&audio_codec::Encoder::encode(&mut audio_codec::pcmu::PcmuEncoder::new(), &narrow), &mut out);
    assert_eq!(out, []);
}

/// Three seconds of two sines, on and off for so many milliseconds.
fn tones(low: f32, high: f32, on: usize, level: f32) -> Vec<i16> {
    (0..16 * 3_000)
        .map(|i| {
            let t = i as f32 / 16_000.0 * std::f32::consts::TAU;
            let level = if i / 16 % (2 * on) < on { level } else { 0.0 };
            (level * ((t * low).sin() + (t * high).sin())) as i16
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), law in 0..4) {
        let encoding = [Encoding::Mulaw, Encoding::Alaw, Encoding::L16Little, Encoding::L16Big][law as usize];
        let mut ears = Listener::new(ListenerSettings { format: AudioFormat { encoding, rate: 8_000 }, ..ListenerSettings::default() }).unwrap();
        let mut out = Vec::new();
        for piece in bytes.chunks(777) {
            ears.feed(piece, &mut out);
        }
        ears.stop(&mut out);
        for take in takes(&out) {
            ears.decoded(take.id, None, &mut out);
            ears.decoded(take.id, words("x"), &mut out);
        }
        prop_assert_eq!(ears.backlog(), 0);
    }
}
