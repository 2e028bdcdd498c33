//! SIP over real sockets on loopback: our UAC calls our UAS, and raw sockets misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../sip_support/mod.rs"]
mod sip_support;

mod calls;
mod connections;

use sip_support::sdp;
use sip_support::station::Station;
use voice_gateway::net::sip::SocketOptions;
use voice_gateway::sip::{Dial, Transport};

/// On UDP and TCP.
async fn station() -> Station {
    Station::start(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], SocketOptions::default()).await
}

fn uri(station: &Station, transport: Transport) -> String {
    format!("sip:+18882346789@{};transport={transport}", station.at(transport))
}

fn dial(uri: String) -> Dial {
    Dial {
        uri,
        from: String::new(),
        headers: vec![("X-ContactID".into(), "12345".into())],
        sdp: sdp(),
        ..Dial::default()
    }
}
