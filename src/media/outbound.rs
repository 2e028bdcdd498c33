//! What is sent, slot by slot: keys before prompts before silence or noise, in the codec that is agreed, as numbered packets.

use super::comfort_noise::ComfortNoise;
use super::keypad::{Key, Keypad, Way};
use super::prompts::{Progress, Prompts};
use super::rtp::{Datagram, Numbering, SAMPLES};
use super::sdp::{Codec, Negotiated};
use crate::audio::Frame;
use crate::audio::wideband::{Encoder, LONGEST_SENT, WideCodec};

/// The stream that goes out.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) numbering: Numbering,
    pub(super) prompts: Prompts,
    pub(super) keypad: Keypad,
    codec: Codec,
    /// What is sent where nothing plays, if not silence.
    noise: Option<ComfortNoise>,
    /// Of the last codec that needed one.
    encoder: Option<(WideCodec, Encoder)>,
}

impl Outbound {
    pub(super) fn new(numbering: Numbering, noise: Option<ComfortNoise>) -> Self {
        let (prompts, keypad) = (Prompts::default(), Keypad::default());
        Self { numbering, prompts, keypad, codec: Codec::Pcmu, noise, encoder: None }
    }

    /// The codec that is agreed from now on.
    pub(super) fn agree(&mut self, codec: Codec) {
        self.codec = codec;
        self.numbering.turn_to(codec.clock() / 8000 * SAMPLES);
        match codec.wide() {
            None => self.encoder = None,
            Some(wide) if self.encoder.as_ref().is_none_or(|(known, _)| *known != wide) => {
                self.encoder = Some((wide, Encoder::new(wide)));
            }
            Some(_) => {}
        }
    }

    /// The next 20 ms as a packet: those of a key, or of the prompts, of whose progress is `told`. `frame` is `idle`, and becomes how
    /// they sound.
    pub(super) fn packet(&mut self, media: &Negotiated, frame: &mut Frame, told: impl FnMut(Progress)) -> Datagram {
        // A key takes the place of the sound, whose prompt waits.
        let (form, step) = (self.codec.form(), self.numbering.step());
        let way = media.telephone_event.map_or(Way::Tones(form), |_| Way::Events(step));
        match (self.keypad.slot(self.numbering.timestamp(), way), media.telephone_event) {
            (Some(Key::Event(pressed)), Some(payload_type)) => {
                return self.numbering.event(payload_type, pressed);
            }
            (Some(Key::Sound(tones)), _) => *frame = tones,
            (Some(_), _) => {}
            (None, _) => self.prompts.fill(frame, told),
        }
        self.coded(media.payload_type, frame)
    }

    /// 20 ms in which nothing plays.
    pub(super) fn idle(&mut self) -> Frame {
        let mut frame = self.codec.form().silence();
        if let Some(noise) = &mut self.noise {
            noise.fill_frame(&mut frame);
        }
        frame
    }

    fn coded(&mut self, payload_type: u8, frame: &Frame) -> Datagram {
        match (frame, &mut self.encoder) {
            (Frame::Wide(samples), Some((_, encoder))) => {
                let mut payload = [0; LONGEST_SENT];
                let length = encoder.encode(samples, &mut payload);
                self.numbering.packet(payload_type, payload.get(..length).unwrap_or_default())
            }
            (Frame::Narrow(_, coded), _) => self.numbering.packet(payload_type, coded),
            // A wide frame has its encoder since the codec was agreed.
            (Frame::Wide(_), None) => self.numbering.packet(payload_type, &[]),
        }
    }
}
