//! RTCP with PJSIP: it reads our reports, we read its own, and tshark finds nothing wrong with ours.

use super::captures::Capture;
use super::gateway::Gateway;
use super::softphone::{Make, Softphone};
use super::stage::{Stage, eventually};
use serde_json::Value;

/// A call until both sides have measured a round trip by the other's reports: what the phone tells of us, and what our record
/// tells of it.
async fn call(gateway: &Gateway, options: &[&str]) -> (Value, Value) {
    let contact = ["--header", "X-ContactID: 100000000029"];
    let mut phone = Softphone::new(Make::Pjsip, "cards-005.wav", &[&contact, options].concat()).await;
    phone.call(&format!("sip:+18882346789@{}", gateway.udp)).await;
    phone.order("say").await;
    let mut sent = gateway.metric("rtp_packets_total", &["direction=\"out\""]).await;
    let told = loop {
        // A second later, by our own pace.
        sent += 50.0;
        gateway.counted("rtp_packets_total", &["direction=\"out\""], sent).await;
        phone.order("figures").await;
        let told = phone.until("figures", |_| true).await;
        let measured = gateway.figures().await["media"]["round_trip_ms"].is_number();
        if measured && told["round_trips"].as_u64() > Some(1) && told["reports"].as_u64() > Some(1) {
            break told;
        }
    };
    phone.hang_up().await;
    gateway.idle().await;
    let ended = eventually("the call has its figures", async || {
        let call = gateway.calls().await["calls"][0].clone();
        call["figures"].is_object().then_some(call)
    });
    (told, ended.await["figures"].clone())
}

fn assert_measured((told, figures): &(Value, Value)) {
    let media = &figures["media"];
    // Loopback: a peer that reads our times as another scale would be far off.
    assert!(told["round_trip_us"].as_u64().unwrap() < 500_000, "{told}");
    assert_eq!(told["lost"], 0, "{told}");
    assert!(media["round_trip_ms"].as_f64().is_some_and(|ms| ms < 500.0), "{figures}");
    assert!(media["in"]["reports"].as_u64() >= Some(2) && media["out"]["reports"].as_u64() >= Some(2), "{figures}");
    assert_eq!((&media["in"]["lost"], &media["out"]["lost"]), (&0.into(), &0.into()), "{figures}");
    for direction in ["in", "out"] {
        assert!(media[direction]["mos"].as_f64().is_some_and(|mos| mos > 4.0), "{figures}");
    }
    assert!(figures["latency"]["turns"].as_u64() >= Some(1), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_and_the_gateway_measure_each_other() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let capture = Capture::of(gateway.udp.port(), stage.rtp).await;
    assert_measured(&call(&gateway, &[]).await);
    assert!(gateway.metric("mos_count", &["direction=\"out\""]).await >= 1.0);
    assert!(gateway.metric("rtp_round_trip_seconds_count", &[]).await >= 1.0);
    let Some(mut capture) = capture else { return };
    eventually("the capture has the end", async || {
        let kinds = capture.sent("rtcp", &["rtcp.pt"]).await;
        kinds.last().is_some_and(|kinds| kinds.ends_with("203")).then_some(())
    })
    .await;
    capture.end().await;
    assert_eq!(capture.sent("_ws.malformed", &["frame.number", "_ws.col.Info"]).await, [""; 0]);
    let grave = "rtcp && _ws.expert.severity >= \"Warning\"";
    assert_eq!(capture.sent(grave, &["_ws.col.Info", "_ws.expert.message"]).await, [""; 0]);
    let reports = capture.sent("rtcp", &["rtcp.pt", "rtcp.sdes.text", "rtcp.ssrc.cum_nr", "rtcp.length_check"]).await;
    assert!(reports.len() >= 3, "{reports:?}");
    for report in &reports {
        let fields: Vec<&str> = report.split('\t').collect();
        assert!(fields[0].starts_with("200,202") || fields[0].starts_with("201,202"), "{report}");
        assert_eq!(fields[1].len(), 16, "a name of 96 bits: {report}");
        assert!(["0", ""].contains(&fields[2]), "nothing lost on loopback: {report}");
        assert!(!fields[3].contains('0') && !fields[3].contains("False"), "lengths fit: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_reports_by_one_port_and_by_srtcp() {
    let (_stage, gateway) =
        Stage::with_gateway(&[], "media.srtp = \"optional\"\nmedia.srtp_without_tls = true\n").await;
    assert_measured(&call(&gateway, &["--rtcp-mux"]).await);
    assert_measured(&call(&gateway, &["--srtp", "required"]).await);
}
