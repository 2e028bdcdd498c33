//! What calls tell the metrics.

use crate::base::metric;
use crate::call::output::{Summary, TurnCause, TurnTimes};
use std::time::Duration;

/// A turn goes to the assistant.
pub(super) fn asked(cause: TurnCause) {
    metrics::counter!(metric::TURNS_TOTAL, "input" => cause.as_str()).increment(1);
}

/// A turn was answered and its first packet has left.
pub(super) fn turn(times: &TurnTimes) {
    let stage = |stage: &'static str, took: Duration| {
        metrics::histogram!(metric::TURN_STAGE_SECONDS, "stage" => stage).record(took.as_secs_f64());
    };
    times.stages().for_each(|(name, took)| stage(name, took));
    stage("total", times.total);
}

/// The caller spoke into a prompt, and so long later it had stopped.
pub(super) fn barge_in(took: Duration) {
    metrics::histogram!(metric::BARGE_IN_SECONDS).record(took.as_secs_f64());
}

/// A call is over.
pub(super) fn ended(summary: &Summary) {
    metrics::counter!(metric::CALLS_TOTAL, "end_reason" => summary.end_reason.as_str()).increment(1);
}

/// The 200 goes out, so long after the INVITE came in.
pub(super) fn answered(setup: Duration) {
    metrics::histogram!(metric::SETUP_SECONDS).record(setup.as_secs_f64());
}
