//! Calls of a wide band, from the phone that `call` uses: which codec is agreed, what Speech to Text is asked, and a codec that changes in mid-call.

use super::call::call;
use super::gateway::{DEADLINE, Gateway};
use super::stage::{Stage, eventually};
use voice_gateway::app::phone::{Phone, PhoneCall, PhoneEvent, Placing};
use voice_gateway::audio::wav::Clip;
use voice_gateway::media::sdp::Codec;
use voice_gateway::sandbox::events::SandboxEvent;

async fn placed(gateway: &Gateway, codecs: Vec<Codec>) -> (Phone, PhoneCall, Codec) {
    let uri = format!("sip:100@{}", gateway.udp);
    let phone = Phone::towards(&uri).await.unwrap();
    let headers = vec![("X-ContactID".to_owned(), "4711".to_owned())];
    let mut call = phone.call(Placing { uri, codecs, headers, ..Placing::default() }).await.unwrap();
    let codec = until(&mut call, |event| match event {
        PhoneEvent::Answered { codec, .. } => Some(codec),
        PhoneEvent::Refused { code, .. } => panic!("{code}"),
        _ => None,
    });
    let codec = codec.await;
    (phone, call, codec)
}

async fn until<T>(call: &mut PhoneCall, mut wanted: impl FnMut(PhoneEvent) -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = wanted(call.event().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the call goes on")
}

/// Half a second of a tone, which the sandbox takes for words.
fn words() -> Clip {
    Clip::telephone((0..4000).map(|n| if n / 8 % 2 == 0 { 8000 } else { -8000 }).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_codec_changes_in_mid_call_and_each_word_is_understood_and_recorded() {
    let stage = Stage::new(&["one", "two", "three", "four"]).await;
    let recordings = stage.dir.path().join("recordings");
    let gateway = stage.gateway(&format!("media.recording_dir = {recordings:?}\n")).await;
    let (phone, mut call, codec) = placed(&gateway, vec![Codec::Pcmu]).await;
    assert_eq!(codec, Codec::Pcmu);
    for (n, (codec, heard)) in
        [(Codec::Pcmu, "one"), (Codec::G722, "two"), (Codec::Pcma, "three"), (Codec::G722, "four")]
            .into_iter()
            .enumerate()
    {
        if n > 0 {
            call.change_codecs(vec![codec]).await;
            let code = until(&mut call, |event| match event {
                PhoneEvent::Changed { code } => Some(code),
                _ => None,
            });
            assert_eq!(code.await, 200, "{codec:?}");
        }
        let play = call.play(&words());
        until(&mut call, |event| (event == PhoneEvent::Played(play)).then_some(())).await;
        // The phone listens on, or its queue would fill.
        let told = stage.told(heard);
        tokio::pin!(told);
        loop {
            tokio::select! {
                () = &mut told => break,
                _ = call.event() => {}
            }
        }
    }
    call.hang_up().await;
    until(&mut call, |event| (event == PhoneEvent::Ended).then_some(())).await;
    let statistics = call.close().await.unwrap();
    assert_eq!((statistics.lost, statistics.dropped.payload_type), (0, 0), "{statistics:?}");
    phone.put_away().await;
    gateway.idle().await;
    let path = eventually("the recording is there", async || {
        std::fs::read_dir(&recordings).ok()?.next().map(|entry| entry.unwrap().path())
    });
    let path = path.await;
    // It has the rate of the codec that was agreed first, and all four tones.
    let tones = eventually("the recording is whole", async || {
        let mut reader = hound::WavReader::open(&path).ok()?;
        assert_eq!(reader.spec().sample_rate, 8000);
        let left: Vec<i16> = reader.samples::<i16>().step_by(2).map(Result::unwrap).collect();
        let loud = left.chunks(800).map(|tenth| tenth.iter().any(|sample| sample.unsigned_abs() > 4000));
        let mut before = false;
        let began = loud.filter(|loud| !std::mem::replace(&mut before, *loud) && *loud).count();
        (began >= 4).then_some(began)
    });
    assert_eq!(tones.await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn band_preference_decides_where_the_peer_has_both_and_the_wide_band_has_its_own_recognition() {
    for (preference, wanted, model) in [
        ("", Codec::Pcmu, "en-US_Telephony"),
        ("speech_to_text.band_preference = \"narrowband\"", Codec::Pcmu, "en-US_Telephony"),
        ("speech_to_text.band_preference = \"broadband\"", Codec::G722, "en-US_Multimedia"),
    ] {
        let stage = Stage::new(&["one"]).await;
        let mut events = stage.sandbox.events.subscribe();
        let own = "speech_to_text.broadband_recognize = { model = \"en-US_Multimedia\" }";
        let gateway = stage.gateway(&format!("{own}\n{preference}\n")).await;
        let (phone, mut call, codec) = placed(&gateway, vec![Codec::Pcmu, Codec::G722]).await;
        assert_eq!(codec, wanted, "{preference}");
        let play = call.play(&words());
        until(&mut call, |event| (event == PhoneEvent::Played(play)).then_some(())).await;
        stage.told("one").await;
        let asked = std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event {
            SandboxEvent::Listening { model } => Some(model),
            _ => None,
        });
        assert_eq!(asked.as_deref(), Some(model), "{preference}");
        let media = gateway.figures().await["media"].clone();
        assert_eq!(
            (&media["codec"], media["in"]["packets"].as_u64() > Some(20)),
            (&wanted.name().into(), true),
            "{media}"
        );
        call.close().await.unwrap();
        phone.put_away().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_speaks_g722() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let uri = format!("sip:100@{}", gateway.udp);
    let (code, told) = call(&[&uri, "--contact-id", "4711", "--codec", "g722", "--seconds", "1"]).await;
    assert_eq!((code, &told["codec"]), (Some(0), &"G722".into()), "{told}");
}
