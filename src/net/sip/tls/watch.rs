//! New certificates without a restart: the files are looked at every few seconds, and when somebody asks.

use super::Tls;
use crate::base::{clock, metric};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Looks at the files until `stop`. Bad ones are told once for each thing that is wrong with them, and change nothing.
pub(in super::super) async fn watch(tls: Arc<Tls>, every: Duration, stop: CancellationToken) {
    let mut told = None;
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            () = tls.asked.notified() => true,
            () = tokio::time::sleep(every) => false,
        };
        let reading = Arc::clone(&tls);
        // Files may lie on a slow disk.
        let read = tokio::task::spawn_blocking(move || (reading.reload(), reading.certificate_told())).await;
        let Ok((outcome, certificate)) = read else { continue };
        match outcome {
            None => {
                told = None;
                if asked {
                    tracing::info!(event = "tls_unchanged", certificate, "SIP TLS files hold what they held");
                }
            }
            Some(Ok(_)) => {
                told = None;
                count("ok");
                tracing::info!(event = "tls_reloaded", certificate, "SIP TLS files were read anew");
            }
            Some(Err(error)) => {
                let error = error.to_string();
                if asked || told.as_ref() != Some(&error) {
                    count("failed");
                    tracing::error!(event = "tls_reload_failed", error, "SIP TLS goes on with the files as they were");
                }
                told = Some(error);
            }
        }
    }
}

impl Tls {
    fn certificate_told(&self) -> String {
        let material = self.current();
        material.certificate.as_ref().map(|own| own.describe(clock::now().wall)).unwrap_or_default()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(metric::SIP_TLS_RELOADS_TOTAL, "outcome" => outcome).increment(1);
}
