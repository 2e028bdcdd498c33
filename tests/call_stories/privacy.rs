//! What callers say, their numbers and the session key stay out of the log and out of `Debug`, at every level.

use crate::stage::{Stage, key, settings, text};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use voice_gateway::call::input::SignalOutcome;
use voice_gateway::call::{CallSettings, Input, Invite, LegEvent};

/// A log that remembers.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A call with a secret in every place: its log and its outputs as `Debug` shows them.
fn logged(settings: CallSettings) -> (String, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let shown = tracing::subscriber::with_default(subscriber.finish(), || {
        let mut stage = Stage::listening(settings);
        stage.interim("my pin is");
        stage.say("my pin is sesame");
        stage.reply_with(
            vec![text("Your sesame balance."), json!({"response_type": "dtmf"})],
            Some(json!({"skills": {"pin": "sesame"}})),
        );
        stage.start(stage.last_play());
        stage.press('7');
        stage.reply(vec![json!({"response_type": "connect_to_agent", "message_to_human_agent": "sesame",
            "transfer_info": {"target": {"nice_cxone": {"custom_data": {"p2": "sesame", "p1": "sesame", "p3": "sesame".repeat(500)}}}},
            "agent_available": {"message": "sesame"}})]);
        stage.play_all();
        stage.feed(Input::HistoryCommitted);
        stage.signalled(SignalOutcome::Accepted);
        stage.bye();
        format!("{:?}", stage.out)
    });
    let bytes = log.0.lock().clone();
    (String::from_utf8(bytes).unwrap(), shown)
}

#[test]
fn neither_words_nor_numbers_nor_keys_are_logged() {
    let (log, shown) = logged(settings());
    for event in ["call_started", "call_answered", "turn", "barge_in", "call_ended"] {
        assert!(log.contains(&format!("\"event\":\"{event}\"")), "{event}\n{log}");
    }
    assert!(log.contains("\"end_reason\":\"assistant_transfer\"") && log.contains("milliseconds_elapsed"));
    assert!(log.contains("not available yet: dtmf"));
    for secret in ["sesame", "8595553456", "8885556789", key().as_str()] {
        assert!(!log.contains(secret), "{secret} in {log}");
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let invite = Invite { caller_number: "8595553456".into(), ..crate::stage::invite() };
    assert!(!format!("{invite:?}").contains("8595553456"));
}

#[test]
fn words_are_logged_where_the_setting_lets_them() {
    let mut open = settings();
    open.talk.log_transcripts = true;
    let (log, _) = logged(open);
    assert!(log.contains("my pin is sesame") && log.contains("Your sesame balance."));
    assert!(!log.contains(key().as_str()));
}

#[test]
fn a_withheld_header_never_reaches_the_assistant_however_it_is_written() {
    for name in ["X-Gateway-Secret", "x-gateway-secret", "X-GATEWAY-SECRET"] {
        let mut invite = crate::stage::invite();
        invite.headers.push((name.to_owned(), "sesame".to_owned()));
        let greet = |withheld_headers: Vec<String>| {
            let mut stage = Stage::arrived(CallSettings { withheld_headers, ..settings() }, invite.clone());
            stage.feed(Input::Tick);
            stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
            stage.last_turn().context.to_string()
        };
        let shown = greet(Vec::new());
        assert!(shown.contains("sesame"), "without a rule it is extracted: {shown}");
        let kept = greet(vec!["X-Gateway-SECRET".to_owned()]);
        assert!(!kept.contains("sesame") && !kept.to_ascii_lowercase().contains("gateway-secret"), "{kept}");
        assert!(kept.contains("sip_custom_invite_headers") && kept.contains("X-ContactID"), "{kept}");
    }
}
