//! A plane on loopback, two sessions on it, and what the one plays to the other.

use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZeroUsize;
use voice_gateway::base::PlayId;
use voice_gateway::media::Codec;
use voice_gateway::media::sdp::{LocalMedia, accept_answer, answer, offer};
use voice_gateway::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaSettings};
use voice_gateway::net::ports::ReservedPort;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const SILENCE: u8 = 0xFF;

/// A plane on some ports that are likely free.
pub(crate) fn plane(pairs: u16) -> MediaPlane {
    let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
    let settings = MediaSettings {
        bind_address: HERE,
        port_range: first..=first + 2 * pairs - 1,
        workers: NonZeroUsize::new(1),
        ..MediaSettings::default()
    };
    MediaPlane::start(settings).unwrap()
}

fn local(port: &ReservedPort) -> LocalMedia {
    LocalMedia { address: HERE, port: port.port(), session_id: 1, session_version: 1 }
}

/// Two sessions that agreed by offer and answer: the test phone and the gateway.
pub(crate) fn pair(plane: &MediaPlane, codec: Codec, options: MediaOptions) -> (MediaHandle, MediaHandle) {
    let (phone, gateway) = (plane.reserve().unwrap(), plane.reserve().unwrap());
    let (at_phone, at_gateway) = (local(&phone), local(&gateway));
    let (answered, to_phone) = answer(&offer(&at_phone, &[codec]), &at_gateway, &[Codec::Pcmu, Codec::Pcma]).unwrap();
    let to_gateway = accept_answer(&answered, &at_phone, &[codec]).unwrap();
    let phone = plane.open(phone, MediaOptions::default(), None).unwrap();
    phone.control.agree(to_gateway);
    let gateway = plane.open(gateway, options, Some(to_phone)).unwrap();
    (phone, gateway)
}

/// 1.5 s of loud bytes of which none is silence, in odd pieces.
pub(crate) fn speech() -> Vec<u8> {
    (0..12_000_u32)
        .map(|n| (n % 101) as u8 | ((n / 101 % 2) as u8 * 0x80))
        .map(|b| if b == SILENCE { 0 } else { b })
        .collect()
}

/// Plays `sound` on one side and gathers what the other hears, without the silence around it, until all of it has come.
pub(crate) async fn play_and_hear(from: &mut MediaHandle, to: &mut MediaHandle, sound: &[u8], silence: u8) -> Vec<u8> {
    let playing = from.control.play(PlayId(1), false);
    let feed = async move {
        for chunk in sound.chunks(333) {
            playing.send(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
    };
    let mut heard = Vec::new();
    let hear = async {
        while heard.len() < sound.len() {
            heard.extend(to.audio.recv().await.unwrap().iter().filter(|b| **b != silence));
        }
    };
    tokio::join!(feed, hear);
    heard
}
