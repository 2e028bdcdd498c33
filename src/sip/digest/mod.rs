//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): SHA-256 and MD5, `qop=auth`.
//!
//! `Guard` asks and judges as UAS, [`respond`] answers as UAC. Left out on purpose: `auth-int`, `-sess` algorithms, `userhash`
//! and Authentication-Info, which no trunk asks for, and answers without `qop`, which anybody could replay.

mod fields;
mod guard;
mod nonce;
mod respond;

pub use fields::Fields;
pub(crate) use guard::{Guard, Objection};
pub use respond::respond;

use md5::Md5;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What a call of our own answers challenges with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// Hash of a challenge, the weaker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RFC 2617's, and what a challenge without a name means.
    Md5,
    /// RFC 8760's.
    Sha256,
}

impl Algorithm {
    /// By its name; without one it is MD5.
    fn named(name: Option<&str>) -> Option<Self> {
        let name = name.unwrap_or(Self::Md5.name());
        [Self::Sha256, Self::Md5].into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Lower-case hexadecimal of the hash of `parts` with colons between them.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// What goes into one response (RFC 7616 section 3.4.1).
struct Exchange<'a> {
    algorithm: Algorithm,
    realm: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// `nc` and `cnonce` where `qop=auth` is used; without them it is RFC 2069's.
    counted: Option<(&'a str, &'a str)>,
}

impl Exchange<'_> {
    fn response(&self, username: &str, password: &SecretString) -> String {
        let ha1 = self.algorithm.hash(&[username, self.realm, password.expose_secret()]);
        let ha2 = self.algorithm.hash(&[self.method, self.uri]);
        match self.counted {
            Some((nc, cnonce)) => self.algorithm.hash(&[&ha1, self.nonce, nc, cnonce, "auth", &ha2]),
            None => self.algorithm.hash(&[&ha1, self.nonce, &ha2]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 section 3.9.1, which RFC 8760 takes over, and RFC 2617 section 3.5.
    #[test]
    fn the_examples_of_the_rfcs_come_out() {
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let mut exchange = Exchange {
            algorithm: Algorithm::Md5,
            realm: "http-auth@example.org",
            method: "GET",
            uri: "/dir/index.html",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            counted: Some(("00000001", cnonce)),
        };
        let password = SecretString::from("Circle of Life");
        assert_eq!(exchange.response("Mufasa", &password), "8ca523f5e9506fed4657c9700eebdbec");
        exchange.algorithm = Algorithm::Sha256;
        assert_eq!(
            exchange.response("Mufasa", &password),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        let older = Exchange {
            algorithm: Algorithm::Md5,
            realm: "testrealm@host.com",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            counted: Some(("00000001", "0a4f113b")),
            ..exchange
        };
        let password = SecretString::from("Circle Of Life");
        assert_eq!(older.response("Mufasa", &password), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn algorithms_have_names_in_any_case_and_md5_none() {
        for (name, algorithm) in [
            (None, Some(Algorithm::Md5)),
            (Some("md5"), Some(Algorithm::Md5)),
            (Some("sha-256"), Some(Algorithm::Sha256)),
            (Some("MD5-sess"), None),
            (Some("SHA-512-256"), None),
            (Some(""), None),
        ] {
            assert_eq!(Algorithm::named(name), algorithm, "{name:?}");
        }
        assert!(Algorithm::Sha256 > Algorithm::Md5);
    }
}
