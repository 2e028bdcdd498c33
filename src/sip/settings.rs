//! What an operator can set of the SIP endpoint, and RFC 3261's timer values (section 17.1.1.1, table 4).

use super::digest::Algorithm;
use ipnet::IpNet;
use secrecy::SecretString;
use std::net::IpAddr;
use std::time::Duration;

/// Settings of one endpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Written in Contact and Via instead of the local address of the route.
    pub public_address: Option<IpAddr>,
    /// Who may send requests; others get 403. Empty: loopback only.
    pub allow_from: Vec<IpNet>,
    /// Strangers on UDP get no answer at all instead of 403.
    pub drop_unknown: bool,
    /// A shared secret that every INVITE outside a dialog must carry, else 403.
    pub required_header: Option<RequiredHeader>,
    /// Digest authentication of every INVITE outside a dialog.
    pub digest: Option<Digest>,
    /// Calls at once; at the cap an INVITE gets 503 with Retry-After.
    pub max_calls: usize,
    /// INVITEs admitted in any one second; above it 503 with Retry-After.
    pub max_calls_per_second: u32,
    /// Longest session without a refresh (RFC 4028); zero runs no session timer.
    pub session_expires: Duration,
    /// Timers: only tests change them.
    pub timing: Timing,
}

/// A header that must hold a secret, compared in constant time.
#[derive(Clone, Debug)]
pub struct RequiredHeader {
    /// Its name, case-insensitive.
    pub name: String,
    /// Its value.
    pub value: SecretString,
}

/// Whom digest authentication lets in (RFC 8760).
#[derive(Clone, Debug)]
pub struct Digest {
    /// Shown in the challenge.
    pub realm: String,
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// Hashes that are asked for, in this order, and accepted.
    pub algorithms: Vec<Algorithm>,
}

/// RFC 3261's base timers.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest interval between retransmissions.
    pub t2: Duration,
    /// How long a message may live in the network.
    pub t4: Duration,
    /// How long an INVITE may stay without a final answer, ours or theirs (Timer C's length, section 16.6).
    pub ringing: Duration,
}

impl Settings {
    /// Whether `source` may send requests and open connections at all.
    #[must_use]
    pub fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        if self.allow_from.is_empty() {
            return source.is_loopback();
        }
        self.allow_from.iter().any(|net| net.contains(&source))
    }
}

impl Timing {
    /// 64*T1: how long a transaction is tried.
    #[must_use]
    pub fn t1x64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_address: None,
            allow_from: Vec::new(),
            drop_unknown: false,
            required_header: None,
            digest: None,
            max_calls: 1000,
            max_calls_per_second: 100,
            session_expires: Duration::from_secs(1800),
            timing: Timing::default(),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            ringing: Duration::from_secs(180),
        }
    }
}
