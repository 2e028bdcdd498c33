//! What a listener would say of a call: the E-model (ITU-T G.107, and G.107.1 for wide-band codecs), fed by what RTP and RTCP measured.
//!
//! All that cannot be measured from here (loudness, room noise, echo, handsets) has the recommendation's default, so that what is
//! left is codec, loss and delay. It is an estimate for comparing calls, not for a promise to a listener.

use super::reception::Statistics;
use super::rtcp::Heard;
use super::sdp::Codec;
use std::time::Duration;

/// What a codec costs, and how much it minds loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// The rating of a line with nothing wrong (R0 - Is + A): 93.2, or 129 where the scale is the wide-band one.
    pub best: f64,
    /// Equipment impairment (Ie).
    pub impairment: f64,
    /// Robustness against loss (Bpl).
    pub robustness: f64,
}

/// A direction as it arrives at its listener.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Percent of the packets that were not heard, lost or late.
    pub loss: f64,
    /// Mouth to ear, as far as it is known.
    pub delay: Duration,
}

/// Mean opinion scores of a call, 1 to 4.5; none where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Of the caller's voice, as we hear it.
    pub incoming: Option<f64>,
    /// Of the assistant's voice, as the peer says that it hears it.
    pub outgoing: Option<f64>,
}

impl Equipment {
    /// Of a codec with concealment.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        match codec {
            // G.113 appendix I: G.711 with concealment.
            Codec::Pcmu | Codec::Pcma => Self { best: NARROW, impairment: 0.0, robustness: CONCEALED },
            // G.113 appendix IV has G.722 at 64 kbit/s, but not how it minds loss: taken as the other wide-band codecs there do.
            Codec::G722 => Self { best: WIDE, impairment: 13.0, robustness: WIDE_CONCEALED },
            // Nor has it Opus: taken as the best of AMR-WB there.
            #[cfg(feature = "opus")]
            Codec::Opus => Self { best: WIDE, impairment: 8.0, robustness: WIDE_CONCEALED },
        }
    }

    /// The transmission rating R of what arrives.
    #[must_use]
    pub fn rating(self, arrival: Arrival) -> f64 {
        let loss = arrival.loss.clamp(0.0, 100.0);
        // Loss at random: BurstR is 1 (G.107 section 7.5).
        let effective = self.impairment + (95.0 - self.impairment) * loss / (loss + self.robustness);
        self.best - delayed(arrival.delay) - effective
    }

    /// The mean opinion score of what arrives.
    #[must_use]
    pub fn opinion(self, arrival: Arrival) -> f64 {
        opinion(self.rating(arrival) * NARROW_SCALE / self.scale())
    }

    /// Where the scale ends.
    const fn scale(self) -> f64 {
        if self.best > NARROW_SCALE { self.best } else { NARROW_SCALE }
    }
}

impl Quality {
    /// From the figures of a session in `codec`.
    #[must_use]
    pub fn of(codec: Codec, statistics: &Statistics) -> Self {
        let equipment = Equipment::of(codec);
        let way = statistics.reports.round_trip.unwrap_or_default() / 2 + PACKET;
        let expected = statistics.packets_in + statistics.lost;
        let incoming = (statistics.packets_in > 0).then(|| {
            let loss = percent(statistics.lost + statistics.dropped.late, expected);
            equipment.opinion(Arrival { loss, delay: way + statistics.depth })
        });
        let outgoing = statistics.reports.heard.filter(|heard| heard.of > 0).map(|heard| {
            let delay = way + PACKET + 2 * heard.jitter_in(codec);
            equipment.opinion(Arrival { loss: percent(heard.lost, heard.of), delay })
        });
        Self { incoming, outgoing }
    }
}

impl Heard {
    /// The jitter that the peer measures, in time.
    #[must_use]
    pub fn jitter_in(&self, codec: Codec) -> Duration {
        Duration::from_secs(u64::from(self.jitter)) / codec.clock()
    }
}

/// From the transmission rating to the mean opinion score (G.107 annex B).
#[must_use]
pub fn opinion(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7.0e-6).clamp(1.0, 4.5)
}

/// What pure delay costs (Idd of G.107 section 7.4): nothing up to 100 ms.
fn delayed(delay: Duration) -> f64 {
    let times = delay.as_secs_f64() / 0.1;
    if times <= 1.0 {
        return 0.0;
    }
    let x = times.log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 packets")]
    let share = part as f64 / whole.max(1) as f64;
    (share * 100.0).min(100.0)
}

/// The rating of a narrow-band line with nothing wrong.
const NARROW: f64 = 93.2;
const NARROW_SCALE: f64 = 100.0;
/// Bpl of G.711 with concealment.
const CONCEALED: f64 = 25.1;
/// The rating of a wide-band line with nothing wrong (G.107.1).
const WIDE: f64 = 129.0;
/// Bpl of AMR-WB.
const WIDE_CONCEALED: f64 = 4.9;
/// What a packet waits for its own end; and the least that a peer's buffer adds, beside twice its jitter.
const PACKET: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtcp::{Heard, Reports};

    fn close(a: f64, b: f64, by: f64) -> bool {
        (a - b).abs() <= by
    }

    const STILL: Arrival = Arrival { loss: 0.0, delay: Duration::ZERO };

    #[test]
    fn ratings_become_the_scores_that_the_recommendation_prints() {
        // G.107 annex B, table B.1, and the rating of all defaults.
        for (rating, score) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (93.2, 4.41)] {
            assert!(close(opinion(rating), score, 0.01), "{rating}: {}", opinion(rating));
        }
        assert_eq!((opinion(-20.0), opinion(0.0), opinion(100.0), opinion(f64::MAX)), (1.0, 1.0, 4.5, 4.5));
        assert!((0..1000).map(|n| opinion(f64::from(n) / 10.0 + 7.0)).is_sorted());
    }

    #[test]
    fn a_line_with_nothing_wrong_has_the_default_rating() {
        let line = Equipment::of(Codec::Pcmu);
        assert!(close(line.rating(STILL), 93.2, 1e-9));
        assert!(close(line.opinion(STILL), 4.41, 0.005));
    }

    #[test]
    fn loss_costs_what_the_tables_of_codecs_say() {
        let line = Equipment::of(Codec::Pcma);
        // Ie,eff = 95 * Ppl / (Ppl + 25.1): G.711 with concealment, random loss.
        for (loss, cost) in [(1.0, 3.64), (2.0, 7.01), (5.0, 15.78), (10.0, 27.07), (20.0, 42.13)] {
            assert!(close(line.rating(STILL) - line.rating(Arrival { loss, ..STILL }), cost, 0.01), "{loss}");
        }
        // G.729A with voice activity detection, which G.113 appendix I has at Ie 11 and Bpl 19.
        let other = Equipment { impairment: 11.0, robustness: 19.0, ..line };
        assert!(close(other.rating(STILL), 82.2, 1e-9));
        assert!(close(other.rating(Arrival { loss: 4.0, ..STILL }), 93.2 - 25.61, 0.01));
    }

    #[test]
    fn delay_costs_nothing_up_to_100_ms_and_then_more_and_more() {
        let cost = |millis| delayed(Duration::from_millis(millis));
        assert_eq!((cost(0), cost(99), cost(100)), (0.0, 0.0, 0.0));
        // G.107 (7-28) by hand: X is 1 at 200 ms, 2 at 400 ms, 3 at 800 ms.
        for (millis, points) in [(200, 3.04), (400, 24.07), (800, 40.83)] {
            assert!(close(cost(millis), points, 0.005), "{millis}: {}", cost(millis));
        }
        assert!((0..3000).map(cost).is_sorted());
    }

    #[test]
    fn each_direction_has_its_own_loss_and_way() {
        let heard = Heard { lost: 50, of: 1000, jitter: 80 };
        let reports = Reports { round_trip: Some(Duration::from_millis(60)), heard: Some(heard), ..Reports::default() };
        let mut statistics = Statistics { packets_in: 990, lost: 10, reports, ..Statistics::default() };
        statistics.depth = Duration::from_millis(40);
        let quality = Quality::of(Codec::Pcmu, &statistics);
        let line = Equipment::of(Codec::Pcmu);
        let incoming = line.opinion(Arrival { loss: 1.0, delay: Duration::from_millis(90) });
        let outgoing = line.opinion(Arrival { loss: 5.0, delay: Duration::from_millis(90) });
        assert!(close(quality.incoming.unwrap(), incoming, 1e-9) && close(quality.outgoing.unwrap(), outgoing, 1e-9));
        // What came too late was not heard either.
        statistics.dropped.late = 40;
        let late = Quality::of(Codec::Pcmu, &statistics);
        assert!(close(late.incoming.unwrap(), outgoing, 1e-9));
        assert_eq!(late.outgoing, quality.outgoing);
        assert_eq!(Quality::of(Codec::Pcmu, &Statistics::default()), Quality::default());
    }
}
