//! The choices that settings offer, each with the word the file uses.

use super::raw::{Node, Raw};
use super::reader::Scalar;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word that the file uses.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl Scalar for $name {
            fn parse(node: &Node) -> Result<Self, String> {
                match &node.raw {
                    $(Raw::Text(text) if text.eq_ignore_ascii_case($word) => Ok(Self::$variant),)*
                    _ => Err(format!("must be one of {}, not {}", [$(concat!("\"", $word, "\"")),*].join(", "), node.quoted())),
                }
            }

            fn show(&self) -> toml::Value {
                self.as_str().into()
            }
        }
    )*};
}

words! {
    /// Transport of a SIP socket.
    Transport {
        /// RFC 3261 section 18, datagrams.
        Udp = "udp",
        /// RFC 3261 section 18, streams.
        Tcp = "tcp",
        /// Streams within TLS.
        Tls = "tls",
    }
    /// What becomes of a call without an acceptable contact id.
    MissingContactId {
        /// 400 with a Warning header.
        Reject = "reject",
        /// Talk; every exit is a BYE, nothing can be signalled.
        Accept = "accept",
    }
    /// An audio codec by its name in SDP.
    Codec {
        /// G.711 mu-law, 8 kHz.
        Pcmu = "PCMU",
        /// G.711 A-law, 8 kHz.
        Pcma = "PCMA",
        /// G.722, 16 kHz.
        G722 = "G722",
        /// Opus, 16 kHz here; only in a build with the feature `opus`.
        Opus = "OPUS",
    }
    /// Which band calls shall have.
    BandPreference {
        /// 8 kHz: G.711.
        Narrowband = "narrowband",
        /// 16 kHz: G.722, Opus.
        Broadband = "broadband",
    }
    /// What is sent while nothing plays.
    Silence {
        /// Samples of zero.
        Silence = "silence",
        /// Faint noise.
        ComfortNoise = "comfort_noise",
    }
    /// Hash of digest authentication (RFC 8760).
    DigestAlgorithm {
        /// For every peer that knows it.
        Sha256 = "SHA-256",
        /// For peers of before 2020.
        Md5 = "MD5",
    }
    /// Encryption of RTP by SDES (RFC 4568).
    Srtp {
        /// Plain RTP only.
        Off = "off",
        /// Encrypted where the peer offers it.
        Optional = "optional",
        /// Calls without it are refused.
        Required = "required",
    }
    /// How Text to Speech is asked.
    SpeechTransport {
        /// `wss://…/v1/synthesize`.
        Websocket = "websocket",
        /// `POST …/v1/synthesize`, streamed.
        Http = "http",
    }
    /// How a CXone token is got.
    CxoneAuth {
        /// Access key id and secret at `cxone.token_url`.
        AccessKey = "access_key",
        /// OAuth password grant of a registered back-end application; the key pair is user name and password.
        OauthPassword = "oauth_password",
    }
    /// Where p1 to p9 of a signal travel.
    ParametersIn {
        /// All in the query.
        Query = "query",
        /// All in a JSON body.
        Body = "body",
        /// p1 in the query, the others in a JSON body.
        Split = "split",
    }
    /// What the log webhook is told.
    WebhookEvent {
        /// A call ended: its detail record.
        CdrLogged = "cdr_logged",
        /// A turn with the assistant ended.
        MessageLogged = "message_logged",
    }
    /// Form of log lines.
    LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Pretty = "pretty",
    }
}
