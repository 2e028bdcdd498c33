//! The Prometheus recorder: buckets, help texts, and zeros for series that alerts compare with.

use crate::base::metric;
use crate::call::output::EndReason;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Builds the recorder and makes it the process's. Once.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder)?;
    Ok(handle)
}

/// Builds the recorder, for the process or for one test.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in [
        (metric::SETUP_SECONDS, &SERVICE[..]),
        (metric::TURN_STAGE_SECONDS, &SERVICE),
        (metric::SIGNAL_SECONDS, &SERVICE),
        (metric::BARGE_IN_SECONDS, &SHORT),
        (metric::RTP_LATE_SECONDS, &SHORT),
        (metric::RTP_JITTER_SECONDS, &SHORT),
        (metric::RTP_REPORTED_JITTER_SECONDS, &SHORT),
        (metric::RTP_ROUND_TRIP_SECONDS, &SERVICE),
        (metric::MOS, &SCORES),
    ] {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    let recorder = builder.build_recorder();
    ::metrics::with_local_recorder(&recorder, || {
        describe();
        zeros();
    });
    Ok(recorder)
}

/// Keeps histograms compact until `stop`; drive it for as long as the process lives.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => handle.run_upkeep(),
        }
    }
}

fn describe() {
    describe_gauge!(metric::CALLS_ACTIVE, "Live calls");
    describe_counter!(metric::CALLS_TOTAL, "Ended calls by end reason");
    describe_counter!(metric::INVITES_TOTAL, "Final answers to INVITEs by status code");
    describe_histogram!(metric::SETUP_SECONDS, Unit::Seconds, "INVITE to 200");
    describe_counter!(metric::TURNS_TOTAL, "Assistant turns by what caused them");
    describe_histogram!(
        metric::TURN_STAGE_SECONDS,
        Unit::Seconds,
        "Stages of a turn; total is last voiced RTP in to first voiced RTP out"
    );
    describe_histogram!(metric::BARGE_IN_SECONDS, Unit::Seconds, "Hypothesis in to playback stopped");
    describe_counter!(metric::RTP_PACKETS_TOTAL, "RTP packets by direction");
    describe_counter!(metric::RTP_LOST_TOTAL, "RTP packets that never came");
    describe_histogram!(metric::RTP_LATE_SECONDS, Unit::Seconds, "Send lateness against the 20 ms grid");
    describe_histogram!(metric::RTP_JITTER_SECONDS, Unit::Seconds, "Interarrival jitter at the end of a call");
    describe_counter!(metric::RTP_REPORTED_LOST_TOTAL, "RTP packets of ours that peers missed, by their reports");
    describe_histogram!(
        metric::RTP_REPORTED_JITTER_SECONDS,
        Unit::Seconds,
        "Interarrival jitter of our RTP at the peer, by its last report"
    );
    describe_histogram!(metric::RTP_ROUND_TRIP_SECONDS, Unit::Seconds, "The last round trip that a call measured");
    describe_histogram!(metric::MOS, "Mean opinion score of a call by direction, estimated by the E-model");
    describe_counter!(metric::RTP_DROPPED_TOTAL, "RTP and RTCP datagrams not used, by reason");
    describe_counter!(metric::SIGNALS_TOTAL, "Signals to CXone by purpose and outcome");
    describe_histogram!(metric::SIGNAL_SECONDS, Unit::Seconds, "A signal from order to outcome");
    describe_gauge!(metric::SIGNALS_PENDING, "Signals ordered and not settled");
    describe_counter!(metric::UPSTREAM_ERRORS_TOTAL, "Failures of outside services by service and kind");
    describe_counter!(metric::STT_RECONNECTS_TOTAL, "Speech to Text sockets opened again within a call");
    describe_counter!(metric::QUEUE_DROPPED_TOTAL, "Items lost because a bounded queue was full");
    describe_counter!(metric::SIP_PARSE_ERRORS_TOTAL, "SIP messages that could not be parsed");
    describe_counter!(metric::SIP_REFUSED_TOTAL, "SIP requests refused or dropped before a call existed, by reason");
}

/// A rate needs a first value: without these, the first failure after a start would not be seen.
fn zeros() {
    gauge!(metric::CALLS_ACTIVE).set(0.0);
    gauge!(metric::SIGNALS_PENDING).set(0.0);
    for reason in [EndReason::AssistantTransfer, EndReason::AssistantHangup, EndReason::CallerHangup, EndReason::Failed]
    {
        counter!(metric::CALLS_TOTAL, "end_reason" => reason.as_str()).absolute(0);
    }
    for name in [
        metric::RTP_LOST_TOTAL,
        metric::RTP_REPORTED_LOST_TOTAL,
        metric::STT_RECONNECTS_TOTAL,
        metric::SIP_PARSE_ERRORS_TOTAL,
    ] {
        counter!(name).absolute(0);
    }
}

/// Waits for services and people.
const SERVICE: [f64; 17] =
    [0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0, 8.0, 16.0];
/// Opinions: G.107's classes of speech quality lie between 2.58, 3.10, 3.60, 4.03 and 4.34.
const SCORES: [f64; 10] = [1.5, 2.0, 2.58, 3.1, 3.35, 3.6, 3.8, 4.03, 4.2, 4.34];
/// Packet timing.
const SHORT: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.2, 0.5];
const UPKEEP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_and_alerts_have_zeros() {
        let recorder = recorder().unwrap();
        ::metrics::with_local_recorder(&recorder, || {
            ::metrics::histogram!(metric::TURN_STAGE_SECONDS, "stage" => "gateway").record(0.015);
        });
        let text = recorder.handle().render();
        assert!(text.contains("voice_gateway_turn_stage_seconds_bucket{stage=\"gateway\",le=\"0.02\"} 1"), "{text}");
        assert!(text.contains("voice_gateway_turn_stage_seconds_bucket{stage=\"gateway\",le=\"0.01\"} 0"), "{text}");
        assert!(text.contains("voice_gateway_calls_total{end_reason=\"failed\"} 0"), "{text}");
        assert!(text.contains("# HELP voice_gateway_calls_active Live calls"), "{text}");
    }
}
