//! `call` as a trunk's engineer uses it: against the daemon, and against a phone that never answers.

use super::gateway::run;
use super::message::Message;
use super::stage::Stage;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Exit status, and the JSON that was printed.
pub(crate) async fn call(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["call", "--json"], arguments].concat()).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    (output.status.code(), told)
}

fn first_lines<'a>(told: &'a Value, direction: &str) -> Vec<&'a str> {
    let messages = told["ladder"].as_array().unwrap().iter().filter(|one| one["direction"] == direction);
    messages.map(|one| one["first_line"].as_str().unwrap()).collect()
}

fn header<'a>(message: &'a Value, name: &str) -> &'a str {
    let headers = message["headers"].as_array().unwrap();
    let found = headers.iter().find(|one| one[0].as_str().unwrap().eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name} in {message}"))[1].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transport_codec_and_from_are_as_ordered_and_headers_and_ladder_are_shown() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let uri = format!("sip:100@{}", gateway.tcp);
    let options =
        ["--contact-id", "4711", "--transport", "tcp", "--codec", "pcma", "--from", "sip:+15551234567@example.com"];
    let (code, told) = call(&[&[&uri, "--seconds", "1", "--headers", "--ladder"], &options[..]].concat()).await;
    assert_eq!((code, &told["ok"], &told["codec"]), (Some(0), &true.into(), &"PCMA".into()), "{told}");
    assert!(told["setup_ms"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!(header(&told, "X-Session-Key"), "…", "no command prints a secret");
    assert!(header(&told, "Contact").contains("sip:"), "{told}");
    let invite = &told["ladder"][0];
    assert_eq!((&invite["transport"], &invite["direction"]), (&"tcp".into(), &"out".into()), "{invite}");
    assert!(header(invite, "From").contains("sip:+15551234567@example.com"), "{invite}");
    let offered: Vec<&str> = invite["sdp"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(offered.iter().any(|line| line.starts_with("m=audio") && line.contains(" 8")), "{offered:?}");
    assert!(!offered.iter().any(|line| line.contains("PCMU")), "{offered:?}");
    let sent = first_lines(&told, "out");
    assert!(
        sent.iter().any(|line| line.starts_with("ACK ")) && sent.iter().any(|line| line.starts_with("BYE ")),
        "{sent:?}"
    );
    gateway.idle().await;
    let text = run(&["call", &uri, "--transport", "tcp", "--contact-id", "4711", "--seconds", "1", "--ladder"]).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("|<-- INVITE sip:100@") && text.contains("|-- 200 OK -"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_offer_the_ack_answers_the_gateways() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let uri = format!("sip:100@{}", gateway.udp);
    let (code, told) = call(&[&uri, "--contact-id", "4712", "--late-offer", "--seconds", "3", "--ladder"]).await;
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{told}");
    assert!(told["ladder"][0]["sdp"].as_array().unwrap().is_empty(), "{told}");
    let messages = told["ladder"].as_array().unwrap();
    let ack = messages.iter().find(|one| one["first_line"].as_str().unwrap().starts_with("ACK ")).unwrap();
    assert!(!ack["sdp"].as_array().unwrap().is_empty(), "{ack}");
    assert!(told["rtp"]["packets_in"].as_u64() > Some(20), "the answer was taken: {told}");
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_held_and_resumed() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let uri = format!("sip:100@{}", gateway.udp);
    let (code, told) = call(&[&uri, "--contact-id", "4713", "--hold", "1", "--seconds", "4", "--ladder"]).await;
    assert_eq!((code, &told["changes"]), (Some(0), &serde_json::json!(["hold", "resume"])), "{told}");
    let messages = told["ladder"].as_array().unwrap();
    let directions = |way: &str, start: &str| -> Vec<&str> {
        let bodies = messages
            .iter()
            .filter(|one| one["direction"] == way && one["first_line"].as_str().unwrap().starts_with(start));
        let lines = bodies.flat_map(|one| one["sdp"].as_array().unwrap()).map(|line| line.as_str().unwrap());
        lines.filter(|line| ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(line)).collect()
    };
    assert_eq!(directions("out", "INVITE "), ["a=sendrecv", "a=sendonly", "a=sendrecv"]);
    assert_eq!(directions("in", "SIP/2.0 200"), ["a=sendrecv", "a=recvonly", "a=sendrecv"]);
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_taken_back_before_the_answer_and_ended_after_it() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let ringing = rings_only().await;
    let (code, told) = call(&[&format!("sip:100@{ringing}"), "--cancel-after", "300ms", "--ladder"]).await;
    assert_eq!((code, &told["ok"], &told["cancelled"]), (Some(0), &true.into(), &true.into()), "{told}");
    assert_eq!(told["refused"]["code"], 487, "{told}");
    assert!(first_lines(&told, "out").iter().any(|line| line.starts_with("CANCEL ")), "{told}");
    let answered = format!("sip:100@{}", gateway.udp);
    let (code, told) = call(&[&answered, "--contact-id", "4714", "--cancel-after", "2s"]).await;
    assert_eq!((code, &told["cancelled"], &told["ended_by"]), (Some(0), &false.into(), &"phone".into()), "{told}");
    gateway.idle().await;
    let refused = run(&["call", "sip:100@127.0.0.1", "--codec", "G729"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PCMU, PCMA, G722 are"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_with_the_password_of_the_file() {
    let digest = "[sip.digest]\nrealm = \"gate\"\nusername = \"cxone\"\npassword = \"open sesame\"\n";
    let (_stage, gateway) = Stage::with_gateway(&[], digest).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("right"), "open sesame\n").unwrap();
    std::fs::write(path("wrong"), "open barley\n").unwrap();
    let uri = format!("sip:100@{}", gateway.udp);
    let order = [uri.as_str(), "--contact-id", "4716", "--seconds", "1", "--ladder"];
    let (code, told) = call(&[&order[..], &["--user", "cxone", "--password-file", &path("right")]].concat()).await;
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{told}");
    assert!(first_lines(&told, "in")[0].starts_with("SIP/2.0 401 "), "{told}");
    let mut messages = told["ladder"].as_array().unwrap().iter();
    let again = messages.rfind(|one| one["first_line"].as_str().unwrap().starts_with("INVITE ")).unwrap();
    assert_eq!(header(again, "Authorization"), "…", "no command prints a secret");
    let (code, told) = call(&[&order[..], &["--user", "cxone", "--password-file", &path("wrong")]].concat()).await;
    assert!(
        code == Some(1) && told["refused"]["code"].as_u64().is_some_and(|code| code == 401 || code == 403),
        "{told}"
    );
    let (code, told) = call(&order).await;
    assert_eq!((code, &told["refused"]["code"]), (Some(1), &401.into()), "{told}");
    let (code, told) = call(&[&order[..], &["--user", "cxone", "--password-file", &path("none")]].concat()).await;
    assert!(code == Some(1) && told["error"].as_str().unwrap().contains("none"), "{told}");
    gateway.idle().await;
}

/// A phone that rings until CANCEL.
async fn rings_only() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut buffer, mut invite) = ([0; 4096], None);
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let request = Message::parse(&String::from_utf8_lossy(&buffer[..length]));
            let answers = match request.method() {
                Some("INVITE") => vec![answer(invite.insert(request), "180 Ringing")],
                Some("CANCEL") => {
                    vec![answer(&request, "200 OK"), answer(invite.as_ref().unwrap(), "487 Request Terminated")]
                }
                _ => Vec::new(),
            };
            for text in answers {
                socket.send_to(text.as_bytes(), from).await.unwrap();
            }
        }
    });
    address
}

fn answer(request: &Message, status: &str) -> String {
    let copied =
        ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", request.header(name).unwrap()));
    let to = request.header("To").unwrap();
    format!("SIP/2.0 {status}\r\n{}To: {to};tag=rings\r\nContent-Length: 0\r\n\r\n", copied.concat())
}
