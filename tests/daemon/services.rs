//! Services that misbehave: the call ends by the error path, the fault is counted, other calls go on, silence is bounded.

use super::gateway::{Gateway, said};
use super::phone::Phone;
use super::stage::{Stage, eventually};
use voice_gateway::sandbox::faults::{Fault, FaultOrder, Garbage, SandboxService};

const CONTACT: &str = "100000000005";
const SHORT: &str = "assistant.timeout = \"1s\"\ncxone.signal_budget = \"2s\"\ncxone.after_transfer = \"2s\"\n\
                     cxone.after_hangup = \"1s\"";

/// A call that talks before the fault is ordered and after it is taken back, beside one that meets it.
struct Beside {
    phone: Phone,
}

impl Beside {
    async fn begin(stage: &Stage, gateway: &Gateway) -> Self {
        let mut phone = Phone::new(gateway).await;
        phone.call_as("100000000009").await;
        phone.hears(10).await;
        stage.told("").await;
        Self { phone }
    }

    /// It is still up, and can still talk.
    async fn end(mut self, stage: &Stage, gateway: &Gateway) {
        stage.sandbox.faults.clear();
        self.phone.press(5);
        stage.told("5").await;
        self.phone.hears(5).await;
        self.phone.hang_up().await;
        gateway.idle().await;
        assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0, "the call beside it");
    }
}

/// A call that meets the fault at its greeting ends by BYE with this reason.
async fn greeted_by(order: FaultOrder, reason: &str, service: &str) {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], SHORT).await;
    let beside = Beside::begin(&stage, &gateway).await;
    stage.sandbox.faults.order(order.clone()).unwrap();
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), format!("SIP;cause=500;text=\"{reason}\""), "{order:?}");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "failed");
    let elapsed = history["milliseconds_elapsed"].as_u64().unwrap();
    assert!(elapsed < 25_000, "a caller in silence for {elapsed} ms");
    // Where speech still works the caller is told.
    let told = said(&history).contains(&("gateway", "Sorry."));
    assert_eq!(told, service != "text_to_speech", "{history:#}");
    assert!(!told || phone.voiced() >= 10, "the failure message was heard");
    gateway.counted("upstream_errors_total", &[&format!("service=\"{service}\"")], 1.0).await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"failed\""]).await, 1.0);
    assert!(stage.signalled().is_empty(), "the error path is a BYE: CXone's Onrelease acts on it");
    beside.end(&stage, &gateway).await;
}

macro_rules! greeted_by {
    ($($name:ident: $service:ident, $fault:expr => $reason:literal, $label:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            greeted_by(FaultOrder::new(SandboxService::$service, $fault), $reason, $label).await;
        }
    )*};
}

greeted_by! {
    an_assistant_that_answers_500: Assistant, Fault::Status { code: 500 } => "assistant failed", "assistant";
    an_assistant_that_answers_with_a_web_page: Assistant, Fault::Garbage { what: Garbage::Html } => "assistant failed", "assistant";
    an_assistant_that_answers_broken_json: Assistant, Fault::Garbage { what: Garbage::BrokenJson } => "assistant failed", "assistant";
    an_assistant_that_never_answers: Assistant, Fault::Hang => "assistant failed", "assistant";
    an_assistant_that_is_not_there: Assistant, Fault::RefuseConnections => "assistant failed", "assistant";
    a_recogniser_that_is_not_there: SpeechToText, Fault::RefuseConnections => "speech to text failed", "speech_to_text";
    a_recogniser_that_refuses: SpeechToText, Fault::Status { code: 403 } => "speech to text failed", "speech_to_text";
    a_recogniser_that_talks_garbage: SpeechToText, Fault::Garbage { what: Garbage::BrokenJson } => "speech to text failed", "speech_to_text";
    a_recogniser_that_says_nothing: SpeechToText, Fault::Hang => "speech to text failed", "speech_to_text";
    a_voice_that_says_nothing: TextToSpeech, Fault::Hang => "text to speech failed", "text_to_speech";
    a_voice_that_answers_with_a_web_page: TextToSpeech, Fault::Garbage { what: Garbage::Html } => "text to speech failed", "text_to_speech";
    a_voice_that_refuses: TextToSpeech, Fault::Status { code: 500 } => "text to speech failed", "text_to_speech";
    a_voice_that_answers_with_an_error: TextToSpeech, Fault::ErrorMessage { text: "no such voice".to_owned() } => "text to speech failed", "text_to_speech";
}

/// From the start, because a socket that was opened ahead carries one more prompt after the port has closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_that_is_not_there() {
    let stage = Stage::new(&[]).await;
    stage.order(SandboxService::TextToSpeech, Fault::RefuseConnections);
    let gateway = stage.gateway(SHORT).await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    assert_eq!(phone.bye().await.reason(), "SIP;cause=500;text=\"text to speech failed\"");
    gateway.counted("upstream_errors_total", &["service=\"text_to_speech\"", "kind=\"connect\""], 1.0).await;
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_that_hangs_is_silence_and_is_waited_for() {
    let (stage, mut gateway) = Stage::with_gateway(&[], SHORT).await;
    stage.order(SandboxService::TextToSpeech, Fault::Hang);
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.bye().await;
    let line = gateway.logged_where("upstream_failed", |line| line["service"] == "text_to_speech").await;
    assert_eq!(line["kind"], "timeout", "{line}");
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_cut_off_mid_word_is_heard_as_far_as_it_came_and_counted() {
    let (stage, gateway) = Stage::with_gateway(&[], SHORT).await;
    stage.order(SandboxService::TextToSpeech, Fault::Disconnect { after_bytes: 3_000 });
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.hears(3).await;
    gateway.counted("upstream_errors_total", &["service=\"text_to_speech\""], 1.0).await;
    stage.sandbox.faults.clear();
    phone.press(1);
    stage.told("1").await;
    phone.hears(10).await;
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_sample_at_the_end_of_the_audio_is_no_matter() {
    let (stage, gateway) = Stage::with_gateway(&[], SHORT).await;
    stage.order(SandboxService::TextToSpeech, Fault::Garbage { what: Garbage::TruncatedAudio });
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    stage.told("").await;
    phone.press(1);
    stage.told("1").await;
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recogniser_cut_off_mid_word_is_opened_again_and_hears_the_next_word() {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], SHORT).await;
    let order = Fault::Disconnect { after_bytes: 300 };
    stage.sandbox.faults.order(FaultOrder::new(SandboxService::SpeechToText, order).times(1)).unwrap();
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    gateway.counted("stt_reconnects_total", &[], 1.0).await;
    let signalled = tokio::select! {
        signal = contact.signalled() => signal,
        // What was said into the cut may be lost: people say it again.
        signal = async { loop { tokio::time::sleep(std::time::Duration::from_secs(4)).await; phone.say(); } } => signal,
    };
    assert_eq!(signalled.parameter(1), Some(key.as_str()));
    phone.hang_up().await;
    gateway.idle().await;
}

/// A transfer whose signal meets this fault ends by BYE with this reason.
async fn signalled_into(order: FaultOrder, reason: &str, end_reason: &str) -> (Stage, Gateway) {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], SHORT).await;
    stage.sandbox.contacts.register(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    stage.told("").await;
    stage.sandbox.faults.order(order).unwrap();
    phone.say();
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), reason);
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], end_reason);
    gateway.idle().await;
    (stage, gateway)
}

fn on_signal(fault: Fault) -> FaultOrder {
    FaultOrder::new(SandboxService::Cxone, fault).on_path("/signal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_is_answered_500_is_tried_again_and_then_given_up() {
    let failed = "SIP;cause=500;text=\"signal failed\"";
    let (stage, mut gateway) = signalled_into(on_signal(Fault::Status { code: 500 }), failed, "failed").await;
    assert!(stage.signalled().is_empty());
    gateway.counted("signals_total", &["purpose=\"transfer\"", "outcome=\"failed\""], 1.0).await;
    gateway.counted("upstream_errors_total", &["service=\"cxone\""], 1.0).await;
    gateway.logged("signal_failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_for_a_contact_that_is_gone_ends_the_call() {
    let gone = "SIP;cause=500;text=\"contact gone\"";
    let order = on_signal(Fault::Status { code: 404 }).times(1);
    let (stage, gateway) = signalled_into(order, gone, "failed").await;
    assert!(stage.signalled().is_empty(), "404 is not tried again: a second try would have been taken");
    assert_eq!(gateway.metric("signals_total", &["purpose=\"transfer\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_hangs_is_not_repeated_and_the_caller_is_released() {
    let unknown = "SIP;cause=500;text=\"signal outcome unknown\"";
    let (stage, gateway) = signalled_into(on_signal(Fault::Hang).times(1), unknown, "failed").await;
    assert!(stage.signalled().is_empty(), "what may have arrived is not sent twice");
    assert_eq!(gateway.metric("signals_total", &["purpose=\"transfer\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_meets_one_503_goes_at_the_second_try() {
    let order = on_signal(Fault::Status { code: 503 }).times(1);
    let sent = "SIP;cause=200;text=\"transfer signalled\"";
    let (stage, gateway) = signalled_into(order, sent, "assistant_transfer").await;
    assert_eq!(stage.signalled(), [CONTACT]);
    gateway.counted("signals_total", &["purpose=\"transfer\"", "outcome=\"accepted\""], 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_before_the_answer_of_the_signal_is_the_transfer() {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], "").await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    stage.sandbox.faults.order(on_signal(Fault::Latency { milliseconds: 1_500 })).unwrap();
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    contact.signalled().await;
    phone.hang_up().await;
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    assert_eq!(stage.signalled(), [CONTACT]);
    gateway.idle().await;
}

async fn without(service: SandboxService, path: &str, code: u16) -> (Stage, Gateway) {
    let stage = Stage::new(&["an agent"]).await;
    let order = FaultOrder::new(service, Fault::Status { code }).on_path(path);
    stage.sandbox.faults.order(order).unwrap();
    let gateway = stage.gateway(SHORT).await;
    (stage, gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_cxone_key_ends_transfers_by_bye_and_is_counted() {
    let (stage, gateway) = without(SandboxService::Cxone, "/authentication", 401).await;
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    assert_eq!(phone.bye().await.reason(), "SIP;cause=500;text=\"signal failed\"");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert!(said(&history).contains(&("gateway", "No agent.")), "{history:#}");
    gateway.counted("upstream_errors_total", &["service=\"cxone\"", "kind=\"auth\""], 1.0).await;
    assert!(stage.signalled().is_empty());
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_watson_key_ends_calls_by_bye_and_is_counted() {
    let (stage, gateway) = without(SandboxService::Iam, "/identity", 400).await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    let bye = phone.bye().await;
    assert!(bye.reason().starts_with("SIP;cause=500;"), "{bye:?}");
    gateway.counted("upstream_errors_total", &["service=\"iam\""], 1.0).await;
    gateway.idle().await;
    // Mended without a restart: the token is tried again in the background.
    stage.sandbox.faults.clear();
    loop {
        let mut phone = Phone::new(&gateway).await;
        let key = phone.call_as(CONTACT).await;
        let talks = eventually("the call talks or ends", async || {
            let failed = |(who, text): &(&str, &str)| *who == "gateway" && *text != "call answered";
            let ended = gateway.history(&key).await.is_some_and(|history| said(&history).iter().any(failed));
            (phone.voiced() >= 10).then_some(true).or(ended.then_some(false))
        });
        if talks.await {
            phone.hang_up().await;
            break;
        }
        phone.bye().await;
    }
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expired_early_is_minted_again_and_the_signal_goes() {
    let order = on_signal(Fault::Status { code: 401 }).times(1);
    let sent = "SIP;cause=200;text=\"transfer signalled\"";
    let (stage, _gateway) = signalled_into(order, sent, "assistant_transfer").await;
    assert_eq!(stage.signalled(), [CONTACT]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_is_always_401_is_given_up() {
    let failed = "SIP;cause=500;text=\"signal failed\"";
    let (stage, gateway) = signalled_into(on_signal(Fault::Status { code: 401 }), failed, "failed").await;
    assert!(stage.signalled().is_empty());
    gateway.counted("upstream_errors_total", &["service=\"cxone\"", "kind=\"auth\""], 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_sends_no_rtp_is_released() {
    let (_stage, gateway) = Stage::with_gateway(&[], "media.rtp_timeout = \"1s\"").await;
    let mut phone = Phone::new(&gateway).await;
    phone.invite(&[("X-ContactID", CONTACT)]).await;
    let answer = phone.final_answer().await;
    phone.established(&answer);
    phone.acknowledge("").await;
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=500;text=\"no RTP received\"");
    gateway.idle().await;
}
