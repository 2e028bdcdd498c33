//! What of this machine's settings does not fit the range of RTP ports and the calls that are allowed.

use super::ports::pairs;
use std::fmt;
use std::ops::RangeInclusive;

/// What is better mended before the first call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortWarning {
    /// Other programs may be given ports of our range by the kernel.
    Ephemeral {
        /// Our range.
        ours: (u16, u16),
        /// The kernel's.
        kernels: (u16, u16),
    },
    /// Fewer pairs than calls.
    Few {
        /// Pairs in the range.
        pairs: usize,
        /// `sip.max_calls`.
        max_calls: usize,
    },
    /// Fewer files than calls need.
    Files {
        /// The limit of this process.
        limit: usize,
        /// What the calls need.
        wanted: usize,
    },
}

impl fmt::Display for PortWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ephemeral { ours, kernels } => write!(
                f,
                "media.port_range {}-{} overlaps the kernel's ephemeral ports {}-{}: other programs may take them; choose another range or set net.ipv4.ip_local_reserved_ports={}-{}",
                ours.0, ours.1, kernels.0, kernels.1, ours.0, ours.1
            ),
            Self::Few { pairs, max_calls } => write!(
                f,
                "media.port_range has {pairs} pairs of ports, sip.max_calls is {max_calls}: calls beyond {pairs} get 503"
            ),
            Self::Files { limit, wanted } => write!(
                f,
                "the limit of open files is {limit}, sip.max_calls needs about {wanted}: raise it (LimitNOFILE= or ulimit -n)"
            ),
        }
    }
}

/// What this machine's settings say against `range` and `max_calls`; nothing where they cannot be read.
#[must_use]
pub fn warnings(range: &RangeInclusive<u16>, max_calls: usize) -> Vec<PortWarning> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    judge(
        range,
        max_calls,
        &read("/proc/sys/net/ipv4/ip_local_port_range"),
        &read("/proc/sys/net/ipv4/ip_local_reserved_ports"),
        &read("/proc/self/limits"),
    )
}

fn judge(
    range: &RangeInclusive<u16>,
    max_calls: usize,
    ephemeral: &str,
    reserved: &str,
    limits: &str,
) -> Vec<PortWarning> {
    let mut found = Vec::new();
    let (first, last) = (*range.start(), *range.end());
    let mut kernels = ephemeral.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    if let (Some(low), Some(high)) = (kernels.next(), kernels.next())
        && (first.max(low)..=last.min(high)).any(|port| !listed(reserved, port))
    {
        found.push(PortWarning::Ephemeral { ours: (first, last), kernels: (low, high) });
    }
    let pairs = pairs(range).count();
    if pairs < max_calls {
        found.push(PortWarning::Few { pairs, max_calls });
    }
    let wanted = max_calls.saturating_mul(FILES_OF_A_CALL).saturating_add(FILES_OF_SIP + FILES_OF_THE_PROCESS);
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|numbers| numbers.split_whitespace().next()?.parse::<usize>().ok());
    if let Some(limit) = limit.filter(|limit| *limit < wanted) {
        found.push(PortWarning::Files { limit, wanted });
    }
    found
}

/// Whether the kernel's list (`8080,20000-29999`) has `port`.
fn listed(list: &str, port: u16) -> bool {
    list.trim().split(',').any(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if (low..=high).contains(&port))
    })
}

/// RTP, RTCP, Speech to Text, Text to Speech, assistant, recording.
const FILES_OF_A_CALL: usize = 6;
/// TCP connections of SIP peers, as many as are held at once.
const FILES_OF_SIP: usize = 4096;
const FILES_OF_THE_PROCESS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_what_is_wrong() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            8192                 524288               files\n";
        let none = judge(&(20_000..=29_999), 672, "32768\t60999\n", "\n", limits);
        assert_eq!(none, []);
        let all = judge(&(30_000..=33_000), 2000, "32768\t60999\n", "", limits);
        assert_eq!(
            all,
            [
                PortWarning::Ephemeral { ours: (30_000, 33_000), kernels: (32_768, 60_999) },
                PortWarning::Few { pairs: 1500, max_calls: 2000 },
                PortWarning::Files { limit: 8192, wanted: 16_160 },
            ]
        );
        assert!(all.iter().all(|warning| warning.to_string().len() > 60));
        assert_eq!(judge(&(30_000..=33_000), 1, "32768\t60999\n", "8080,32768-33000\n", limits), []);
        assert_eq!(judge(&(30_000..=33_000), 1, "", "", "Max open files unlimited unlimited files"), []);
    }
}
