//! How plain values are read and written: truth, numbers, text, paths, durations, addresses, networks, URLs.

use super::duration;
use super::raw::{Node, Raw};
use super::reader::Scalar;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

impl Scalar for bool {
    fn parse(node: &Node) -> Result<Self, String> {
        match &node.raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Text(text) if node.variable.is_some() && text.eq_ignore_ascii_case("true") => Ok(true),
            Raw::Text(text) if node.variable.is_some() && text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(format!("must be true or false, not {}", node.quoted())),
        }
    }

    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Scalar for $number {
            fn parse(node: &Node) -> Result<Self, String> {
                let number = match &node.raw {
                    Raw::Integer(value) => Some(*value),
                    Raw::Text(text) if node.variable.is_some() => text.trim().parse().ok(),
                    _ => None,
                };
                number.and_then(|number| Self::try_from(number).ok()).ok_or_else(|| {
                    format!("must be a whole number from 0 to {}, not {}", Self::MAX, node.quoted())
                })
            }

            fn show(&self) -> toml::Value {
                i64::from(*self).into()
            }
        }
    )*};
}
whole_numbers!(u16, u32);

impl Scalar for f64 {
    fn parse(node: &Node) -> Result<Self, String> {
        let number = match &node.raw {
            Raw::Float(value) => Some(*value),
            Raw::Integer(value) => i32::try_from(*value).ok().map(Self::from),
            Raw::Text(text) if node.variable.is_some() => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|value| value.is_finite()).ok_or_else(|| format!("must be a number, not {}", node.quoted()))
    }

    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

impl Scalar for String {
    fn parse(node: &Node) -> Result<Self, String> {
        text(node).map(str::to_owned)
    }

    fn show(&self) -> toml::Value {
        self.clone().into()
    }
}

impl Scalar for PathBuf {
    fn parse(node: &Node) -> Result<Self, String> {
        match text(node)? {
            "" => Err("must be a path, not empty".to_owned()),
            path => Ok(path.into()),
        }
    }

    fn show(&self) -> toml::Value {
        self.display().to_string().into()
    }
}

impl Scalar for Duration {
    fn parse(node: &Node) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be a duration with its unit, such as \"250ms\", \"7s\", \"5m\" or \"30d\", not {}",
                node.quoted()
            )
        };
        match &node.raw {
            Raw::Text(text) => duration::parse(text.trim()).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }

    fn show(&self) -> toml::Value {
        duration::show(*self).into()
    }
}

impl Scalar for IpAddr {
    fn parse(node: &Node) -> Result<Self, String> {
        text(node)?.parse().map_err(|_| format!("must be an IP address such as \"203.0.113.7\", not {}", node.quoted()))
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Scalar for SocketAddr {
    fn parse(node: &Node) -> Result<Self, String> {
        text(node)?
            .parse()
            .map_err(|_| format!("must be an IP address and a port such as \"127.0.0.1:8080\", not {}", node.quoted()))
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Scalar for IpNet {
    fn parse(node: &Node) -> Result<Self, String> {
        let text = text(node)?;
        let net = text.parse::<Self>().or_else(|_| text.parse::<IpAddr>().map(Self::from));
        net.map(|net| net.trunc()).map_err(|_| {
            format!("must be a network such as \"203.0.113.0/24\" or an IP address, not {}", node.quoted())
        })
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Scalar for Url {
    /// Only HTTP comes out: a `wss:` URL of a Watson service says the same as `https:`.
    fn parse(node: &Node) -> Result<Self, String> {
        let text = text(node)?.trim();
        let mut url =
            Self::parse(text).map_err(|error| format!("must be a URL such as \"https://host/path\": {error}"))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            other => return Err(format!("must be an https: URL, not {other}:")),
        };
        if url.set_scheme(scheme).is_err() {
            return Err("must be an https: URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("must not hold a fragment (#…)".to_owned());
        }
        Ok(url)
    }

    fn show(&self) -> toml::Value {
        self.as_str().into()
    }
}

/// The text of a node, or what it should have been.
pub(super) fn text(node: &Node) -> Result<&str, String> {
    match &node.raw {
        Raw::Text(text) => Ok(text),
        _ => Err(format!("must be text in quotes, not {}", node.quoted())),
    }
}

/// The line of an error with several that says what is wrong.
pub(super) fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
