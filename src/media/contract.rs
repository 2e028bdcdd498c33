//! The whole contract of a media session with whoever drives it: how it behaves, what happens to it, what it asks for.

use super::reception::Statistics;
use super::rtcp::Compound;
use super::rtp::Datagram;
use super::sdp::Negotiated;
use crate::audio::{FRAME, WIDE_PIECE};
use crate::base::{PlayId, Recording, Tone};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How a session behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Least delay of the jitter buffer: how much longer than the fast ones a packet may take at any time.
    pub least: Duration,
    /// Its greatest delay.
    pub longest: Duration,
    /// Without any RTP for so long: `Event::Timeout`.
    pub rtp_timeout: Duration,
    /// Length of the chunks for Speech to Text: shorter costs more, longer adds to every turn. While the caller speaks into a prompt,
    /// each frame is one.
    pub chunk: Duration,
    /// Whether `Output::Recorded` is wanted.
    pub record: bool,
    /// Whether keys are listened for in the sound itself.
    pub inband_dtmf: bool,
    /// What is sent while nothing plays.
    pub silence: Silence,
    /// Host of the peer's signalling, for a peer behind NAT.
    pub signalling: Option<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            least: Duration::from_millis(20),
            longest: Duration::from_millis(200),
            rtp_timeout: Duration::from_secs(30),
            chunk: Duration::from_millis(100),
            record: false,
            inband_dtmf: false,
            silence: Silence::Digital,
            signalling: None,
        }
    }
}

/// What is sent while nothing plays. Either way packets go on without a gap: a pause would close the ports of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Samples of zero.
    Digital,
    /// Faint noise, so that the line does not sound dead.
    ComfortNoise,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The instant that the last step asked for has come.
    Tick,
    /// A datagram came in.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// A datagram came in by the socket of RTCP.
    Control {
        /// When, where the system says it better than the step does.
        at: Instant,
        /// Who sent it.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Media was agreed, or agreed anew.
    Agree(Negotiated),
    /// A prompt to play after those that wait; its bytes follow, in the form of the codec agreed now.
    Play {
        /// Names it.
        play: PlayId,
        /// Whether a key (telephone-event) that comes while it is the first stops it and all that wait, before it is told: whoever
        /// would order that may be busy just then.
        keys_stop: bool,
    },
    /// Bytes of a prompt.
    Chunk {
        /// Which prompt.
        play: PlayId,
        /// The next of its sound.
        bytes: Bytes,
    },
    /// A prompt has no more bytes.
    PlayEnd(PlayId),
    /// Stop all prompts.
    Stop,
    /// A key to send after those that wait: as telephone-event where the peer has that, else as its tones.
    Press(Tone),
    /// Record silence from now on, or what is said again.
    Record(Recording),
    /// The call is over.
    Close,
}

/// One thing to do. In order. Packets and frames lie in the output itself: nothing is allocated for one.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a packet.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        datagram: Datagram,
        /// How long after its slot of the grid.
        late: Duration,
    },
    /// Send a report.
    Report {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        compound: Compound,
        /// By which socket.
        by: Socket,
    },
    /// Tell the call.
    Event(Event),
    /// The caller's audio for Speech to Text: real time without gaps, in the form of the codec that was agreed first.
    Heard(Bytes),
    /// 20 ms of both sides for the recording, in the law of the codec that was agreed first.
    Recorded {
        /// What the caller said.
        caller: [u8; FRAME],
        /// What the caller was sent.
        assistant: [u8; FRAME],
    },
    /// 5 ms of both sides for the recording of a call whose first codec was one of a wide band: linear, 16 kHz. No more at once, for
    /// every output is as large as the largest.
    RecordedWide {
        /// What the caller said.
        caller: [i16; WIDE_PIECE],
        /// What the caller was sent.
        assistant: [i16; WIDE_PIECE],
    },
    /// The session is over; nothing more comes.
    Closed(Statistics),
}

/// One of a session's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// The even one.
    Rtp,
    /// The odd one.
    Rtcp,
}

/// What the call is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first RTP packet of the peer arrived.
    FirstPacket,
    /// A key began as telephone-event; each is told once.
    Digit(char),
    /// A key began as sound; each is told once.
    InBandDigit(char),
    /// The first packet of a prompt is sent.
    PlayStarted {
        /// Which prompt.
        play: PlayId,
        /// When.
        at: Instant,
        /// The last voiced packet received before.
        last_voiced: Option<Instant>,
    },
    /// The first packet of a prompt in which somebody speaks left: how much silence a voice begins with is a part of its turn.
    PlayVoiced {
        /// Which prompt.
        play: PlayId,
        /// When.
        at: Instant,
    },
    /// The last sample of a prompt is sent, or it was stopped.
    PlayFinished {
        /// Which prompt.
        play: PlayId,
        /// Milliseconds of it that were sent.
        sent_ms: u32,
        /// False when it was stopped before its end.
        complete: bool,
    },
    /// No RTP for `Settings::rtp_timeout`.
    Timeout,
}
