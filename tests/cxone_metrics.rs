//! What dashboards see of signals: outcomes, failures by kind, and a gauge that comes back to zero whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cxone_mock;

use cxone_mock::{Reply, Server, order, settings, status};
use voice_gateway::call::output::Purpose::{Hangup, Transfer};
use voice_gateway::cxone::Cxone;

#[test]
fn every_outcome_is_counted_and_nothing_stays_pending() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let replies = |seen: &cxone_mock::Seen, nth| {
                seen.is_signal().then(|| match nth {
                    0 => status(204),
                    1 => status(404),
                    2 => status(400),
                    3 => Reply::Reset,
                    _ => Reply::Hang,
                })
            };
            let server = Server::start(replies).await;
            let cxone = Cxone::new(settings(&server)).unwrap();
            for purpose in [Transfer, Hangup, Transfer, Transfer] {
                cxone.signal(&order(purpose)).await;
            }
            let last = order(Hangup);
            let mut signal = Box::pin(cxone.signal(&last));
            tokio::select! {
                _ = &mut signal => panic!("it cannot have ended"),
                () = server.until("/signal", 5) => {
                    assert!(scrape.render().contains("voice_gateway_signals_pending 1"), "{}", scrape.render());
                }
            }
        });
    });
    let text = scrape.render();
    for line in [
        r#"voice_gateway_signals_total{purpose="transfer",outcome="accepted"} 1"#,
        r#"voice_gateway_signals_total{purpose="hangup",outcome="contact_gone"} 1"#,
        r#"voice_gateway_signals_total{purpose="transfer",outcome="failed"} 1"#,
        r#"voice_gateway_signals_total{purpose="transfer",outcome="ambiguous"} 1"#,
        r#"voice_gateway_signals_total{purpose="hangup",outcome="caller_gone_or_signalled"} 1"#,
        "voice_gateway_signals_pending 0",
        "voice_gateway_signal_seconds_count 5",
        r#"voice_gateway_upstream_errors_total{service="cxone",kind="status"} 2"#,
        r#"voice_gateway_upstream_errors_total{service="cxone",kind="closed"} 1"#,
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} is missing in:\n{text}");
    }
}
