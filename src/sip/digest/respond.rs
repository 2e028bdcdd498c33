//! The UAC's side: the answer to a 401 or 407 (RFC 3261 section 22.2, RFC 8760 section 2.4).

use super::fields::{Fields, quoted};
use super::{Algorithm, Credentials, Exchange};
use crate::sip::message::Request;

/// The credentials for one of `challenges`, which are the values of WWW-Authenticate or Proxy-Authenticate: the strongest that
/// we know, whatever order they stand in. `again` says that the request already carried credentials: then only a stale nonce is
/// answered, for a wrong password does not get right by repetition.
#[must_use]
pub fn respond<'a>(
    challenges: impl IntoIterator<Item = &'a str>,
    credentials: &Credentials,
    request: &Request,
    again: bool,
    cnonce: &str,
) -> Option<String> {
    let readable = challenges.into_iter().filter_map(|text| Fields::parse(text)?.ok());
    let known: Vec<Challenge> = readable.filter_map(Challenge::new).collect();
    let Challenge { algorithm, realm, nonce, fields, counted } =
        known.into_iter().rev().max_by_key(|challenge| challenge.algorithm)?;
    if again && !fields.value("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")) {
        return None;
    }
    let exchange = Exchange {
        algorithm,
        realm: &realm,
        method: request.method.as_str(),
        uri: &request.uri,
        nonce: &nonce,
        counted: counted.then_some((FIRST, cnonce)),
    };
    let response = exchange.response(&credentials.username, &credentials.password);
    let [username, uri] = [&credentials.username, &request.uri].map(|text| quoted(text));
    let [realm, nonce] = [&realm, &nonce].map(|text| quoted(text));
    let mut value =
        format!("Digest username={username}, realm={realm}, nonce={nonce}, uri={uri}, response=\"{response}\"");
    if fields.value("algorithm").is_some() {
        value.push_str(&format!(", algorithm={}", algorithm.name()));
    }
    if counted {
        value.push_str(&format!(", qop=auth, nc={FIRST}, cnonce={}", quoted(cnonce)));
    }
    if let Some(opaque) = fields.value("opaque") {
        value.push_str(&format!(", opaque={}", quoted(opaque)));
    }
    Some(value)
}

/// A challenge that we can meet.
struct Challenge {
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    /// Whether it offers `qop=auth`; one without `qop` is RFC 2069's.
    counted: bool,
    fields: Fields,
}

impl Challenge {
    fn new(fields: Fields) -> Option<Self> {
        let algorithm = Algorithm::named(fields.value("algorithm"))?;
        let (realm, nonce) = (fields.value("realm")?.to_owned(), fields.value("nonce")?.to_owned());
        let counted = match fields.value("qop") {
            Some(offered) if offered.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
            None => false,
        };
        Some(Self { algorithm, realm, nonce, counted, fields })
    }
}

/// Each challenge is answered once.
const FIRST: &str = "00000001";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Headers, Method};
    use bytes::Bytes;

    fn answer(challenges: &[&str], again: bool) -> Option<Fields> {
        let credentials = Credentials { username: "Mufasa".into(), password: "Circle of Life".into() };
        let (uri, headers) = ("/dir/index.html".to_owned(), Headers::default());
        let request = Request { method: Method::new("GET"), uri, headers, body: Bytes::new() };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let value = respond(challenges.iter().copied(), &credentials, &request, again, cnonce)?;
        Some(Fields::parse(&value).unwrap().unwrap())
    }

    const REALM: &str = "realm=\"http-auth@example.org\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\"";

    #[test]
    fn the_strongest_challenge_is_answered_as_the_rfc_does() {
        let md5 = format!("Digest {REALM}, qop=\"auth, auth-int\", algorithm=MD5, opaque=\"FQ\"");
        let sha256 = md5.replace("MD5", "SHA-256");
        let unknown = md5.replace("MD5", "SHA-512-256");
        for order in [[&unknown, &md5, &sha256], [&sha256, &md5, &unknown]] {
            let answer = answer(&order.map(String::as_str), false).unwrap();
            for (name, value) in [
                ("response", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
                ("algorithm", "SHA-256"),
                ("nc", "00000001"),
                ("opaque", "FQ"),
                ("qop", "auth"),
                ("username", "Mufasa"),
                ("uri", "/dir/index.html"),
            ] {
                assert_eq!(answer.value(name), Some(value), "{name}");
            }
        }
        assert_eq!(answer(&[&md5], false).unwrap().value("response"), Some("8ca523f5e9506fed4657c9700eebdbec"));
    }

    #[test]
    fn a_challenge_of_old_is_answered_as_of_old() {
        let old = answer(&[&format!("Digest {REALM}")], false).unwrap();
        assert_eq!((old.value("qop"), old.value("nc"), old.value("algorithm")), (None, None, None));
        assert_eq!(old.value("response").map(str::len), Some(32));
    }

    #[test]
    fn what_cannot_be_met_is_not_answered_and_a_wrong_password_not_repeated() {
        let fresh = format!("Digest {REALM}, qop=\"auth\"");
        let stale = format!("{fresh}, stale=TRUE");
        assert!(answer(&[&fresh], true).is_none() && answer(&[&stale], true).is_some());
        for text in [
            &format!("Digest {REALM}, qop=\"auth-int\""),
            &format!("Digest {REALM}, algorithm=MD5-sess"),
            "Digest realm=\"r\"",
            "Digest realm=\"r",
            "Basic realm=\"r\"",
        ] {
            assert!(answer(&[text], false).is_none(), "{text}");
        }
        assert!(answer(&[], false).is_none());
    }
}
