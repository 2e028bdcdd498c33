//! `call`: one test call, as CXone's Placecall would place it, against any gateway, and all that a trunk's engineer wants to see of it.

mod course;
mod outcome;
mod values;

use super::Exit;
use super::terminal::{complain, note, say};
use crate::app::log;
use crate::app::phone::{Credentials, Phone, Placing, TlsFiles, Transport, Trust};
use crate::audio::wav;
use crate::media::sdp::{Codec, Encryption};
use outcome::Outcome;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// `call`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Call {
    /// Whom to call, as in sip:100@127.0.0.1:5060;transport=tcp
    #[arg(value_name = "SIP-URI")]
    uri: String,
    /// The contact that Placecall would name, sent as X-ContactID
    #[arg(long, value_name = "N")]
    contact_id: Option<String>,
    /// A header of the INVITE, as in 'X-Skill: sales'; may be given several times
    #[arg(long = "header", value_name = "X-A: b", value_parser = values::header)]
    headers: Vec<(String, String)>,
    /// A sound to play once the call is answered: mono WAV of 16 bits at 8, 16, 24 or 48 kHz
    #[arg(long, value_name = "WAV")]
    play: Option<PathBuf>,
    /// Keys to press once the sound is played (0-9, *, #, A-D), as telephone-events
    #[arg(long, value_name = "DIGITS", value_parser = values::digits)]
    dtmf: Option<String>,
    /// Record the call as stereo WAV: left what is heard, right what is said
    #[arg(long, value_name = "WAV")]
    record: Option<PathBuf>,
    /// Hang up so many seconds after the answer; without it the other side or Ctrl-C ends the call
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Who calls, as a URI: From of the INVITE
    #[arg(long, value_name = "URI", help_heading = "Signalling")]
    from: Option<String>,
    /// Who we are where the gateway asks for a digest (401, 407)
    #[arg(long, value_name = "NAME", requires = "password_file", help_heading = "Signalling")]
    user: Option<String>,
    /// File with the password of --user; its last line break does not count
    #[arg(long, value_name = "FILE", requires = "user", help_heading = "Signalling")]
    password_file: Option<PathBuf>,
    /// How to get there, udp, tcp or tls; without it the URI says, else udp
    #[arg(long, value_name = "TRANSPORT", value_parser = values::transport, help_heading = "Signalling")]
    transport: Option<Transport>,
    /// PEM file of the authorities that the gateway's certificate is checked against; without it the web's are
    #[arg(long, value_name = "FILE", conflicts_with = "tls_insecure", help_heading = "Signalling")]
    tls_ca: Option<PathBuf>,
    /// Take whatever certificate the gateway shows
    #[arg(long, help_heading = "Signalling")]
    tls_insecure: bool,
    /// PEM file of a certificate to show to the gateway
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Signalling")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Signalling")]
    tls_key: Option<PathBuf>,
    /// A codec to offer: PCMU, PCMA, G722 (and opus, where it was built in); may be given several times, the preferred one first.
    /// Without it all are offered
    #[arg(long = "codec", value_name = "CODEC", value_parser = values::codec, help_heading = "Signalling")]
    codecs: Vec<Codec>,
    /// Encrypt the sound: off, optional (RTP/AVP with a=crypto) or required (RTP/SAVP). The keys go by the transport of the call
    #[arg(long, value_name = "HOW", default_value = "off", value_parser = values::srtp, help_heading = "Signalling")]
    srtp: Encryption,
    /// Send the INVITE without an offer: the gateway makes it in its 200, and our ACK answers
    #[arg(long, help_heading = "Signalling")]
    late_offer: bool,
    /// Once the call is answered, hold it by re-INVITE (sendonly) for so many seconds, then resume it
    #[arg(long, value_name = "SECONDS", value_parser = values::duration, help_heading = "Signalling")]
    hold: Option<Duration>,
    /// Take the call back by CANCEL so long after the INVITE, as in 500ms or 2s. That it ends with 487 is then the success;
    /// where the answer is faster the call is ended by BYE
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Signalling")]
    cancel_after: Option<Duration>,
    /// Print the headers of the final answer, the session key excepted
    #[arg(long = "headers", help_heading = "What to print")]
    show_headers: bool,
    /// Print every SIP message of the call with its time
    #[arg(long, help_heading = "What to print")]
    ladder: bool,
    /// One JSON object with what came of it, for machines; with --headers and --ladder these too
    #[arg(long, help_heading = "What to print")]
    json: bool,
}

pub(super) async fn run(call: Call) -> Exit {
    if let Err(error) = log::install(log::Format::Pretty, "warn") {
        complain(&error.to_string());
        return Exit::Failed;
    }
    match place(&call).await {
        Ok(outcome) => {
            if call.json {
                say(&outcome.json(&call).to_string());
            } else {
                outcome.tell(&call);
            }
            if outcome.clean() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => {
            if call.json {
                say(&json!({"uri": call.uri, "answered": false, "ok": false, "error": error}).to_string());
            } else {
                complain(&error);
            }
            Exit::Failed
        }
    }
}

async fn place(call: &Call) -> Result<Outcome, String> {
    let sound = match &call.play {
        None => wav::Clip::default(),
        Some(path) => {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let file = std::fs::File::open(path).map_err(|error| named(&error))?;
            wav::read(std::io::BufReader::new(file)).map_err(|error| named(&error))?
        }
    };
    let mut headers = Vec::new();
    if let Some(contact_id) = &call.contact_id {
        headers.push(("X-ContactID".to_owned(), contact_id.clone()));
    }
    headers.extend(call.headers.iter().cloned());
    let credentials = credentials(call)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(|error| format!("Ctrl-C cannot be watched: {error}"))?;
    let trust = match &call.tls_ca {
        _ if call.tls_insecure => Trust::Anybody,
        Some(file) => Trust::File(file.clone()),
        None => Trust::Authorities,
    };
    let files = call.tls_cert.clone().zip(call.tls_key.clone());
    let certificate = files.map(|(certificate, private_key)| TlsFiles { certificate, private_key, client_ca: None });
    let phone = Phone::believing(&call.uri, trust, certificate).await.map_err(|error| error.to_string())?;
    let placing = Placing {
        uri: call.uri.clone(),
        from: call.from.clone().unwrap_or_default(),
        transport: call.transport,
        codecs: call.codecs.clone(),
        encryption: call.srtp,
        late_offer: call.late_offer,
        credentials,
        headers,
        record: call.record.clone(),
    };
    let placed = phone.call(placing).await.map_err(|error| error.to_string())?;
    if !call.json {
        note(&format!("calling {}", call.uri));
    }
    let mut outcome = course::hold(call, placed, &sound, interrupt).await;
    if call.ladder {
        outcome.ladder = phone.ladder();
    }
    phone.put_away().await;
    Ok(outcome)
}

fn credentials(call: &Call) -> Result<Option<Credentials>, String> {
    let Some((username, path)) = call.user.clone().zip(call.password_file.as_ref()) else { return Ok(None) };
    let password = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let password =
        password.strip_suffix('\n').map_or(password.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Some(Credentials { username, password: password.to_owned().into() }))
}
