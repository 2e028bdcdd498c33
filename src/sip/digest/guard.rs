//! The UAS's side: challenges, and what is wrong with the credentials that come back (RFC 3261 sections 22.1 and 22.2).

use super::fields::{Fields, quoted};
use super::nonce::{Counts, Nonces};
use super::{Algorithm, Exchange, hex};
use crate::sip::message::{Request, Uri};
use crate::sip::recent::Recent;
use crate::sip::settings::Digest;
use crate::sip::sources::{Grant, Sources};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// It has no credentials for our realm.
    Missing,
    /// They are for a nonce that has expired, was used so often before, or is none of ours: ask again, the password may be right.
    Stale,
    /// The count was used before with this nonce.
    Replayed,
    /// User name or password is wrong, or the algorithm none of ours: which one it was is not told.
    Wrong,
    /// They cannot be read, or lack what RFC 7616 demands.
    Malformed(&'static str),
    /// They are for another resource.
    Uri,
    /// The source has been wrong too often: nothing of it is looked at for now.
    Limited,
}

impl Objection {
    /// The metric's label.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "digest_challenged",
            Self::Stale => "digest_stale",
            Self::Replayed => "digest_replayed",
            Self::Wrong => "digest_wrong",
            Self::Malformed(_) => "digest_malformed",
            Self::Uri => "digest_uri",
            Self::Limited => "digest_limited",
        }
    }

    /// Whether a new challenge shall say that the old one was merely stale; `None` where none is given.
    fn stale(self) -> Option<bool> {
        match self {
            Self::Missing | Self::Wrong => Some(false),
            Self::Stale | Self::Replayed => Some(true),
            Self::Malformed(_) | Self::Uri | Self::Limited => None,
        }
    }
}

/// Asks and judges.
pub(crate) struct Guard {
    nonces: Nonces,
    counts: Counts,
    opaque: String,
    failures: Sources,
    /// Guesses that were wrong: the same one that comes again is a retransmission, and no further guess.
    wrong: Recent<[u8; 32], ()>,
}

impl Guard {
    /// `seed` is the endpoint's: the keys are made from it.
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let opaque = derived(seed, b"digest opaque");
        Self {
            nonces: Nonces::new(derived(seed, b"digest nonce")),
            counts: Counts::default(),
            opaque: hex(opaque.get(..16).unwrap_or_default()),
            failures: Sources::new(FAILURES),
            wrong: Recent::new(MAX_WRONG),
        }
    }

    /// The challenges for an objection, the preferred first (RFC 8760 section 2.3); none where the answer is no 401.
    pub(crate) fn challenges(
        &mut self,
        now: Instant,
        digest: &Digest,
        objection: Objection,
        mut salt: impl FnMut() -> u64,
    ) -> Vec<String> {
        let Some(stale) = objection.stale() else { return Vec::new() };
        let stale = if stale { ", stale=true" } else { "" };
        digest
            .algorithms
            .iter()
            .map(|&algorithm| {
                let nonce = self.nonces.mint(now, salt(), algorithm);
                let (realm, opaque, algorithm) = (quoted(&digest.realm), &self.opaque, algorithm.name());
                format!(
                    "Digest realm={realm}, nonce=\"{nonce}\", opaque=\"{opaque}\", algorithm={algorithm}, qop=\"auth\"{stale}"
                )
            })
            .collect()
    }

    /// Whether `request` of `source` may pass.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        digest: &Digest,
        source: IpAddr,
        request: &Request,
    ) -> Result<(), Objection> {
        let fields = credentials(digest, request)?;
        let needed = |name: &str| fields.value(name).filter(|value| !value.is_empty());
        let lacks = Objection::Malformed;
        let username = needed("username").ok_or(lacks("username is missing"))?;
        let uri = needed("uri").ok_or(lacks("uri is missing"))?;
        let nonce = needed("nonce").ok_or(lacks("nonce is missing"))?;
        let response = needed("response").ok_or(lacks("response is missing"))?;
        if !needed("qop").is_some_and(|qop| qop.eq_ignore_ascii_case("auth")) {
            return Err(lacks("qop must be auth"));
        }
        let cnonce = needed("cnonce").ok_or(lacks("cnonce is missing"))?;
        let nc = needed("nc").ok_or(lacks("nc is missing"))?;
        let count = Some(nc).filter(|nc| nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit()));
        let count = count.and_then(|nc| u32::from_str_radix(nc, 16).ok()).filter(|count| *count > 0);
        let count = count.ok_or(lacks("nc is no count of eight hexadecimal digits"))?;

        let algorithm = Algorithm::named(fields.value("algorithm"));
        let algorithm = algorithm.filter(|one| digest.algorithms.contains(one)).ok_or(Objection::Wrong)?;
        let Some(stamp) = self.nonces.verify(now, nonce, algorithm) else { return Err(Objection::Stale) };
        if fields.value("opaque") != Some(self.opaque.as_str()) {
            return Err(Objection::Stale);
        }
        if !self.counts.is_fresh(stamp, count) {
            return Err(Objection::Replayed);
        }
        let guess = guess(request);
        if self.wrong.decided(now, &guess).is_some() {
            return Err(Objection::Wrong);
        }
        if !self.failures.has(now, source) {
            return Err(Objection::Limited);
        }
        let exchange = Exchange {
            algorithm,
            realm: &digest.realm,
            method: request.method.as_str(),
            uri,
            nonce,
            counted: Some((nc, cnonce)),
        };
        let right = exchange.response(&digest.username, &digest.password);
        let same_user = username.as_bytes().ct_eq(digest.username.as_bytes());
        let same_response = response.to_ascii_lowercase().as_bytes().ct_eq(right.as_bytes());
        if !bool::from(same_user & same_response) {
            self.failures.take(now, source);
            self.wrong.remember(now + RETRANSMITTED, guess, ());
            return Err(Objection::Wrong);
        }
        if !same_resource(uri, &request.uri) {
            return Err(Objection::Uri);
        }
        self.counts.mark(self.nonces.stamp(now), stamp, count);
        Ok(())
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

/// Those for our realm; of several the ones with the strongest algorithm, so that a weaker one beside it is no way in.
fn credentials(digest: &Digest, request: &Request) -> Result<Fields, Objection> {
    let mut ours = Vec::new();
    for field in request.headers.fields_of("Authorization").take(MAX_CREDENTIALS) {
        match Fields::parse(&field.value) {
            Some(Ok(fields)) if fields.value("realm") == Some(digest.realm.as_str()) => ours.push(fields),
            Some(Err(what)) => return Err(Objection::Malformed(what)),
            Some(Ok(_)) | None => {}
        }
    }
    let strength = |fields: &Fields| Algorithm::named(fields.value("algorithm"));
    // The first of the strongest: `max_by_key` would take the last.
    ours.into_iter().rev().max_by_key(strength).ok_or(Objection::Missing)
}

/// Whether the `uri` of the credentials names what the request is for: proxies may have changed its host and parameters, never
/// whom it calls.
fn same_resource(uri: &str, request_uri: &str) -> bool {
    let user = |text: &str| Uri::parse(text).ok().map(|uri| uri.user);
    // Some peers name the host alone. That a response is good for one request is the count's to see to.
    uri == request_uri || user(uri).is_some_and(|one| one.is_none() || Some(one) == user(request_uri))
}

/// All that the credentials say: nothing of a guess can be changed and still be the same one.
fn guess(request: &Request) -> [u8; 32] {
    let fields = request.headers.fields_of("Authorization");
    let hashed = fields.fold(Sha256::new(), |hashed, field| {
        hashed.chain_update(field.value.len().to_be_bytes()).chain_update(&field.value)
    });
    hashed.finalize().into()
}

/// A key of its own for each purpose.
fn derived(seed: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(seed).chain_update(purpose).finalize().into()
}

/// Wrong credentials of one source: slips pass, a guesser has one try a second.
const FAILURES: Grant = Grant { burst: 10, per_second: 1 };
/// A request whose answer was lost comes again for so long (64*T1).
const RETRANSMITTED: Duration = Duration::from_secs(32);
/// Wrong guesses that are remembered: beyond 512 a second a retransmission may count as one more.
const MAX_WRONG: usize = 16_384;
/// Authorization fields that are looked at: one for each realm on the way.
const MAX_CREDENTIALS: usize = 8;
