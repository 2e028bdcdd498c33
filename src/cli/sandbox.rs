//! `sandbox`: the other side of every wire, for developing a dialog or a CXone script without accounts.

use super::terminal::{Tone, complain, note, say, toned};
use super::{Exit, models};
use crate::app::demonstration::Engines;
use crate::app::log;
use crate::sandbox::assistant::Dialog;
use crate::sandbox::cxone::KnownContacts;
use crate::sandbox::{self, SandboxOptions};
use secrecy::ExposeSecret as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// `sandbox`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Sandbox {
    /// The dialog to speak, as in config/sandbox/dialog.toml; without it Acme Energy's, which is that file
    #[arg(long = "config", value_name = "FILE")]
    dialog: Option<PathBuf>,
    /// Take this port and the five after it (control, IAM, Speech to Text, Text to Speech, assistant, CXone); without it free
    /// ones
    #[arg(long, value_name = "N")]
    base_port: Option<u16>,
}

pub(super) async fn run(command: &Sandbox) -> Exit {
    if let Err(error) = log::install(log::Format::Pretty, "warn") {
        complain(&error.to_string());
        return Exit::Failed;
    }
    let dialog = match command.dialog.as_deref().map_or_else(Dialog::acme_energy, Dialog::load) {
        Ok(dialog) => dialog,
        Err(error) => {
            complain(&error.to_string());
            return Exit::BadConfiguration;
        }
    };
    match serve(command, dialog).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}

async fn serve(command: &Sandbox, dialog: Dialog) -> Result<(), String> {
    let models = models::ready().await?;
    note("loading the speech engines");
    let loaded = tokio::task::spawn_blocking(move || Engines::load(&models)).await;
    let engines = loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let (name, sentences) = (dialog.name().to_owned(), dialog.fixed_sentences());
    let options = SandboxOptions {
        base_port: command.base_port,
        known_contacts: KnownContacts::Any,
        ..engines.sandbox_options(dialog)
    };
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let sandbox = sandbox::start(options, &tracker, stop.clone()).await.map_err(|error| error.to_string())?;
    introduce(&sandbox, &name);
    let interrupted = tokio::signal::ctrl_c();
    // While nobody has called: the first caller is not to wait for what can be spoken ahead. Ctrl-C does not wait either.
    let abandoned = stop.clone();
    tracker.spawn_blocking(move || {
        for sentence in sentences {
            if abandoned.is_cancelled() {
                return;
            }
            if let Err(error) = engines.speak_ahead(&[sentence], |_, _| {}) {
                tracing::warn!(%error, "a sentence could not be spoken ahead");
            }
        }
    });
    interrupted.await.map_err(|error| format!("Ctrl-C cannot be waited for: {error}"))?;
    note("stopping");
    stop.cancel();
    tracker.close();
    // A sentence being spoken ahead is not worth waiting for.
    let _ = tokio::time::timeout(FAREWELL, tracker.wait()).await;
    Ok(())
}

fn introduce(sandbox: &sandbox::Sandbox, dialog: &str) {
    let (urls, credentials) = (&sandbox.urls, &sandbox.credentials);
    let row = |name: &str, value: &str| say(&format!("  {name:<22}{value}"));
    say(&toned(Tone::Bold, &format!("The sandbox is running, with the dialog {dialog:?}")));
    row("control", &format!("{}/sandbox", urls.control));
    row("IAM token", &urls.iam);
    row("Speech to Text", &urls.speech_to_text);
    row("Text to Speech", &urls.text_to_speech);
    row("assistant", &urls.assistant);
    row("CXone", &urls.cxone);
    row("CXone token", &urls.cxone_token);
    row("CXone discovery", &format!("{}?tenantId={}", urls.cxone_discovery, sandbox.tenant_id));
    say("");
    say(&toned(Tone::Bold, "Credentials (made up: everything listens on loopback only)"));
    row("Watson API key", credentials.api_key.expose_secret());
    row("CXone access key id", &credentials.access_key_id);
    row("CXone access key", credentials.access_key_secret.expose_secret());
    row("CXone client id", &credentials.client_id);
    row("CXone client secret", credentials.client_secret.expose_secret());
    say("");
    say(&toned(Tone::Bold, "A gateway that talks to it"));
    say(sandbox.gateway_config().trim_end());
    say("");
    say(&toned(Tone::Bold, "To hold a call"));
    row("write that to a file", &format!("curl -s {}/sandbox/gateway.toml > sandbox.toml", urls.control));
    row("run the gateway", "voice-gateway serve --config sandbox.toml");
    row("call it as CXone does", "voice-gateway call sip:100@127.0.0.1 --contact-id 123456789 --play question.wav");
    row("see its signals", &format!("curl -s {}/sandbox/contacts/123456789", urls.control));
    row("a whole scripted call", "voice-gateway demo");
    say("");
    say("Ctrl-C stops it.");
}

const FAREWELL: Duration = Duration::from_secs(1);
