//! The commands and the life of the process: configuration, start, drain, check, config.

use super::gateway::{Gateway, run};
use super::phone::Phone;
use super::stage::Stage;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use voice_gateway::sandbox::faults::{Fault, SandboxService};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_is_64_with_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.toml");
    std::fs::write(
        &path,
        "[sip]\nlistne = 1\nmax_calls = 0\n[media]\nrtp_timeout = \"soon\"\n[log]\nlevel = \"loud\"\n",
    )
    .unwrap();
    for command in ["serve", "check"] {
        let output = run(&[command, "--config", path.to_str().unwrap()]).await;
        assert_eq!(output.status.code(), Some(64), "{command}");
        let text = String::from_utf8(output.stderr).unwrap();
        for key in
            ["sip.listne", "sip.max_calls", "media.rtp_timeout", "log.level", "assistant.url", "cxone.access_key_id"]
        {
            assert!(text.contains(key), "{command}: {key} in {text}");
        }
    }
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "[sip\n").unwrap();
    let output = run(&["serve", "--config", broken.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(64));
    let missing = run(&["serve", "--config", dir.path().join("none.toml").to_str().unwrap()]).await;
    assert_eq!(missing.status.code(), Some(64));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("none.toml"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_1_and_named() {
    let stage = Stage::new(&[]).await;
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = stage.config(&format!("sip.listen = [\"udp:{address}\"]"));
    let output = run(&["serve", "--config", config.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("sip.listen") && text.contains(&address.to_string()), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = stage.config(&format!("agent.listen = \"{address}\""));
    let output = run(&["serve", "--config", config.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("agent.listen") && text.contains(&address.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_opened_is_1_and_named() {
    let stage = Stage::new(&[]).await;
    let config = stage.config("history.store = \"sqlite:/dev/null/nowhere/history.db\"");
    let output = run(&["serve", "--config", config.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("history.store") && text.contains("/dev/null/nowhere"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_calls_go_on_until_the_deadline_and_then_releases_them() {
    let (stage, mut gateway) = Stage::with_gateway(&[], "sip.drain_timeout = \"4s\"").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as("100000000006").await;
    phone.hears(10).await;
    gateway.terminate().await;
    let mut late = Phone::new(&gateway).await;
    let refused = loop {
        late.invite(&[("X-ContactID", "100000000007")]).await;
        let answer = late.final_answer().await;
        match answer.code() {
            Some(503) => break answer,
            // The signal had not arrived yet.
            Some(200) => {
                late.established(&answer);
                late.acknowledge("").await;
                late.hang_up().await;
                late = Phone::new(&gateway).await;
            }
            _ => panic!("{answer:?}"),
        }
    };
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    // The live call is served meanwhile.
    phone.press(3);
    stage.told("3").await;
    phone.hears(5).await;
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=500;text=\"gateway is draining\"");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_without_calls_ends_at_once_and_the_history_is_there_after_a_restart() {
    let (stage, mut gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as("100000000006").await;
    phone.hears(5).await;
    phone.hang_up().await;
    gateway.idle().await;
    gateway.terminate().await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    let again = stage.gateway("").await;
    let history = again.history(&key).await.expect("kept over the restart");
    assert_eq!(history["end_reason"], "caller_hangup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tries_every_service_and_names_the_one_that_is_down() {
    let stage = Stage::new(&[]).await;
    let config = stage.config("");
    let config = config.to_str().unwrap();
    let output = run(&["check", "--json", "--config", config]).await;
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &found["ok"]), (Some(0), &Value::Bool(true)), "{found:#}");
    let names: Vec<_> = found["findings"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    for what in [
        "iam token",
        "speech_to_text",
        "text_to_speech",
        "assistant",
        "cxone token",
        "cxone api",
        "history store",
        "rtp ports",
    ] {
        assert!(names.contains(&what), "{what} in {names:?}");
    }
    assert!(stage.signalled().is_empty() && stage.turns().is_empty(), "nothing is signalled, nothing is said");
    for (service, name) in [
        (SandboxService::SpeechToText, "speech_to_text"),
        (SandboxService::TextToSpeech, "text_to_speech"),
        (SandboxService::Assistant, "assistant"),
        (SandboxService::Cxone, "cxone token"),
        (SandboxService::Iam, "iam token"),
    ] {
        let order = stage.order(service, Fault::Status { code: 503 });
        let output = run(&["check", "--json", "--config", config]).await;
        stage.sandbox.faults.cancel(order);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let wrong = found["findings"].as_array().unwrap().iter().find(|one| one["ok"] == false).unwrap();
        assert_eq!(wrong["what"], name, "{found:#}");
        assert!(wrong["wrong"].as_str().unwrap().contains("503"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_shows_what_is_in_force_and_no_secret() {
    let stage = Stage::new(&[]).await;
    let path = stage.config("admin.token = \"the-admin-token\"\nsip.max_calls = 17");
    let output = run(&["config", "--config", path.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("max_calls = 17"), "{text}");
    let keys = &stage.sandbox.credentials;
    for secret in [keys.api_key.expose_secret(), keys.access_key_secret.expose_secret(), "the-admin-token"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let example = run(&["config", "--example"]).await;
    assert_eq!(example.status.code(), Some(0));
    assert!(String::from_utf8(example.stdout).unwrap().contains("[sip]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_of_single_modules_are_taken() {
    let stage = Stage::new(&[]).await;
    let gateway: Gateway = stage.gateway("log.level = \"info,voice_gateway::call=debug\"").await;
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_end_a_call() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as("100000000006").await;
    phone.hears(5).await;
    let order = gateway.order(&format!("/v1/calls/{}/hangup", phone.call_id)).await;
    assert_eq!(order.status(), 202);
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=500;text=\"ended by the operator\"");
    gateway.idle().await;
    assert_eq!(gateway.order(&format!("/v1/calls/{}/hangup", phone.call_id)).await.status(), 409);
}
