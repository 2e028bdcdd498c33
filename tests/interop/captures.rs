//! What is on the wire, by tcpdump and tshark: another's reading of our packets.

use super::authority::Authority;
use super::engines::{Ears, Reciter};
use super::peers::{output, program, text};
use super::softphone::{Make, Softphone};
use super::sound::{assert_heard, likeness, recording};
use super::stage::{DIALOG, Stage, eventually};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use voice_gateway::audio::Law;

/// A capture of loopback under way: the gateway's SIP and RTP ports.
pub(super) struct Capture {
    child: Child,
    dir: TempDir,
    sip: u16,
    rtp: (u16, u16),
}

impl Capture {
    /// Of SIP on this port and RTP on these; `None`, and said, where it may not be.
    pub(super) async fn of(sip: u16, rtp: (u16, u16)) -> Option<Self> {
        let mut id = program("id");
        id.arg("-u");
        if output(id).await.stdout.trim_ascii() != b"0" {
            eprintln!("SKIPPED: only root may capture packets; run the tests as root to have this one");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut command = program("tcpdump");
        command.args(["-i", "lo", "-U", "-s", "0", "-Z", "root", "-w"]).arg(dir.path().join("wire.pcap"));
        command.arg(format!("port {sip} or udp portrange {}-{}", rtp.0, rtp.1));
        let mut child = command.spawn().expect("tcpdump cannot be run: tests/run installs it");
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let first =
            tokio::time::timeout(Duration::from_secs(30), told.next_line()).await.expect("tcpdump begins").unwrap();
        assert!(first.as_deref().is_some_and(|line| line.contains("listening")), "{first:?}");
        tokio::spawn(async move { while let Ok(Some(_)) = told.next_line().await {} });
        Some(Self { child, dir, sip, rtp })
    }

    /// No more packets.
    pub(super) async fn end(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        let mut kill = program("kill");
        kill.args(["-INT", &pid]);
        output(kill).await;
        self.child.wait().await.unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("wire.pcap")
    }

    async fn tshark(&self, arguments: &[&str]) -> String {
        let mut command = program("tshark");
        command.arg("-r").arg(self.path()).args(["-d", &format!("udp.port=={},sip", self.sip)]).args(arguments);
        // RTP has the even ports, RTCP the odd ones. A description that cannot be read does not say so.
        for port in (self.rtp.0..self.rtp.1).step_by(2) {
            command.args(["-d", &format!("udp.port=={port},rtp"), "-d", &format!("udp.port=={},rtcp", port + 1)]);
        }
        let output = output(command).await;
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The fields, tab-separated, of each packet that the gateway sent and that is as wanted.
    pub(super) async fn sent(&self, wanted: &str, fields: &[&str]) -> Vec<String> {
        let ours = format!("udp.srcport=={} || (udp.srcport>={} && udp.srcport<={})", self.sip, self.rtp.0, self.rtp.1);
        let filter = format!("({ours}) && ({wanted})");
        let mut arguments = vec!["-Y", &filter, "-T", "fields"];
        arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
        self.tshark(&arguments).await.lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tshark_finds_nothing_wrong_with_a_call_on_hold_and_back() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let Some(mut capture) = Capture::of(gateway.udp.port(), stage.rtp).await else { return };
    let mut phone = Softphone::new(Make::Pjsip, "cards-005.wav", &["--header", "X-ContactID: 100000000025"]).await;
    phone.call(&format!("sip:+18882346789@{}", gateway.udp)).await;
    stage.told("").await;
    gateway.counted("rtp_packets_total", &["direction=\"out\""], 150.0).await;
    phone.hold(true).await;
    phone.hold(false).await;
    phone.order("press 4").await;
    stage.told("4").await;
    gateway.counted("rtp_packets_total", &["direction=\"out\""], 300.0).await;
    phone.hang_up().await;
    gateway.idle().await;
    // The BYE's answer is on file when its reader has it.
    eventually("the capture has the end", async || {
        (capture.sent("sip.CSeq.method==BYE", &["sip.Status-Code"]).await == ["200"]).then_some(())
    })
    .await;
    capture.end().await;

    assert_eq!(capture.sent("_ws.malformed", &["frame.number", "_ws.col.Info"]).await, [""; 0]);
    let grave = "_ws.expert.severity >= \"Warning\" && !icmp";
    assert_eq!(capture.sent(grave, &["_ws.col.Info", "_ws.expert.message"]).await, [""; 0]);

    let streams = capture.tshark(&["-q", "-z", "rtp,streams"]).await;
    let ours: Vec<Vec<&str>> = streams.lines().map(|line| line.split_whitespace().collect()).collect();
    let from = |row: &&Vec<&str>| {
        row.get(3)
            .and_then(|port| port.parse().ok())
            .is_some_and(|port: u16| (stage.rtp.0..=stage.rtp.1).contains(&port))
    };
    let ours: Vec<_> = ours.iter().filter(from).collect();
    assert_eq!(ours.len(), 1, "one SSRC for the whole call:\n{streams}");
    assert_eq!(ours[0][7..10], ["g711U", ours[0][8], "0"], "mu-law, and none lost:\n{streams}");

    let packets = capture.sent("rtp", &["rtp.seq", "rtp.timestamp", "rtp.marker", "rtp.p_type", "rtp.payload"]).await;
    let numbers = |line: &String| {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!((fields[3], fields[4].replace(':', "").len()), ("0", 320), "20 ms of payload type 0: {line}");
        (fields[0].parse::<u16>().unwrap(), fields[1].parse::<u32>().unwrap(), fields[2] == "1" || fields[2] == "True")
    };
    let packets: Vec<_> = packets.iter().map(numbers).collect();
    assert!(packets.len() >= 290, "{} packets", packets.len());
    assert!(packets[0].2, "the first packet bears the marker");
    for pair in packets.windows(2) {
        let ((sequence, timestamp, _), (next, then, marked)) = (pair[0], pair[1]);
        assert_eq!(next, sequence.wrapping_add(1));
        let passed = then.wrapping_sub(timestamp);
        assert_eq!(passed % 160, 0, "whole frames");
        assert!(passed == 160 || marked, "after a pause of {passed} samples comes a marker");
    }
    let statistics = capture.tshark(&["-q", "-z", "sip,stat"]).await;
    assert!(statistics.contains("INVITE          :     3 Packets"), "{statistics}");
}

/// The phone hears the prompt. Whoever listens on the wire reads no SIP, and finds neither the prompt nor the silence in the packets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_srtp_show_nothing_of_a_call() {
    let (ears, prompt, authority) = (Ears::default(), recording("librivox-0880.wav"), Authority::new());
    let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(Arc::clone(&prompt))), DIALOG).await;
    let listen = authority.issue("gateway").listener("127.0.0.1:0");
    let gateway = stage.gateway(&format!("{listen}media.srtp = \"required\"")).await;
    let Some(mut capture) = Capture::of(gateway.tls.port(), stage.rtp).await else { return };
    let (ca, suite) = (authority.ca(), "AES_CM_128_HMAC_SHA1_80");
    let options = ["--transport", "tls", "--ca", &ca, "--srtp", "required", "--suite", suite];
    let contact = ["--header", "X-ContactID: 100000000027"];
    let mut phone = Softphone::new(Make::Pjsip, "cards-005.wav", &[&options[..], &contact].concat()).await;
    phone.call(&format!("sip:+18882346789@{};transport=tls", gateway.tls)).await;
    phone.order("say").await;
    ears.listened(Duration::from_secs(5)).await;
    phone.hang_up().await;
    assert_heard(&prompt, &phone.heard().await, "the phone");
    gateway.idle().await;
    capture.end().await;

    let greeted = capture.tshark(&["-Y", "tls.handshake.type == 2", "-T", "fields", "-e", "frame.number"]).await;
    assert_eq!(greeted.lines().count(), 1, "one handshake");
    for word in ["SIP/2.0", "+18882346789", "100000000027", "m=audio", "inline:"] {
        let filter = format!("frame contains \"{word}\"");
        let seen = capture.tshark(&["-Y", &filter, "-T", "fields", "-e", "frame.number"]).await;
        assert_eq!(seen, "", "{word} is on the wire");
    }
    let payloads = capture.sent("rtp && udp", &["rtp.payload"]).await;
    assert!(payloads.len() > 150, "{} packets", payloads.len());
    let mut overheard = Vec::new();
    for payload in &payloads {
        let bytes: Vec<u8> = hex(&payload.replace(':', ""));
        assert_eq!(bytes.len(), 160 + 10, "20 ms of mu-law and its tag: {payload}");
        let commonest = (0..=u8::MAX).map(|byte| bytes.iter().filter(|one| **one == byte).count()).max();
        assert!(commonest < Some(20), "no silence is silent: {payload}");
        overheard.extend(bytes[..160].iter().map(|byte| Law::Mu.decode(*byte)));
    }
    let likeness = likeness(&prompt, &overheard);
    assert!(likeness.iter().all(|&likeness| likeness < 0.3), "the prompt is in the packets: {likeness:.2?}");
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
