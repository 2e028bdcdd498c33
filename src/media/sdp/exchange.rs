//! All offers and answers of one call (RFC 3264 section 8): what is offered again has the same streams, in the same places, with the
//! same numbers, and `o=` counts the bodies that differ.

use super::crypto::{Choice, Crypto, OFFERED};
use super::offer::{agree, number_of};
use super::parse::{self, Ours, Stream};
use super::{Codec, Direction, Encryption, LocalMedia, Negotiated, Privacy, SdpProblem, write};
use crate::media::rtcp::ControlPath;
use crate::media::srtp::{KeySource, Srtp, Suite};
use bytes::Bytes;

/// Our side of a call's offers and answers.
#[derive(Clone, Debug)]
pub struct Exchange {
    local: LocalMedia,
    /// In order of our preference.
    codecs: Vec<Codec>,
    privacy: Privacy,
    agreed: Option<Streams>,
    /// Our offer, until its answer comes.
    offered: Option<Streams>,
    sent: Option<Bytes>,
}

/// The m-lines of the call, and how the one that is ours is numbered.
#[derive(Clone, Debug)]
struct Streams {
    /// None where the only one is ours.
    all: Vec<Stream>,
    ours: usize,
    /// The codec that is spoken first.
    numbers: Vec<(Codec, u8)>,
    /// Payload types of telephone-event by their clocks.
    telephone_events: Vec<(u32, u8)>,
    /// Of the peer's offer: we do not ask for pauses ourselves.
    comfort_noise: Option<u8>,
    /// Whether RTCP goes by the ports of RTP: where the peer offered it, never of our own accord.
    multiplexed: bool,
    /// Our `a=crypto` lines.
    crypto: Vec<Crypto>,
    /// What came of them.
    srtp: Option<Srtp>,
}

impl Exchange {
    /// Nothing said yet, and nothing encrypted. `local` is what the first body says.
    #[must_use]
    pub fn new(local: LocalMedia, codecs: Vec<Codec>) -> Self {
        let privacy = Privacy { encryption: Encryption::Off, exposed: true, keys: KeySource::new([0; 32]) };
        Self { local, codecs, privacy, agreed: None, offered: None, sent: None }
    }

    /// The same on these terms of encryption.
    #[must_use]
    pub fn with(self, privacy: Privacy) -> Self {
        Self { privacy, ..self }
    }

    /// Other codecs from the next body on, in order of preference.
    pub fn prefer(&mut self, codecs: Vec<Codec>) {
        self.codecs = codecs;
    }

    /// Answers an offer of the peer with the first of our codecs that it has.
    ///
    /// # Errors
    /// A [`SdpProblem`] with the SIP status to refuse with; all stays as it was.
    pub fn answer(&mut self, offer: &[u8]) -> Result<(Bytes, Negotiated), SdpProblem> {
        let read = parse::body(offer, &self.ours(), None)?;
        let mut agreed = agree(&read.audio, self.local.address, &self.codecs)?;
        let mut numbers = read.audio.codecs;
        put_first(&mut numbers, agreed.codec);
        let comfort_noise = agreed.comfort_noise;
        // Answered is the one by the clock of the codec; the others are known for when it changes.
        let (clock, telephone_events) = (agreed.codec.clock(), read.audio.telephone_events);
        let mut crypto = Vec::new();
        if let Choice::Encrypted(theirs) = read.audio.crypto {
            let ours = self.answer_crypto(&theirs)?;
            agreed.srtp = Some(srtp(&ours, theirs));
            crypto.push(ours);
        }
        let (all, ours, srtp) = (read.streams, read.chosen, agreed.srtp.clone());
        let multiplexed = agreed.rtcp == ControlPath::Multiplexed;
        let streams = Streams { all, ours, numbers, telephone_events, comfort_noise, multiplexed, crypto, srtp };
        let direction = Direction::new(agreed.send, agreed.receive);
        let events = agreed.telephone_event.map(|number| (clock, number));
        let body = self.write(&streams, &[(agreed.codec, agreed.payload_type)], events.as_slice(), direction);
        self.agreed = Some(streams);
        Ok((body, agreed))
    }

    /// Our offer: all codecs at first, and later what was agreed with all that could be.
    pub fn offer(&mut self) -> Bytes {
        self.propose(Direction::Both)
    }

    /// The same, but the peer shall be silent: hold (RFC 3264 section 8.4).
    pub fn hold(&mut self) -> Bytes {
        self.propose(Direction::SendOnly)
    }

    fn propose(&mut self, direction: Direction) -> Bytes {
        let streams = match self.agreed.take() {
            None => self.first(),
            Some(agreed) => {
                let again = self.again(&agreed);
                self.agreed = Some(agreed);
                again
            }
        };
        let body = self.write(&streams, &streams.numbers, &streams.telephone_events, direction);
        self.offered = Some(streams);
        body
    }

    /// Takes the peer's answer to our offer. The codec is the first one that the peer lists.
    ///
    /// # Errors
    /// A [`SdpProblem`]; all stays as it was before the offer.
    pub fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, SdpProblem> {
        let mut streams = match self.offered.take().or_else(|| self.agreed.clone()) {
            Some(streams) => streams,
            None => self.first(),
        };
        let read = parse::body(answer, &self.ours(), Some(streams.ours))?;
        let peers_order: Vec<Codec> = read.audio.codecs.iter().map(|(codec, _)| *codec).collect();
        let mut agreed = agree(&read.audio, self.local.address, &peers_order)?;
        // What comes to us bears the numbers of our offer (RFC 3264 section 5.1).
        if let Some((_, number)) = streams.numbers.iter().find(|(codec, _)| *codec == agreed.codec) {
            agreed.payload_type = *number;
        }
        agreed.telephone_event = agreed.telephone_event.and(number_of(&streams.telephone_events, agreed.codec.clock()));
        agreed.comfort_noise = agreed.comfort_noise.and(streams.comfort_noise);
        streams.multiplexed &= agreed.rtcp == ControlPath::Multiplexed;
        if agreed.rtcp == ControlPath::Multiplexed && !streams.multiplexed {
            // Not offered, so not agreed.
            agreed.rtcp = ControlPath::Neighbour;
        }
        put_first(&mut streams.numbers, agreed.codec);
        streams.crypto = match read.audio.crypto {
            Choice::Plain => Vec::new(),
            // The peer encrypts, and we could not read it.
            Choice::Unusable(why) => return Err(SdpProblem::Transport(why)),
            Choice::Encrypted(theirs) => {
                let offered = |ours: &Crypto| ours.tag == theirs.tag && ours.suite == theirs.suite;
                let ours = streams.crypto.into_iter().find(offered).ok_or_else(|| {
                    SdpProblem::Transport("the a=crypto line of the answer is none of the offer's".to_owned())
                })?;
                agreed.srtp = Some(srtp(&ours, theirs));
                vec![ours]
            }
        };
        streams.srtp.clone_from(&agreed.srtp);
        self.agreed = Some(streams);
        Ok(agreed)
    }

    /// What the peer's bodies are read by.
    fn ours(&self) -> Ours<'_> {
        Ours { local: self.local.address, codecs: &self.codecs, privacy: &self.privacy }
    }

    fn first(&mut self) -> Streams {
        let numbers = self.codecs.iter().map(|codec| (*codec, codec.payload_type())).collect();
        let encrypted = self.privacy.encryption != Encryption::Off && !self.privacy.exposed;
        let suites: &[Suite] = if encrypted { &OFFERED } else { &[] };
        let crypto = (1..)
            .zip(suites)
            .filter_map(|(tag, suite)| Some(Crypto { tag, suite: *suite, key: self.privacy.keys.key(*suite)?, mki: 0 }))
            .collect();
        let telephone_events = TELEPHONE_EVENTS.into_iter().filter(|(clock, _)| self.ticks_by(*clock)).collect();
        let (all, comfort_noise) = (Vec::new(), None);
        Streams { all, ours: 0, numbers, telephone_events, comfort_noise, multiplexed: false, crypto, srtp: None }
    }

    /// Whether a codec of ours has this clock.
    fn ticks_by(&self, clock: u32) -> bool {
        self.codecs.iter().any(|codec| codec.clock() == clock)
    }

    /// Our line to the peer's. Our key stays as long as the peer keeps its own: with it change both, so that no side can be in
    /// doubt about the other's counters.
    fn answer_crypto(&mut self, theirs: &Crypto) -> Result<Crypto, SdpProblem> {
        let before = self.agreed.as_ref().and_then(|agreed| agreed.srtp.as_ref());
        let kept = before.filter(|before| before.suite == theirs.suite && before.theirs == theirs.key);
        let key = match kept {
            Some(kept) => Some(kept.ours.clone()),
            None => self.privacy.keys.key(theirs.suite),
        };
        let key = key.ok_or_else(|| SdpProblem::Transport("no key for the offered suite".to_owned()))?;
        Ok(Crypto { tag: theirs.tag, suite: theirs.suite, key, mki: 0 })
    }

    /// The streams that were agreed, and beside their codecs all of ours whose numbers are free.
    fn again(&self, agreed: &Streams) -> Streams {
        let mut streams = agreed.clone();
        streams.numbers.retain(|(codec, _)| self.codecs.contains(codec));
        for codec in &self.codecs {
            let known = streams.numbers.iter().any(|(numbered, _)| numbered == codec);
            if !known && !agreed.has(codec.payload_type()) {
                streams.numbers.push((*codec, codec.payload_type()));
            }
        }
        streams.telephone_events.retain(|(clock, _)| self.ticks_by(*clock));
        for (clock, usual) in TELEPHONE_EVENTS {
            if self.ticks_by(clock) && number_of(&streams.telephone_events, clock).is_none() {
                let free = std::iter::once(usual).chain(DYNAMIC).find(|number| !streams.has(*number));
                streams.telephone_events.extend(free.map(|number| (clock, number)));
            }
        }
        streams
    }

    /// A body of ours; one that says what the last one said is the last one (RFC 3264 section 8).
    fn write(
        &mut self,
        streams: &Streams,
        codecs: &[(Codec, u8)],
        telephone_events: &[(u32, u8)],
        direction: Direction,
    ) -> Bytes {
        let first = if self.privacy.encryption == Encryption::Required { "RTP/SAVP" } else { "RTP/AVP" };
        let proto = streams.all.get(streams.ours).map_or(first, |stream| stream.proto.as_str());
        let (comfort_noise, crypto) = (streams.comfort_noise, streams.crypto.as_slice());
        let multiplexed = streams.multiplexed;
        let audio = write::Audio { proto, codecs, telephone_events, comfort_noise, direction, multiplexed, crypto };
        let mut body = write::body(&self.local, &streams.all, streams.ours, &audio);
        if self.sent.as_ref().is_some_and(|sent| *sent != body) {
            self.local.session_version += 1;
            body = write::body(&self.local, &streams.all, streams.ours, &audio);
        }
        self.sent = Some(body.clone());
        body
    }
}

impl Streams {
    /// Whether our stream has used `number`, for whatever codec.
    fn has(&self, number: u8) -> bool {
        let formats = self.all.get(self.ours).map_or("", |stream| stream.formats.as_str());
        self.numbers.iter().any(|(_, used)| *used == number)
            || self.telephone_events.iter().any(|(_, used)| *used == number)
            || formats.split_ascii_whitespace().any(|format| format.parse() == Ok(number))
    }
}

fn srtp(ours: &Crypto, theirs: Crypto) -> Srtp {
    Srtp { suite: ours.suite, ours: ours.key.clone(), theirs: theirs.key, mki: theirs.mki }
}

fn put_first(numbers: &mut [(Codec, u8)], codec: Codec) {
    if let Some(at) = numbers.iter().position(|(numbered, _)| *numbered == codec)
        && let Some(front) = numbers.get_mut(..=at)
    {
        front.rotate_right(1);
    }
}

/// The clocks that there are, and how everybody numbers their keys.
pub(super) const TELEPHONE_EVENTS: [(u32, u8); 2] = [(8000, 101), (48_000, 110)];
/// RFC 3551 section 6.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
