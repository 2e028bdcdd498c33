//! The daemon under test: its process, what it has spent by `/proc`, and its metrics.

use crate::exposition::Exposition;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub(crate) struct Gateway {
    process: Child,
    pub(crate) sip_port: u16,
    admin_port: u16,
    /// From its start to the first 200 of `/readyz`.
    pub(crate) ready_after: Duration,
}

/// The daemon at one moment.
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// User and system time of the process.
    pub(crate) spent: Duration,
    /// The same of this process: sandbox and phones.
    pub(crate) beside: Duration,
    /// By thread name: time on a core, time waiting for one.
    pub(crate) threads: BTreeMap<String, (Duration, Duration)>,
    pub(crate) metrics: Exposition,
}

impl Gateway {
    /// `sip` are further lines of that section.
    pub(crate) fn start(program: &Path, prefix: &str, dir: &Path, services: &str, sip: &str) -> Self {
        let dir = dir.canonicalize().unwrap();
        for file in ["load.db", "load.db-wal", "load.db-shm"] {
            std::fs::remove_file(dir.join(file)).ok();
        }
        let sip_port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let [agent_port, admin_port] =
            std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port());
        let config = format!(
            "{services}\n[sip]\nlisten = [\"udp:127.0.0.1:{sip_port}\"]\nmax_calls = 3000\n{sip}\n\n\
             [media]\nbind_address = \"127.0.0.1\"\n\n\
             [dialog]\npost_response_timeout = \"30s\"\n\n\
             [history]\nstore = \"sqlite:{}\"\n\n\
             [agent]\nlisten = \"127.0.0.1:{agent_port}\"\n\n[admin]\nlisten = \"127.0.0.1:{admin_port}\"\n",
            dir.join("load.db").display()
        );
        let (file, log) = (dir.join("load.toml"), dir.join("load.log"));
        std::fs::write(&file, config).unwrap();
        let mut words: Vec<&str> = prefix.split_whitespace().collect();
        let program = program.canonicalize().unwrap();
        words.push(program.to_str().unwrap());
        let began = Instant::now();
        let process = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--config"])
            .arg(&file)
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut gateway = Self { process, sip_port, admin_port, ready_after: Duration::ZERO };
        while !gateway.fetch("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(began.elapsed() < Duration::from_secs(20), "the daemon is not ready: see {}", log.display());
            std::thread::sleep(Duration::from_millis(1));
        }
        gateway.ready_after = began.elapsed();
        gateway
    }

    pub(crate) fn sample(&self) -> Sample {
        let proc = format!("/proc/{}", self.process.id());
        let mut threads: BTreeMap<String, (Duration, Duration)> = BTreeMap::new();
        for thread in std::fs::read_dir(format!("{proc}/task")).unwrap().flatten() {
            let read = |name: &str| std::fs::read_to_string(thread.path().join(name));
            let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else { continue };
            let mut times = times.split_whitespace().map(|nanos| Duration::from_nanos(nanos.parse().unwrap()));
            let sum = threads.entry(name.trim().to_owned()).or_default();
            sum.0 += times.next().unwrap_or_default();
            sum.1 += times.next().unwrap_or_default();
        }
        Sample {
            at: Instant::now(),
            spent: spent(&proc),
            beside: spent("/proc/self"),
            threads,
            metrics: Exposition::parse(&self.fetch("/metrics").expect("the daemon gives no metrics")),
        }
    }

    /// Resident memory in kB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGTERM; its exit status, where it ended by itself.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        let deadline = Instant::now() + Duration::from_secs(45);
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn fetch(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// User and system time of a process.
fn spent(proc: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
    // The second field, the name, may hold blanks; utime and stime are fields 14 and 15, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Without effect on one that has ended.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
