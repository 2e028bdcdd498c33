//! The sandbox's assistant over HTTP, in both path forms, and the words of the demo dialog.

#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sandbox_support;

use sandbox_support::{Bench, Session, generic, options, types};
use serde_json::{Value, json};
use std::time::Duration;
use voice_gateway::sandbox::assistant::Dialog;

fn text(answer: &Value) -> String {
    let texts = generic(answer).iter().filter(|response| response["response_type"] == "text");
    texts.map(|response| response["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn both_path_forms_of_the_assistant_open_answer_and_end_sessions() {
    let bench = Bench::new().await;
    let sandbox = &bench.sandbox;
    let base = format!("{}/v2/assistants", sandbox.urls.assistant);
    for base in [
        format!("{base}/{}/sessions", sandbox.environment_id),
        format!("{base}/{}/environments/{}/sessions", sandbox.assistant_id, sandbox.environment_id),
    ] {
        let session = Session::open_at(&bench, base).await;
        let context = json!({"integrations": {"voice_telephony": {"sip_call_id": "abc"}}});
        let (status, body) =
            session.send(&json!({"input": {"text": ""}, "context": context, "user_id": "+18595553456"})).await;
        assert_eq!(status, 200);
        assert_eq!(text(&body), "Hello, and welcome to Acme Energy. How can I help you today?");
        assert_eq!(body["user_id"], "+18595553456");
        assert!(body.get("context").is_none(), "only with return_context");
        let body = session.say("What is my balance?").await;
        assert_eq!(
            body["context"]["integrations"]["voice_telephony"]["sip_call_id"], "abc",
            "kept from the first turn"
        );
        assert_eq!(body["context"]["integrations"]["voice_telephony"]["post_response_timeout_count"], 10_000);
        assert_eq!(body["context"]["global"]["session_id"], session.id);
        assert_eq!(body["context"]["global"]["system"]["turn_count"], 2);
        assert_eq!(session.delete().await, (200, json!({})));
        assert_eq!(session.delete().await, (404, json!({"error": "Invalid Session", "code": 404})));
        assert_eq!(session.send(&json!({})).await.0, 404);
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_assistant_refuses_as_documented() {
    let bench = Bench::new().await;
    let session = Session::open(&bench).await;
    let post = |url: String| bench.http.post(url).bearer_auth(&session.token).send();
    let missing = post(session.base.clone()).await.unwrap();
    assert_eq!(missing.status(), 400);
    let body: Value = missing.json().await.unwrap();
    assert!(body["error"].as_str().unwrap().contains("version"), "{body}");
    assert_eq!(post(format!("{}?version=today", session.base)).await.unwrap().status(), 400);
    let other = session.base.replace(bench.sandbox.environment_id, "other");
    assert_eq!(post(format!("{other}?version=2024-08-25")).await.unwrap().status(), 404);
    let stranger = bench.http.post(format!("{}?version=2024-08-25", session.base)).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    for (body, named) in [
        (json!({"input": {"text": "a\nb"}}), "newline"),
        (json!({"input": {"text": 5}}), "input.text"),
        (json!({"context": []}), "context"),
        (json!({"input": {"message_type": "voice"}}), "message_type"),
        (json!({"context": {"skills": {"x": "y".repeat(100 * 1024)}}}), "100 KB"),
    ] {
        let (status, answer) = session.send(&body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(400)));
        assert!(answer["error"].as_str().unwrap().contains(named), "{answer}");
    }
    assert_eq!(generic(&session.say("").await).len(), 1, "the session is none the worse for it");
    bench.stop().await;
}

#[tokio::test]
async fn an_unused_session_expires_and_a_new_one_goes_on_from_the_context() {
    let bench = Bench::new().await;
    let session = Session::open(&bench).await;
    let context = session.say("balance").await["context"].clone();
    session.delete().await;
    let again = Session::open(&bench).await;
    let (_, body) = again.send(&json!({"input": {"text": "two nine three four zero"}, "context": context})).await;
    assert!(text(&body).contains("The balance of account two nine three four zero is"), "{body}");
    bench.stop().await;

    let mut options = options();
    options.limits.session_inactivity = Duration::ZERO;
    let bench = Bench::with(options).await;
    let session = Session::open(&bench).await;
    assert_eq!(session.send(&json!({})).await, (404, json!({"error": "Invalid Session", "code": 404})));
    bench.stop().await;
}

#[tokio::test]
async fn the_demo_dialog_transfers_with_data_hangs_up_and_fails() {
    let bench = Bench::new().await;

    let session = Session::open(&bench).await;
    session.say("").await;
    let asked = session.say("What is the balance of my account?").await;
    assert_eq!(types(&asked), ["text"]);
    assert!(text(&asked).contains("What is your account number?"));
    let told = session.say("2, 9-3-4 0.").await;
    assert!(text(&told).contains("account two nine three four zero is forty two dollars"), "{told}");
    let transfer = session.say("Yes, please.").await;
    assert_eq!(types(&transfer), ["connect_to_agent"]);
    assert_eq!(
        generic(&transfer)[0]["transfer_info"]["target"]["nice_cxone"]["custom_data"],
        json!({"p2": "balance", "p3": "29340",
            "p4": "The caller asked about the balance of account 29340 and wants to speak to an agent."})
    );
    assert_eq!(
        generic(&transfer)[0]["agent_available"]["message"],
        "One moment, please. I am connecting you to an agent."
    );

    let session = Session::open(&bench).await;
    assert_eq!(types(&session.say("Thank you, good bye.").await), ["text", "end_session"]);

    let session = Session::open(&bench).await;
    let (status, body) = session.send(&json!({"input": {"text": "I want to report a power outage"}})).await;
    assert_eq!((status, body), (500, json!({"error": "The outage service did not answer.", "code": 500})));
    bench.stop().await;
}

#[tokio::test]
async fn the_demo_dialog_in_other_words() {
    let bench = Bench::new().await;
    let first = |text: &'static str| async {
        let session = Session::open(&bench).await;
        session.say(text).await
    };
    for (said, answered) in [
        (
            "My account number is four seven one one and I would like to know why the last invoice is higher",
            "four seven one one",
        ),
        ("Go forward ten meters.", "meter"),
        ("He was not an ill-disposed young man.", "did not understand"),
    ] {
        let body = first(said).await;
        assert!(text(&body).contains(answered), "{said}: {body}");
    }
    let agent = first("I would like to speak to an agent please").await;
    assert_eq!(generic(&agent)[0]["transfer_info"]["target"]["nice_cxone"]["custom_data"]["p2"], "general");
    assert_eq!(
        types(&first("What are your opening hours?").await),
        ["image", "text", "text", "pause", "acme_survey", "text"]
    );
    assert_eq!(types(&first("help").await), ["option"]);

    let session = Session::open(&bench).await;
    session.say("invoice").await;
    for key in ["4", "7", "1", "1"] {
        assert!(generic(&session.say(key).await).is_empty());
    }
    assert!(text(&session.say("#").await).contains("I found account four seven one one."));

    let session = Session::open(&bench).await;
    assert_eq!(types(&session.say("vgwPostResponseTimeout").await), ["text"]);
    assert_eq!(types(&session.say("vgwPostResponseTimeout").await), ["text", "end_session"]);
    let session = Session::open(&bench).await;
    session.say("gibberish").await;
    assert_eq!(types(&session.say("more gibberish").await), ["connect_to_agent"]);
    bench.stop().await;
}

#[test]
fn every_fixed_sentence_can_be_made_ahead() {
    let sentences = Dialog::acme_energy().unwrap().fixed_sentences();
    assert!(sentences.len() > 10);
    assert!(
        sentences.iter().all(|sentence| !sentence.contains("{{") && sentence.ends_with(['.', '?'])),
        "{sentences:#?}"
    );
}
