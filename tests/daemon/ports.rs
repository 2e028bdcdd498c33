//! RTP ports: none left is 503 before any 200, and what is wrong with their range is said at start.

use super::phone::Phone;
use super::stage::Stage;
use std::net::UdpSocket;

const CONTACT: (&str, &str) = ("X-ContactID", "100000000004");

/// A pair among the ports that the kernel gives to anybody.
fn ephemeral_pair() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut bounds = range.split_whitespace().map(|bound| bound.parse::<u16>().unwrap());
    let (low, high) = (bounds.next().unwrap(), bounds.next().unwrap());
    loop {
        let first = fastrand::u16(low..high - 1) & !1;
        if first > low && [first, first + 1].iter().all(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok()) {
            return first;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_which_no_port_is_left_gets_503_and_when_to_come_back_and_the_start_warned_of_it() {
    let first = ephemeral_pair();
    let changes = format!("media.port_range = [{first}, {}]\nsip.max_calls = 100000", first + 1);
    let (_stage, gateway) = Stage::with_gateway(&[], &changes).await;
    let log = gateway.text();
    for warning in [
        "overlaps the kernel's ephemeral ports",
        "has 1 pairs of ports, sip.max_calls is 100000",
        "sip.max_calls needs about 604160: raise it",
    ] {
        assert!(log.contains(warning), "{warning} is not in\n{log}");
    }
    let mut caller = Phone::new(&gateway).await;
    caller.call(&[CONTACT]).await;
    let mut late = Phone::new(&gateway).await;
    late.invite(&[CONTACT]).await;
    let answer = late.final_answer().await;
    assert_eq!(answer.code(), Some(503), "{answer:?}");
    assert!(answer.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(gateway.metric("invites_total", &["code=\"200\""]).await, 1.0);
    caller.hang_up().await;
    gateway.idle().await;
    // The pair rests for a moment.
    let mut patient = super::stage::eventually("a rested pair is given again", async || {
        let mut phone = Phone::new(&gateway).await;
        phone.invite(&[CONTACT]).await;
        let answer = phone.final_answer().await;
        (answer.code() == Some(200)).then(|| {
            phone.established(&answer);
            phone
        })
    })
    .await;
    patient.acknowledge("").await;
    patient.hang_up().await;
    gateway.idle().await;
}
