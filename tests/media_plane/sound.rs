//! What one side plays is what the other hears, and what the recording has.

use crate::plane::{SILENCE, pair, plane, play_and_hear, speech};
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use voice_gateway::audio::Law;
use voice_gateway::base::PlayId;
use voice_gateway::call::MediaEvent;
use voice_gateway::media::Codec;
use voice_gateway::net::media::MediaOptions;

#[tokio::test]
async fn what_one_side_plays_is_what_the_other_hears_byte_for_byte() {
    let plane = plane(40);
    for (codec, law) in [(Codec::Pcmu, Law::Mu), (Codec::Pcma, Law::A)] {
        let silence = law.silence();
        let sound: Vec<u8> = speech().into_iter().map(|b| if b == silence { 0 } else { b }).collect();
        let (mut phone, mut gateway) = pair(&plane, codec, MediaOptions::default());
        let heard = play_and_hear(&mut phone, &mut gateway, &sound, silence).await;
        assert!(heard == sound, "{codec:?}: not what was said");
        let heard = play_and_hear(&mut gateway, &mut phone, &sound, silence).await;
        assert!(heard == sound, "{codec:?}: not what was answered");

        assert!(matches!(gateway.events.recv().await, Some(MediaEvent::FirstPacket)));
        assert!(matches!(
            gateway.events.recv().await,
            Some(MediaEvent::PlayStarted { play: PlayId(1), last_voiced: Some(_), .. })
        ));
        assert!(matches!(gateway.events.recv().await, Some(MediaEvent::PlayVoiced { play: PlayId(1), .. })));
        let finished = gateway.events.recv().await;
        assert!(
            matches!(finished, Some(MediaEvent::PlayFinished { play: PlayId(1), sent_ms: 1500, complete: true })),
            "{finished:?}"
        );
        let statistics = gateway.control.close().await.unwrap();
        assert_eq!((statistics.lost, statistics.dropped.duplicate), (0, 0));
        assert!(statistics.packets_in >= 75 && statistics.packets_out >= 75, "{statistics:?}");
        assert!(gateway.events.recv().await.is_none());
    }
    plane.stop();
}

#[tokio::test]
async fn a_prompt_that_is_not_needed_yet_makes_its_producer_wait_and_a_stop_is_seen_by_it() {
    let plane = plane(40);
    let (_phone, gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    let playing = gateway.control.play(PlayId(9), false);
    let chunk = Bytes::from(vec![1; 16_000]);
    // Two seconds a chunk: the channel fills up long before they are played.
    let mut accepted = 0;
    while accepted < 40 && !matches!(playing.try_send(chunk.clone()), Err(TrySendError::Full(_))) {
        accepted += 1;
    }
    assert!((32..=34).contains(&accepted), "{accepted}");
    gateway.control.stop();
    playing.closed().await;
    plane.stop();
}

#[tokio::test]
async fn a_recorded_call_is_a_stereo_file_with_the_caller_left_and_the_assistant_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("2026/call.wav");
    let plane = plane(40);
    let options = MediaOptions { recording: Some(path.clone()), ..MediaOptions::default() };
    let (mut phone, mut gateway) = pair(&plane, Codec::Pcmu, options);
    let (caller, assistant) = (vec![0x10; 4000], vec![0x90; 4000]);
    play_and_hear(&mut phone, &mut gateway, &caller, SILENCE).await;
    play_and_hear(&mut gateway, &mut phone, &assistant, SILENCE).await;
    plane.stop();
    let reader = hound::WavReader::open(&path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8000));
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    let law = Law::Mu;
    let count = |side: usize, byte| samples.chunks(2).filter(|pair| pair[side] == law.decode(byte)).count();
    assert_eq!((count(0, 0x10), count(1, 0x90)), (4000, 4000));
    assert_eq!((count(1, 0x10), count(0, 0x90)), (0, 0));
    // The question comes before the answer.
    let first = |side: usize| samples.chunks(2).position(|pair| pair[side].abs() > 100).unwrap();
    assert!(first(0) < first(1));
}
