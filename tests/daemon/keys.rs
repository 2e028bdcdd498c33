//! Keys: by telephone-event as sipp's recordings and our own phone send them, and by INFO.

use super::phone::Phone;
use super::sipp::{Sipp, shipped};
use super::stage::{Stage, eventually};

const CONTACT: &str = "100000000003";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_telephone_events_are_the_keys_pressed_once_each() {
    for name in ["dtmf_2833_4.pcap", "dtmf_2833_2.pcap", "dtmf_2833_pound.pcap"] {
        shipped(name);
    }
    // sipp sends recordings through a raw socket, which only root may open.
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() != b"0" {
        eprintln!("SKIPPED: sipp plays recordings as root only; run the tests as root to have this one");
        return;
    }
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let trace = Sipp::new("keys_rfc4733.xml", CONTACT).run(&gateway).await;
    assert_eq!(trace.codes("BYE"), [200]);
    gateway.idle().await;
    assert_eq!(stage.turns(), ["", "4", "2", "#"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_by_info_are_the_keys_pressed_once_each() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let trace = Sipp::new("keys_info.xml", CONTACT).run(&gateway).await;
    assert_eq!(trace.codes("INFO"), [200, 200, 200]);
    gateway.idle().await;
    assert_eq!(stage.turns(), ["", "7", "8", "*"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_the_callers_own_stream_come_once_each_and_in_order() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.hears(5).await;
    for (event, key) in [(1u8, "1"), (1, "1"), (10, "*"), (0, "0")] {
        let before = stage.turns().len();
        phone.press(event);
        eventually("the key is told", async || (stage.turns().len() > before).then_some(())).await;
        assert_eq!(stage.turns()[before..], [key]);
    }
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(stage.turns(), ["", "1", "1", "*", "0"]);
}
