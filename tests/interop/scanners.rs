//! sipsak and sipvicious, as whoever scans the internet runs them: nothing useful is told to them, and calls go on.

use super::gateway::Gateway;
use super::peers::{output, program, python_program, text};
use super::phone::Phone;
use super::stage::Stage;

const CONTACT: &str = "100000000023";
/// Where the trunk is. Strangers come from 127.0.0.1.
const TRUNK: &str = "127.0.0.3";

/// A call that is up while it all happens, and goes on after it.
async fn untouched(changes: &str, scan: impl AsyncFnOnce(&Gateway)) -> Gateway {
    let (stage, gateway) = Stage::with_gateway(&[], changes).await;
    let mut phone = Phone::from(TRUNK, gateway.udp).await;
    phone.call_as(CONTACT).await;
    phone.hears(5).await;
    scan(&gateway).await;
    phone.press(8);
    stage.told("8").await;
    phone.hears(5).await;
    assert_eq!(gateway.calls().await["active"], 1, "the scan made no calls");
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
    gateway
}

/// What it reports, at the latest after six seconds: without a challenge svcrack asks for ever. It is told to end once, as a second
/// time would cut its report short.
async fn sipvicious(tool: &str, gateway: &Gateway, arguments: &[&str]) -> String {
    let tool = python_program(&format!("sipvicious_{tool}"));
    let mut command = program("timeout");
    let dir = tempfile::tempdir().unwrap();
    command
        .env("HOME", dir.path())
        .current_dir(dir.path())
        .args(["--foreground", "-s", "INT", "-k", "5", "6"])
        .arg(tool);
    command.args(["-p", &gateway.udp.port().to_string()]).args(arguments).arg("127.0.0.1");
    let output = output(command).await;
    text(&output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipsak_gets_an_answer_and_its_trash_does_no_harm() {
    let gateway = untouched("", async |gateway| {
        let uri = format!("sip:100@{}", gateway.udp);
        let mut options = program("sipsak");
        options.args(["-v", "-v", "-s", &uri]);
        let answered = output(options).await;
        assert!(answered.status.success(), "{}", text(&answered));
        assert!(text(&answered).contains("SIP/2.0 200 OK"), "{}", text(&answered));
        for _ in 0..5 {
            let mut trash = program("sipsak");
            trash.args(["-R", "-t", "40", "-s", &uri]);
            let ended = output(trash).await;
            assert!(text(&ended).len() < 100_000, "a bounded scan");
        }
    });
    let options = Phone::new(&gateway.await).await.ask("OPTIONS", &[], "").await;
    assert_eq!(options.code(), Some(200), "{options:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipvicious_finds_no_device_where_strangers_are_dropped() {
    untouched("sip.allow_from = [\"127.0.0.3/32\"]\nsip.drop_unknown = true", async |gateway| {
        let map = sipvicious("svmap", gateway, &["-t", "2"]).await;
        assert!(!map.contains(&gateway.udp.port().to_string()), "{map}");
        // The scan itself works: the trunk's own address finds it.
        let map = sipvicious("svmap", gateway, &["-t", "2", "-b", TRUNK]).await;
        assert!(map.contains(&gateway.udp.port().to_string()), "{map}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipvicious_learns_no_extension_no_password_and_no_version() {
    untouched("sip.allow_from = [\"127.0.0.3/32\"]", async |gateway| {
        let map = sipvicious("svmap", gateway, &["-t", "2"]).await;
        assert!(!map.contains(env!("CARGO_PKG_VERSION")), "{map}");
        for method in ["REGISTER", "OPTIONS", "INVITE"] {
            let found = sipvicious("svwar", gateway, &["-e", "100-140", "-m", method]).await;
            assert!(found.contains("found nothing"), "{method}: {found}");
        }
        let cracked = sipvicious("svcrack", gateway, &["-u", "100", "-r", "1-40"]).await;
        assert!(!cracked.contains("Password"), "{cracked}");
    })
    .await;
}
