//! Bodies of a peer, and what became of them.

use voice_gateway::media::sdp::{Codec, LocalMedia, Negotiated, SdpProblem, answer};

pub(crate) const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

pub(crate) fn local() -> LocalMedia {
    LocalMedia { address: "192.0.2.10".parse().unwrap(), port: 20_000, session_id: 4711, session_version: 1 }
}

/// A body with CRLF line ends around the given media part.
pub(crate) fn body(session: &str, media: &str) -> String {
    let text = format!("v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\n{session}t=0 0\n{media}");
    text.replace('\n', "\r\n")
}

pub(crate) fn plain(media: &str) -> String {
    body("c=IN IP4 198.51.100.7\n", media)
}

pub(crate) fn answered(offer: &str) -> (String, Negotiated) {
    let (sdp, agreed) =
        answer(offer.as_bytes(), &local(), &CODECS).unwrap_or_else(|problem| panic!("{problem}: {offer}"));
    let sdp = String::from_utf8(sdp.to_vec()).unwrap();
    sdp_types::Session::parse(sdp.as_bytes()).expect("our answer is SDP");
    (sdp, agreed)
}

pub(crate) fn refused(offer: &str) -> SdpProblem {
    answer(offer.as_bytes(), &local(), &CODECS).expect_err(offer)
}
