//! The sections of the file about SIP, sound and what the program itself does: every key with meaning, unit and default.

use super::checks::{between, cores, token, tokens, within};
use super::reader::{Reader, Setting, settings};
use super::values::{Listen, Pattern, PortRange, Store, literal};
use super::words::{Codec, DigestAlgorithm, LogFormat, MissingContactId, Silence, Srtp, Transport, WebhookEvent};
use ipnet::IpNet;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

settings! {
    /// `[sip]`: the leg towards CXone.
    Sip {
        /// Sockets: `udp:`, `tcp:`, `tls:` with address and port. Default `udp:0.0.0.0:5060` and `tcp:0.0.0.0:5060`.
        listen: Vec<Listen> = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address: any(5060) }).to_vec();
        /// Certificates of the `tls:` sockets.
        tls: Tls = Tls::default();
        /// The address written in Contact, Via and SDP behind NAT; without it the local address of the route.
        public_address: Option<IpAddr> = None;
        /// Networks that may send requests; empty means loopback only.
        allow_from: Vec<IpNet> = Vec::new();
        /// Drop requests of strangers on UDP silently instead of answering 403. Default false.
        drop_unknown: bool = false;
        /// Calls at once; above: 503 with Retry-After. 1 to 100,000, default 1000.
        max_calls: u32 = 1000, within(1, 100_000);
        /// New calls in a second; above: 503. 1 to 10,000, default 100.
        max_calls_per_second: u32 = 100, within(1, 10_000);
        /// Send 180 before 200. Default true.
        ringing: bool = true;
        /// INVITE headers given to the assistant, a trailing `*` standing for anything. Default `X-*`.
        extract_headers: Vec<String> = vec!["X-*".to_owned()], tokens("", "*");
        /// Headers that may carry the contact id; the first present one wins. Names compare without case.
        contact_id_headers: Vec<String> = ["X-ContactID", "X-Contact-ID", "X-InContact-ContactId"].map(str::to_owned).to_vec(),
            tokens("sip.missing_contact_id = \"accept\" does without a contact id", "");
        /// What a contact id looks like, whole and trimmed. Default `^[0-9]{1,19}$`.
        contact_id_pattern: Pattern = Pattern::digits();
        /// What becomes of a call without one. Default reject.
        missing_contact_id: MissingContactId = MissingContactId::Reject;
        /// Header of the 200 OK that carries the session key, for the script's Sipgetheader; empty is off.
        session_key_header: String = "X-Session-Key".to_owned(), |name: &String| if name.is_empty() { Ok(()) } else { token(name) };
        /// Shared secret that every INVITE must carry, 403 otherwise.
        required_header: Option<RequiredHeader> = None;
        /// Digest authentication of INVITE (RFC 8760).
        digest: Option<Digest> = None;
        /// Session timer (RFC 4028); zero is off, otherwise 90 s to 1 d. Default 30 minutes.
        session_expires: Duration = Duration::from_secs(1800), |value: &Duration| {
            if value.is_zero() { Ok(()) } else { between(seconds(90), seconds(86_400))(value).map_err(|error| format!("{error}; \"0s\" is off")) }
        };
        /// How long calls may go on after SIGTERM before they end by the error path, 0 s to 1 d. Default 30 s.
        drain_timeout: Duration = Duration::from_secs(30), between(Duration::ZERO, seconds(86_400));
    }
}

settings! {
    /// `[sip.tls]`: PEM files of the `tls:` sockets, read again when they change and on SIGHUP.
    Tls {
        /// Our certificate chain.
        certificate_file: Option<PathBuf> = None;
        /// Its private key.
        private_key_file: Option<PathBuf> = None;
        /// Authorities whose client certificates are demanded and accepted.
        client_ca_file: Option<PathBuf> = None;
    }
}

/// `[sip.required_header]`: a shared secret in a header.
#[derive(Clone, Debug)]
pub struct RequiredHeader {
    /// Its name, compared without case.
    pub name: String,
    /// Its value, compared in constant time.
    pub value: SecretString,
}

/// `[sip.digest]`: who may call.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Shown in the challenge.
    pub realm: String,
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// Hashes that are asked for, in this order, and accepted. Default SHA-256, MD5.
    pub algorithms: Vec<DigestAlgorithm>,
}

settings! {
    /// `[media]`: RTP.
    Media {
        /// Local address of the RTP sockets. Default 0.0.0.0.
        bind_address: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        /// UDP ports, a pair a call: RTP even, RTCP odd. Default 20000 to 29999.
        port_range: PortRange = PortRange { first: 20_000, last: 29_999 };
        /// Codecs in order of preference. Default PCMU, PCMA, G722.
        codecs: Vec<Codec> = vec![Codec::Pcmu, Codec::Pcma, Codec::G722], |codecs: &Vec<Codec>| {
            match codecs.iter().enumerate().find(|(index, codec)| codecs.iter().take(*index).any(|before| before == *codec)) {
                Some((_, twice)) => Err(format!("names {} twice", twice.as_str())),
                None if codecs.is_empty() => Err("must name at least one of \"PCMU\", \"PCMA\", \"G722\", \"OPUS\"".to_owned()),
                None => Ok(()),
            }
        };
        /// Encryption of RTP. Default optional.
        srtp: Srtp = Srtp::Optional;
        /// Whether its keys may be exchanged by SIP over UDP and TCP. Default false.
        srtp_without_tls: bool = false;
        /// A call without any RTP for so long ends by the error path, 1 s to 1 h. Default 30 s.
        rtp_timeout: Duration = Duration::from_secs(30), between(seconds(1), seconds(3600));
        /// Delay of the jitter buffer.
        jitter_buffer: JitterBuffer = JitterBuffer::default();
        /// What is sent while nothing plays. Default silence.
        silence: Silence = Silence::Silence;
        /// Listen for keys as sound too, for trunks that send them no other way. Default false.
        inband_dtmf: bool = false;
        /// Folder of the stereo WAV of each call; none are written without it.
        recording_dir: Option<PathBuf> = None;
        /// Seals recordings: 32 bytes as base64. They are plain WAV without it.
        recording_key: Option<SecretString> = None;
        /// Threads that pace RTP, at most 64; 0 is one for each of `worker_cores`, or a quarter of the cores, at least one. Default 0.
        workers: u16 = 0, within(0, 64);
        /// Cores that they stay on, in turn. Default none: the system places them.
        worker_cores: Vec<u16> = Vec::new(), cores;
    }
}

settings! {
    /// `[media.jitter_buffer]`: the bounds of its delay, which follows the measured jitter.
    JitterBuffer {
        /// Least, 0 ms to 500 ms. Default 20 ms.
        min: Duration = Duration::from_millis(20), between(Duration::ZERO, Duration::from_millis(500));
        /// Greatest, 20 ms to 2 s. Default 200 ms.
        max: Duration = Duration::from_millis(200), between(Duration::from_millis(20), seconds(2));
    }
}

settings! {
    /// `[history]`: transcripts.
    History {
        /// Where they are kept. Default `sqlite:data/voice-gateway.db`.
        store: Store = Store::Sqlite("data/voice-gateway.db".into());
        /// How long, 1 m to 3650 d. Default 30 d.
        retention: Duration = Duration::from_secs(30 * 86_400), between(seconds(60), seconds(3650 * 86_400));
        /// Public base of the agent's page, as agents' browsers reach it. Default `http://127.0.0.1:8081`.
        agent_url: Url = literal("http://127.0.0.1:8081");
    }
}

settings! {
    /// `[webhook]`: the log webhook.
    Webhook {
        /// Where events are posted; none are without it.
        url: Option<Url> = None;
        /// Signs the JWT of each request (HS256).
        secret: Option<SecretString> = None;
        /// Which events. Default both.
        events: Vec<WebhookEvent> = vec![WebhookEvent::CdrLogged, WebhookEvent::MessageLogged];
        /// Plain HTTP also off loopback. Default false.
        allow_insecure: bool = false;
    }
}

settings! {
    /// `[agent]`: the page that PopURL opens.
    Agent {
        /// Its socket. Default 127.0.0.1:8081.
        listen: SocketAddr = local(8081);
        /// Who may show it in a frame (CSP `frame-ancestors`). Default itself and CXone's domains.
        frame_ancestors: Vec<String> = [
            "'self'",
            "https://*.niceincontact.com",
            "https://*.nice-incontact.com",
            "https://*.nicecxone.com",
        ].map(str::to_owned).to_vec(), super::checks::frame_ancestors;
    }
}

settings! {
    /// `[admin]`: health, metrics, calls.
    Admin {
        /// Its socket. Default 127.0.0.1:8080.
        listen: SocketAddr = local(8080);
        /// Bearer token of all but health and readiness; required off loopback.
        token: Option<SecretString> = None;
    }
}

settings! {
    /// `[sandbox]`: the other side of every wire, for development.
    Sandbox {
        /// Folder of the speech models; without it the user's cache folder.
        models_dir: Option<PathBuf> = None;
    }
}

settings! {
    /// `[log]`: lines on stderr.
    Log {
        /// Their form. Default json.
        format: LogFormat = LogFormat::Json;
        /// Level, or levels by module as in `info,voice_gateway::call=debug`. Default info.
        level: String = "info".to_owned(), super::checks::log_level;
        /// Let what callers say into the log. Default false.
        transcripts: bool = false;
    }
}

impl Setting for Option<RequiredHeader> {
    fn read(from: &mut Reader<'_>, key: &'static str, _default: Self) -> Self {
        from.table(key, |table| {
            let name = mandatory(table, "name");
            if let Some(Err(message)) = name.as_ref().map(token) {
                table.wrong("name", message);
            }
            let value = mandatory_secret(table, "value");
            Some(RequiredHeader { name: name?, value: value? })
        })
        .flatten()
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        if let Some(header) = self {
            let mut table = toml::Table::new();
            header.name.write("name", &mut table);
            Some(header.value.clone()).write("value", &mut table);
            out.insert(key.to_owned(), table.into());
        }
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.extend(["name", "value", "value_file"].map(|key| format!("{path}.{key}")));
    }
}

impl Setting for Option<Digest> {
    fn read(from: &mut Reader<'_>, key: &'static str, _default: Self) -> Self {
        from.table(key, |table| {
            let (realm, username) = (mandatory(table, "realm"), mandatory(table, "username"));
            let password = mandatory_secret(table, "password");
            let default = || vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5];
            let some = |list: &Vec<_>| if list.is_empty() { Err("must name at least one".to_owned()) } else { Ok(()) };
            let algorithms = table.setting("algorithms", default, &[&some]);
            Some(Digest { realm: realm?, username: username?, password: password?, algorithms })
        })
        .flatten()
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        if let Some(digest) = self {
            let mut table = toml::Table::new();
            digest.realm.write("realm", &mut table);
            digest.username.write("username", &mut table);
            Some(digest.password.clone()).write("password", &mut table);
            digest.algorithms.write("algorithms", &mut table);
            out.insert(key.to_owned(), table.into());
        }
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.extend(["realm", "username", "password", "password_file", "algorithms"].map(|key| format!("{path}.{key}")));
    }
}

fn mandatory(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let given = table.table.contains_key(key);
    match Option::<String>::read(table, key, None) {
        Some(text) if text.is_empty() => table.wrong(key, "must not be empty"),
        Some(text) => return Some(text),
        None if !given => table.wrong(key, "missing: this table needs it"),
        None => {}
    }
    None
}

fn mandatory_secret(table: &mut Reader<'_>, key: &'static str) -> Option<SecretString> {
    let given = table.table.contains_key(key) || table.table.contains_key(&format!("{key}_file"));
    let secret = table.secret(key);
    if secret.is_none() && !given {
        table.wrong(key, format!("missing: this table needs it, or {key}_file"));
    }
    secret
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
