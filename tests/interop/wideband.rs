//! Calls of a wide band by PJSIP and baresip: G.722 both ways, to the recogniser at 16 kHz, in the recording, and over changes of the codec.

use super::engines::{Ears, Reciter};
use super::softphone::{Make, Softphone};
use super::sound::{assert_heard, recording};
use super::stage::{DIALOG, Stage, eventually};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PROMPT: &str = "librivox-0880.wav";
const CALLER: &str = "cards-005.wav";

/// The channels of a recording of 16 kHz, at half of that.
fn wide(path: &Path) -> Vec<Vec<i16>> {
    let mut file = hound::WavReader::open(path).unwrap();
    assert_eq!((file.spec().sample_rate, file.spec().channels), (16_000, 2), "{}", path.display());
    let samples: Vec<i16> = file.samples::<i16>().map(Result::unwrap).collect();
    (0..2).map(|channel| samples.iter().skip(channel).step_by(4).copied().collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_speaks_g722_and_changes_to_g711_and_back() {
    let ears = Ears::default();
    let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(recording(PROMPT))), DIALOG).await;
    let recordings = stage.dir.path().join("recordings");
    let gateway = stage.gateway(&format!("media.recording_dir = {recordings:?}\n")).await;
    let options = ["--transport", "udp", "--codecs", "G722", "--header", "X-ContactID: 100000000022"];
    let mut phone = Softphone::new(Make::Pjsip, CALLER, &options).await;
    phone.call(&format!("sip:+18882346789@{}", gateway.udp)).await;
    let words = recording(CALLER);

    let mut before = 0;
    for codec in ["G722", "PCMA", "G722"] {
        if before > 0 {
            phone.order(&format!("codec {codec}")).await;
            phone.until("media", |told| told["codec"] == codec).await;
        }
        phone.order("say").await;
        ears.listened(Duration::from_secs(5)).await;
        let heard = ears.heard();
        assert_heard(&words, &heard[before..], &format!("the recogniser, by {codec}"));
        before = heard.len();
    }
    phone.hang_up().await;
    let heard = phone.heard().await;
    gateway.idle().await;

    assert_heard(&recording(PROMPT), &heard, "PJSIP");
    let file = eventually("the recording is there", async || {
        std::fs::read_dir(&recordings).ok()?.next().map(|entry| entry.unwrap().path())
    });
    let recorded = wide(&file.await);
    assert_heard(&words, &recorded[0], "the recording's left channel");
    assert_heard(&recording(PROMPT), &recorded[1], "the recording's right channel");
}

/// A call by baresip in one codec, named as it names it: what it says is understood, and what is said to it heard.
async fn baresip_speaks(codecs: &str, sip: &str) {
    let ears = Ears::default();
    let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(recording(PROMPT))), DIALOG).await;
    let gateway = stage.gateway(sip).await;
    let options = ["--codecs", codecs, "--header", "X-ContactID: 100000000023"];
    let mut phone = Softphone::new(Make::Baresip, CALLER, &options).await;
    phone.call(&format!("sip:+18882346789@{}", gateway.udp)).await;
    phone.order("say").await;
    ears.listened(Duration::from_secs(6)).await;
    let figures = gateway.figures().await;
    phone.hang_up().await;
    let heard = phone.heard().await;
    gateway.idle().await;
    assert_heard(&recording(CALLER), &ears.heard(), "the recogniser");
    assert_heard(&recording(PROMPT), &heard, "baresip");
    let name = codecs.split('/').next().unwrap();
    assert!(figures["media"]["codec"].as_str().unwrap().eq_ignore_ascii_case(name), "{figures}");
    assert_eq!(figures["media"]["in"]["dropped"], serde_json::json!({}), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_speaks_g722() {
    baresip_speaks("g722/16000/1", "").await;
}

#[cfg(feature = "opus")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_speaks_opus() {
    baresip_speaks("opus/48000/2", "media.codecs = [\"OPUS\", \"PCMU\"]\n").await;
}
