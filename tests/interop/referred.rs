//! A transfer by REFER to a phone that does as it is told: it calls the desk, and reports.

use super::softphone::{Make, Softphone};
use super::stage::{DIALOG, Stage};
use std::sync::Arc;
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_calls_the_desk_it_is_referred_to() {
    // Another gateway is the desk: it answers.
    let (_services, desk) = Stage::with_gateway(&[], "sip.missing_contact_id = \"accept\"").await;
    let dialog = DIALOG.replace("pbx.example.com", &desk.udp.to_string());
    let ears = LoadTestRecognition::new(["the desk".to_owned()]);
    let stage = Stage::with_engines(Arc::new(ears), Arc::new(LoadTestSynthesis), &dialog).await;
    let gateway = stage.gateway("").await;
    let mut phone = Softphone::new(Make::Pjsip, "cards-005.wav", &["--header", "X-ContactID: 100000000026"]).await;
    phone.call(&format!("sip:+18882346789@{}", gateway.udp)).await;
    stage.told("").await;
    phone.order("say").await;
    let referred = phone.until("referred", |_| true).await;
    assert!(referred["to"].as_str().unwrap().contains(&format!("sip:desk@{}", desk.udp)), "{referred}");
    phone.until("established", |_| true).await;
    // The gateway hangs up once the phone has reported its success.
    phone.until("ended", |_| true).await;
    gateway.idle().await;
    assert_eq!(gateway.metric("refers_total", &["outcome=\"transferred\""]).await, 1.0);
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"assistant_transfer\""]).await, 1.0);
    assert_eq!(desk.calls().await["active"], 1, "caller and desk talk");
    phone.hang_up().await;
    desk.idle().await;
    assert_eq!(desk.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
}
