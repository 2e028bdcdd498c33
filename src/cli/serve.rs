//! `serve`: the daemon.

use super::terminal::complain;
use super::{ConfigFile, Exit};
use crate::app::{self, Gateway, log};
use crate::config::{Config, LogFormat};
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(file: &ConfigFile) -> Exit {
    let config = match Config::load_complete(Some(&file.path), std::env::vars()) {
        Ok(config) => config,
        Err(problems) => {
            complain(&format!("{} cannot be used:\n{problems}", file.path.display()));
            return Exit::BadConfiguration;
        }
    };
    let format = match config.log.format {
        LogFormat::Json => log::Format::Json,
        LogFormat::Pretty => log::Format::Pretty,
    };
    if let Err(error) = log::install(format, &config.log.level) {
        complain(&error.to_string());
        return Exit::BadConfiguration;
    }
    let metrics = match app::install_metrics() {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be set up");
            return Exit::Failed;
        }
    };
    // Before the start, so that a signal during it is not lost.
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be watched");
            return Exit::Failed;
        }
    };
    let mut reload = match signal(SignalKind::hangup()) {
        Ok(reload) => reload,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be watched");
            return Exit::Failed;
        }
    };
    let gateway = match Gateway::start(config, metrics).await {
        Ok(gateway) => gateway,
        Err(error) => {
            tracing::error!(event = "start_failed", %error, "could not start");
            return Exit::Failed;
        }
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!("SIGTERM");
                break;
            }
            _ = interrupt.recv() => {
                tracing::info!("SIGINT");
                break;
            }
            Some(()) = reload.recv() => gateway.reload(),
        }
    }
    tokio::select! {
        () = gateway.drain() => Exit::Done,
        // Whoever asks twice does not want to wait.
        _ = interrupt.recv() => Exit::Failed,
        _ = terminate.recv() => Exit::Failed,
    }
}
