//! A phone of a few lines: SIP messages as text over UDP, RTP in both directions. For what sipp cannot be told precisely.

use super::gateway::{DEADLINE, Gateway};
use super::message::Message;
use super::stage::eventually;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// What came by RTP.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    packets: AtomicU64,
    voiced: AtomicU64,
}

/// One phone, one call.
pub(crate) struct Phone {
    wire: UdpSocket,
    rtp: Arc<UdpSocket>,
    gateway: SocketAddr,
    pub(crate) number: String,
    pub(crate) caller: String,
    pub(crate) call_id: String,
    tag: String,
    branch: String,
    cseq: u32,
    /// To with its tag, the Contact and the proxies between, once the gateway has answered.
    to: Option<String>,
    target: String,
    routes: Vec<String>,
    acknowledges: bool,
    waiting: VecDeque<Message>,
    pub(crate) heard: Arc<Heard>,
    microphone: Option<mpsc::UnboundedSender<Vec<u8>>>,
    media: Vec<tokio::task::JoinHandle<()>>,
}

impl Phone {
    pub(crate) async fn new(gateway: &Gateway) -> Self {
        Self::from("127.0.0.1", gateway.udp).await
    }

    /// At this address of its own; its requests go to that one: a gateway's, or a proxy's.
    pub(crate) async fn from(own: &str, gateway: SocketAddr) -> Self {
        let id = format!("{:016x}", fastrand::u64(..));
        Self {
            wire: UdpSocket::bind((own, 0)).await.unwrap(),
            rtp: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
            gateway,
            number: "+18882346789".to_owned(),
            caller: "+15550100".to_owned(),
            call_id: format!("{id}@phone"),
            tag: id.clone(),
            branch: String::new(),
            cseq: 0,
            to: None,
            target: String::new(),
            routes: Vec::new(),
            acknowledges: true,
            waiting: VecDeque::new(),
            heard: Arc::default(),
            microphone: None,
            media: Vec::new(),
        }
    }

    /// The offer of a phone that does PCMU and telephone-event.
    pub(crate) fn offer(&self) -> String {
        self.description("0 101", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n")
    }

    pub(crate) fn description(&self, formats: &str, attributes: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\n{attributes}a=sendrecv\r\n"
        )
    }

    /// One request as text; nothing is remembered.
    pub(crate) fn request(&self, method: &str, branch: &str, extra: &[(&str, &str)], body: &str) -> String {
        let local = self.wire.local_addr().unwrap();
        let uri = match self.target.as_str() {
            "" => format!("sip:{}@{}", self.number, self.gateway),
            target => target.to_owned(),
        };
        let to = self.to.clone().unwrap_or_else(|| format!("<sip:{}@{}>", self.number, self.gateway));
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: \"Caller\" <sip:{}@{local}>;tag={}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n\
             Contact: <sip:phone@{local}>\r\n",
            self.caller, self.tag, self.call_id, self.cseq
        );
        for route in &self.routes {
            text += &format!("Route: {route}\r\n");
        }
        for (name, value) in extra {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() && !extra.iter().any(|(name, _)| *name == "Content-Type") {
            text += "Content-Type: application/sdp\r\n";
        }
        format!("{text}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    pub(crate) async fn send(&self, text: &str) {
        self.wire.send_to(text.as_bytes(), self.gateway).await.unwrap();
    }

    /// INVITE with our usual offer; the text, to be sent again.
    pub(crate) async fn invite(&mut self, extra: &[(&str, &str)]) -> String {
        let offer = self.offer();
        self.invite_with(extra, &offer).await
    }

    pub(crate) async fn invite_with(&mut self, extra: &[(&str, &str)], body: &str) -> String {
        self.cseq += 1;
        self.branch = new_branch();
        let text = self.request("INVITE", &self.branch, extra, body);
        self.send(&text).await;
        text
    }

    /// The next message, whatever it is. Repeated 2xx are acknowledged again.
    pub(crate) async fn next(&mut self) -> Message {
        if let Some(message) = self.waiting.pop_front() {
            return message;
        }
        let mut datagram = vec![0; 65_536];
        let arriving = tokio::time::timeout(DEADLINE, self.wire.recv_from(&mut datagram));
        let (length, _) = arriving.await.expect("a SIP message arrives").unwrap();
        let message = Message::parse(std::str::from_utf8(&datagram[..length]).unwrap());
        let settled = self.to.is_some() && self.acknowledges;
        if settled && message.code() == Some(200) && message.header("CSeq").unwrap().ends_with("INVITE") {
            self.acknowledge("").await;
        }
        message
    }

    async fn response_to(&mut self, method: &str) -> Message {
        loop {
            let message = self.next().await;
            let ours = message.header("CSeq") == Some(&format!("{} {method}", self.cseq));
            if ours && message.code().is_some_and(|code| code >= 200) {
                return message;
            }
            if message.method().is_some() {
                self.waiting.push_back(message);
                // Only responses are of interest now, and none is waiting.
                return Box::pin(self.response_after(method)).await;
            }
        }
    }

    async fn response_after(&mut self, method: &str) -> Message {
        let requests = std::mem::take(&mut self.waiting);
        let found = Box::pin(self.response_to(method)).await;
        self.waiting.extend(requests);
        found
    }

    /// The final answer to our INVITE; one that is no 2xx is acknowledged.
    pub(crate) async fn final_answer(&mut self) -> Message {
        let answer = self.response_to("INVITE").await;
        if answer.code().unwrap() >= 300 {
            let to = self.to.replace(answer.header("To").unwrap().to_owned());
            let ack = self.request("ACK", &self.branch, &[], "");
            self.to = to;
            self.send(&ack).await;
        }
        answer
    }

    /// Calls, is answered, and talks from then on; the 200.
    pub(crate) async fn call(&mut self, extra: &[(&str, &str)]) -> Message {
        self.invite(extra).await;
        let answer = self.final_answer().await;
        assert_eq!(answer.code(), Some(200), "{answer:?}");
        self.established(&answer);
        self.acknowledge("").await;
        self.talk(&answer.body);
        answer
    }

    /// Calls as contact 100000000001; the session key.
    pub(crate) async fn call_as(&mut self, contact: &str) -> String {
        let answer = self.call(&[("X-ContactID", contact)]).await;
        answer.header("X-Session-Key").expect("X-Session-Key in the 200").to_owned()
    }

    /// Takes To, tag, Contact and Record-Route of the 200 into the dialog.
    pub(crate) fn established(&mut self, answer: &Message) {
        self.routes = answer.all("Record-Route").map(str::to_owned).collect();
        self.routes.reverse();
        self.to = Some(answer.header("To").unwrap().to_owned());
        let contact = answer.header("Contact").unwrap();
        self.target = contact.split('<').nth(1).unwrap().split('>').next().unwrap().to_owned();
    }

    pub(crate) async fn acknowledge(&self, body: &str) {
        let ack = self.request("ACK", &new_branch(), &[], body);
        self.send(&ack).await;
    }

    /// Never an ACK.
    pub(crate) fn keep_silent(&mut self) {
        self.acknowledges = false;
    }

    /// CANCEL of our INVITE.
    pub(crate) async fn cancel(&self) {
        let cancel = self.request("CANCEL", &self.branch, &[], "");
        self.send(&cancel).await;
    }

    /// A request within the dialog; its final answer.
    pub(crate) async fn ask(&mut self, method: &str, extra: &[(&str, &str)], body: &str) -> Message {
        self.cseq += 1;
        let request = self.request(method, &new_branch(), extra, body);
        self.send(&request).await;
        self.response_to(method).await
    }

    pub(crate) async fn hang_up(&mut self) {
        let answer = self.ask("BYE", &[], "").await;
        assert_eq!(answer.code(), Some(200), "{answer:?}");
    }

    /// The gateway's BYE, answered.
    pub(crate) async fn bye(&mut self) -> Message {
        self.requested("BYE", "200 OK").await
    }

    /// The gateway's next request of this method, answered.
    pub(crate) async fn requested(&mut self, method: &str, status: &str) -> Message {
        loop {
            let message = self.next().await;
            if message.method() == Some(method) {
                self.answer(&message, status).await;
                return message;
            }
        }
    }

    async fn answer(&self, request: &Message, status: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                text += &format!("{name}: {value}\r\n");
            }
        }
        self.send(&format!("{text}Content-Length: 0\r\n\r\n")).await;
    }

    /// Sends and receives RTP as the gateway's description says.
    pub(crate) fn talk(&mut self, description: &str) {
        let line = description.lines().find(|line| line.starts_with("m=audio ")).expect("audio in the answer");
        let port: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (microphone, sounds) = mpsc::unbounded_channel();
        self.microphone = Some(microphone);
        self.media.push(tokio::spawn(speak(Arc::clone(&self.rtp), SocketAddr::from(([127, 0, 0, 1], port)), sounds)));
        self.media.push(tokio::spawn(listen(Arc::clone(&self.rtp), Arc::clone(&self.heard))));
    }

    /// One word: what it says is the recogniser's matter.
    pub(crate) fn say(&self) {
        let tone = tone(600);
        for payload in tone.chunks(160) {
            self.play([&[0x00], payload].concat());
        }
    }

    /// One key by telephone-event (RFC 4733), the end packet three times.
    pub(crate) fn press(&self, event: u8) {
        for step in 1..=8u16 {
            let duration = (160 * step.min(5)).to_be_bytes();
            let end = if step > 5 { 0x80 } else { 0 };
            let marker = if step == 1 { 0x80 } else { 0 };
            self.play(vec![marker | 101, event, end | 10, duration[0], duration[1]]);
        }
    }

    fn play(&self, packet: Vec<u8>) {
        self.microphone.as_ref().expect("the call is up").send(packet).unwrap();
    }

    /// Waits until the gateway has spoken so many more voiced packets.
    pub(crate) async fn hears(&self, more: u64) {
        let before = self.heard.voiced.load(Ordering::Relaxed);
        eventually("the caller hears speech", async || {
            (self.heard.voiced.load(Ordering::Relaxed) >= before + more).then_some(())
        })
        .await;
    }

    pub(crate) fn voiced(&self) -> u64 {
        self.heard.voiced.load(Ordering::Relaxed)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.heard.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.media.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Sends a packet each 20 ms: what is to be said or pressed, else silence. The first byte is marker and payload type.
async fn speak(rtp: Arc<UdpSocket>, peer: SocketAddr, mut sounds: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut grid = tokio::time::interval(Duration::from_millis(20));
    let (mut sequence, mut timestamp, mut event_began) = (0u16, 0u32, 0u32);
    loop {
        grid.tick().await;
        let sound = sounds.try_recv().unwrap_or_else(|_| [&[0u8][..], &[0xff; 160]].concat());
        if sound[0] == 0x80 | 101 {
            event_began = timestamp;
        }
        let at = if sound[0] & 0x7f == 101 { event_began } else { timestamp };
        let mut packet = vec![0x80, sound[0]];
        packet.extend(sequence.to_be_bytes());
        packet.extend(at.to_be_bytes());
        packet.extend(0x5a5a_1234u32.to_be_bytes());
        packet.extend(&sound[1..]);
        // Refused while the gateway's port is closing: no matter.
        drop(rtp.send_to(&packet, peer).await);
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(160);
    }
}

async fn listen(rtp: Arc<UdpSocket>, heard: Arc<Heard>) {
    let mut datagram = [0; 2_048];
    loop {
        let Ok((length, _)) = rtp.recv_from(&mut datagram).await else { continue };
        heard.packets.fetch_add(1, Ordering::Relaxed);
        // Mu-law with its exponent in bits 4 to 6, inverted: loud from 4 on.
        if length > 12 && datagram[12..length].iter().any(|byte| !byte >> 4 & 7 >= 4) {
            heard.voiced.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// So many milliseconds of a 400 Hz square wave in mu-law.
pub(crate) fn tone(milliseconds: usize) -> Vec<u8> {
    (0..milliseconds * 8).map(|n| if n / 10 % 2 == 0 { 0x20 } else { 0xa0 }).collect()
}

pub(crate) fn new_branch() -> String {
    format!("z9hG4bK{:016x}", fastrand::u64(..))
}
