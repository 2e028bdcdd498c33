//! Which URLs the client will talk to: `https`, or loopback for the sandbox; what discovery names must be CXone's own.

use url::{Host, Url};

/// Where the token comes from, and the API base.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) token: Url,
    pub(super) api: Api,
}

/// How the API base is known.
#[derive(Clone, Debug)]
pub(super) enum Api {
    /// `cxone.api_url`.
    Fixed(Url),
    /// To be asked for at `cxone.discovery_url`.
    Discovered(Url),
}

impl Endpoints {
    /// Whether every request goes to this machine, where no proxy can help.
    pub(super) fn all_loopback(&self) -> bool {
        let (Api::Fixed(api) | Api::Discovered(api)) = &self.api;
        is_loopback(&self.token) && is_loopback(api)
    }
}

/// A URL that the operator wrote.
pub(super) fn configured(text: &str, allow_insecure: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|reason| format!("not a URL ({reason}): use https://host/path"))?;
    check(&url, allow_insecure || is_loopback(&url))?;
    Ok(url)
}

/// An API base that discovery named. It gets the bearer token, and what it names comes over the network: it must be
/// CXone's own, or on loopback when discovery is (the sandbox).
pub(super) fn discovered(text: &str, asked: &Url, allowed: &[String], allow_insecure: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|reason| format!("api_endpoint is not a URL ({reason})"))?;
    let loopback = is_loopback(&url);
    check(&url, allow_insecure || loopback).map_err(|what| format!("api_endpoint {what}"))?;
    let host = url.host_str().unwrap_or_default();
    let known = if loopback { is_loopback(asked) } else { allowed.iter().any(|parent| is_within(host, parent)) };
    match known {
        true => Ok(url),
        false => Err(format!("api_endpoint host {host} is not in cxone.allowed_hosts")),
    }
}

/// `path`, already percent-encoded, below a base whatever slash that ends in.
pub(super) fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn check(url: &Url, insecure: bool) -> Result<(), String> {
    if url.host().is_none() {
        return Err("names no host: use https://host/path".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("carries a user name or password: credentials have keys of their own".into());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if insecure => Ok(()),
        "http" => Err("is http: use https (http is for loopback, or with allow_insecure = true)".into()),
        other => Err(format!("has scheme {other}: use https")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_within(host: &str, parent: &str) -> bool {
    let parent = parent.trim_start_matches('.').to_ascii_lowercase();
    !parent.is_empty() && host.strip_suffix(&parent).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_urls_are_https_or_loopback() {
        assert!(configured("https://na1.nice-incontact.com/token", false).is_ok());
        assert!(configured("http://127.0.0.1:8080/token", false).is_ok());
        assert!(configured("http://[::1]:8080/token", false).is_ok());
        assert!(configured("http://localhost/token", false).is_ok());
        assert!(configured("http://10.0.0.1/token", true).is_ok());
        for bad in ["http://10.0.0.1/token", "ftp://example.com/", "example.com", "", "https://a:b@example.com/"] {
            assert!(configured(bad, false).is_err(), "{bad}");
        }
        assert!(configured("file:///etc/passwd", true).is_err());
    }

    #[test]
    fn a_discovered_base_is_cxones_own() {
        let asked = Url::parse("https://cxone.niceincontact.com/x").unwrap();
        let allowed = ["niceincontact.com".to_owned(), ".Nice-InContact.com".to_owned()];
        let accept = |text| discovered(text, &asked, &allowed, false);
        assert!(accept("https://api-na1.niceincontact.com").is_ok());
        assert!(accept("https://API-B32.nice-incontact.com/").is_ok());
        for bad in [
            "http://api-na1.niceincontact.com",
            "https://evilniceincontact.com",
            "https://niceincontact.com.evil.example",
            "https://evil.example/niceincontact.com",
            "https://niceincontact.com@evil.example/",
            "http://127.0.0.1:8080",
            "https://169.254.169.254/",
            "https://localhost/",
            "not a url",
        ] {
            assert!(accept(bad).is_err(), "{bad}");
        }
        let sandbox = Url::parse("http://127.0.0.1:9000/x").unwrap();
        assert!(discovered("http://127.0.0.1:9001", &sandbox, &allowed, false).is_ok());
    }

    #[test]
    fn a_trailing_slash_does_not_double_and_encoding_stays() {
        for base in ["https://api.example", "https://api.example/", "https://api.example/?x=1#y"] {
            assert_eq!(
                under(&Url::parse(base).unwrap(), "a/1%2F..%0D/b").as_str(),
                "https://api.example/a/1%2F..%0D/b"
            );
        }
        assert_eq!(
            under(&Url::parse("https://api.example/base/").unwrap(), "a").as_str(),
            "https://api.example/base/a"
        );
    }
}
