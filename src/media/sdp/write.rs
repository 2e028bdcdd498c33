//! Our own bodies (RFC 8866 section 5): the fewest lines that every peer understands.

use super::crypto::{self, Crypto};
use super::parse::Stream;
use super::{Codec, Direction, LocalMedia};
use bytes::Bytes;
use std::fmt::Write as _;

/// What our audio m-line says.
pub(super) struct Audio<'a> {
    pub(super) proto: &'a str,
    pub(super) codecs: &'a [(Codec, u8)],
    /// By their clocks.
    pub(super) telephone_events: &'a [(u32, u8)],
    pub(super) comfort_noise: Option<u8>,
    pub(super) direction: Direction,
    /// RTCP goes by the ports of RTP.
    pub(super) multiplexed: bool,
    pub(super) crypto: &'a [Crypto],
}

/// A body with `audio` in the place `chosen` among `streams`; all other streams are refused with port 0.
pub(super) fn body(local: &LocalMedia, streams: &[Stream], chosen: usize, audio: &Audio<'_>) -> Bytes {
    let family = if local.address.is_ipv4() { "IP4" } else { "IP6" };
    let mut text = format!(
        "v=0\r\no=- {} {} IN {family} {}\r\ns=-\r\nc=IN {family} {}\r\nt=0 0\r\n",
        local.session_id, local.session_version, local.address, local.address
    );
    for (index, stream) in streams.iter().enumerate() {
        if index == chosen {
            write_audio(&mut text, local.port, audio);
        } else {
            let _ = write!(text, "m={} 0 {} {}\r\n", stream.media, stream.proto, stream.formats);
        }
    }
    if streams.is_empty() {
        write_audio(&mut text, local.port, audio);
    }
    Bytes::from(text)
}

fn write_audio(text: &mut String, port: u16, audio: &Audio<'_>) {
    // Writing into a String cannot fail.
    let _ = write!(text, "m=audio {port} {}", audio.proto);
    let numbers = audio.codecs.iter().map(|(_, number)| *number);
    let events = audio.telephone_events.iter().map(|(_, number)| *number);
    for number in numbers.chain(audio.comfort_noise).chain(events) {
        let _ = write!(text, " {number}");
    }
    text.push_str("\r\n");
    crypto::write(text, audio.crypto);
    for (codec, number) in audio.codecs {
        let _ = write!(text, "a=rtpmap:{number} {}\r\n", codec.encoding());
    }
    if let Some(number) = audio.comfort_noise {
        let _ = write!(text, "a=rtpmap:{number} CN/8000\r\n");
    }
    for (clock, number) in audio.telephone_events {
        let _ = write!(text, "a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-16\r\n");
    }
    if audio.multiplexed {
        text.push_str("a=rtcp-mux\r\n");
    }
    let _ = write!(text, "a=ptime:20\r\na={}\r\n", audio.direction.name());
}
