//! A call of the test phone: what happens to it, and what may be done with it.

use crate::audio::Form;
use crate::audio::wav::Clip;
use crate::base::{PlayId, Tone};
use crate::call::{LegCommand, MediaEvent};
use crate::media::Statistics;
use crate::media::sdp::{Codec, Exchange, SdpProblem};
use crate::net::media::MediaControl;
use crate::net::sip::OutLeg;
use crate::sip::DialEvent;
use bytes::Bytes;
use tokio::sync::mpsc;

/// A call that is being placed, or up. Dropping it ends it.
#[derive(Debug)]
pub struct PhoneCall {
    pub(super) leg: OutLeg,
    pub(super) control: MediaControl,
    pub(super) events: mpsc::Receiver<MediaEvent>,
    pub(super) audio: mpsc::Receiver<Bytes>,
    pub(super) exchange: Exchange,
    /// The INVITE carries no offer.
    pub(super) late_offer: bool,
    /// Of the first agreement: what is heard is coded by it.
    pub(super) heard_in: Form,
    /// What is sent now.
    pub(super) codec: Option<Codec>,
    pub(super) plays: u64,
    pub(super) over: bool,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneEvent {
    /// A provisional answer.
    Progress {
        /// 100 to 199.
        code: u16,
        /// Its phrase.
        reason: String,
    },
    /// The peer took the call, and media is agreed.
    Answered {
        /// All headers of the answer.
        headers: Vec<(String, String)>,
        /// How it sounds.
        codec: Codec,
    },
    /// The peer did not take the call, or not on terms that make a call. The call is over.
    Refused {
        /// SIP status; 488 where its answer was no agreement.
        code: u16,
        /// The phrase, or what was wrong.
        reason: String,
        /// All headers of the answer; none where none came.
        headers: Vec<(String, String)>,
    },
    /// What came of `hold` or `resume`: the SIP status, 488 where the answer was no agreement.
    Changed {
        /// 200 to 699.
        code: u16,
    },
    /// 20 ms of sound.
    Heard {
        /// How the sound lies in its bytes.
        form: Form,
        /// The sound.
        frame: Bytes,
    },
    /// What was played, or pressed, has been sent to its end.
    Played(PlayId),
    /// Nothing has come for half a minute.
    Silence,
    /// The peer hung up.
    Bye {
        /// All headers of its BYE.
        headers: Vec<(String, String)>,
    },
    /// The call is over; nothing more comes.
    Ended,
}

impl PhoneCall {
    /// The next event. Safe to cancel. After `Refused` or `Ended` nothing more comes.
    pub async fn event(&mut self) -> PhoneEvent {
        loop {
            if self.over {
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                event = self.leg.event() => match event {
                    Some(event) => if let Some(event) = self.signalled(event).await {
                        return event;
                    },
                    None => return self.end(PhoneEvent::Ended),
                },
                Some(event) = self.events.recv() => match event {
                    MediaEvent::PlayFinished { play, .. } => return PhoneEvent::Played(play),
                    MediaEvent::Timeout => return PhoneEvent::Silence,
                    MediaEvent::FirstPacket
                    | MediaEvent::Digit(_)
                    | MediaEvent::InBandDigit(_)
                    | MediaEvent::PlayStarted { .. }
                    | MediaEvent::PlayVoiced { .. } => {}
                },
                Some(frame) = self.audio.recv() => return PhoneEvent::Heard { form: self.heard_in, frame },
            }
        }
    }

    /// Plays a sound after what plays already, at the rate of the codec. Without effect before the answer.
    pub fn play(&mut self, clip: &Clip) -> PlayId {
        let play = PlayId(self.plays);
        self.plays += 1;
        if let Some(codec) = self.codec {
            let form = codec.form();
            let samples = match form {
                Form::Narrow(_) => clip.narrow(),
                Form::Wide => clip.wide(),
            };
            let sound = Bytes::from(form.encode_all(&samples));
            // The channel is new and empty; dropping the sender ends what is played.
            let _ = self.control.play(play, false).try_send(sound);
        }
        play
    }

    /// Presses keys one after the other, as telephone-events (RFC 4733). Keys that are none are left out.
    pub fn press(&self, keys: &str) {
        self.control.press(keys.chars().filter_map(Tone::pressed).collect());
    }

    /// Stops what plays.
    pub fn hush(&self) {
        self.control.stop();
    }

    /// Puts the peer on hold by re-INVITE; `Changed` follows.
    pub async fn hold(&mut self) {
        let sdp = self.exchange.hold();
        self.leg.command(LegCommand::Offer { sdp }).await;
    }

    /// Offers the call anew in these codecs, by re-INVITE; `Changed` follows.
    pub async fn change_codecs(&mut self, codecs: Vec<Codec>) {
        self.exchange.prefer(codecs);
        self.resume().await;
    }

    /// Takes the peer off hold; `Changed` follows.
    pub async fn resume(&mut self) {
        let sdp = self.exchange.offer();
        self.leg.command(LegCommand::Offer { sdp }).await;
    }

    /// Hangs up: CANCEL before the answer, BYE behind it. `Ended` follows.
    pub async fn hang_up(&self) {
        self.leg.cancel().await;
    }

    /// Figures of the media up to now.
    pub async fn statistics(&self) -> Option<Statistics> {
        self.control.statistics().await
    }

    /// Lets go of the call and gives its figures.
    pub async fn close(self) -> Option<Statistics> {
        self.control.close().await
    }

    async fn signalled(&mut self, event: DialEvent) -> Option<PhoneEvent> {
        match event {
            DialEvent::Provisional { code, reason, .. } => Some(PhoneEvent::Progress { code, reason }),
            DialEvent::Answered { sdp, headers } => match self.described(&sdp.unwrap_or_default()).await {
                Ok(codec) => {
                    self.heard_in = codec.form();
                    Some(PhoneEvent::Answered { headers, codec })
                }
                Err(problem) => {
                    self.leg.bye(Vec::new()).await;
                    let (code, reason) = (problem.code(), problem.to_string());
                    Some(self.end(PhoneEvent::Refused { code, reason, headers }))
                }
            },
            DialEvent::Changed { code: code @ 200..300, sdp } => {
                let agreed = self.exchange.accept(&sdp.unwrap_or_default());
                let code = agreed.map_or_else(
                    |problem| problem.code(),
                    |agreed| {
                        self.codec = Some(agreed.codec);
                        self.control.agree(agreed);
                        code
                    },
                );
                Some(PhoneEvent::Changed { code })
            }
            DialEvent::Changed { code, .. } => Some(PhoneEvent::Changed { code }),
            DialEvent::Refused { code, reason, headers } => {
                Some(self.end(PhoneEvent::Refused { code, reason, headers }))
            }
            DialEvent::Bye { headers } => Some(PhoneEvent::Bye { headers }),
            DialEvent::Reinvite { sdp } => {
                self.changed(sdp).await;
                None
            }
            DialEvent::Ended => Some(self.end(PhoneEvent::Ended)),
        }
    }

    /// The 2xx's description: the answer to our offer, or the offer that our ACK answers.
    async fn described(&mut self, sdp: &Bytes) -> Result<Codec, SdpProblem> {
        let agreed = if self.late_offer {
            let (sdp, agreed) = self.exchange.answer(sdp)?;
            self.leg.command(LegCommand::Acknowledge { sdp }).await;
            agreed
        } else {
            self.exchange.accept(sdp)?
        };
        let codec = agreed.codec;
        self.codec = Some(codec);
        self.control.agree(agreed);
        Ok(codec)
    }

    /// The peer wants the media changed.
    async fn changed(&mut self, offer: Option<Bytes>) {
        let command = match offer {
            None => LegCommand::AnswerReinvite { sdp: self.exchange.offer() },
            Some(offer) => match self.exchange.answer(&offer) {
                Ok((sdp, agreed)) => {
                    self.codec = Some(agreed.codec);
                    self.control.agree(agreed);
                    LegCommand::AnswerReinvite { sdp }
                }
                Err(problem) => LegCommand::RejectReinvite { code: problem.code(), headers: Vec::new() },
            },
        };
        self.leg.command(command).await;
    }

    fn end(&mut self, last: PhoneEvent) -> PhoneEvent {
        self.over = true;
        last
    }
}
