//! How much of a core media sessions cost: `cargo bench --bench media_plane -- SESSIONS SECONDS`. Half of the sessions play to the other half over
//! loopback on one worker; what they hear goes nowhere. On demand: figures mean something on an idle machine only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::time::Duration;
use voice_gateway::base::PlayId;
use voice_gateway::base::metric;
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaSettings};

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u64>().ok());
    let (sessions, seconds) = (numbers.next().unwrap_or(600), numbers.next().unwrap_or(10));
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let settings = MediaSettings { bind_address: here, workers: NonZeroUsize::new(1), ..MediaSettings::default() };
    let plane = MediaPlane::start(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut handles = Vec::new();
    for _ in 0..sessions / 2 {
        let pair = [plane.reserve().unwrap(), plane.reserve().unwrap()];
        let ports = [pair[0].port(), pair[1].port()];
        for (port, peer) in pair.into_iter().zip([ports[1], ports[0]]) {
            let negotiated = Negotiated::usual((here, peer).into(), Codec::Pcmu);
            let MediaHandle { control, events, .. } =
                plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
            let sound = control.play(PlayId(1), false);
            let length = usize::try_from(8000 * (seconds + 5)).unwrap();
            sound.try_send(Bytes::from(vec![0x30; length])).unwrap();
            handles.push((control, events));
        }
        // All of them at once is not how calls come.
        std::thread::yield_now();
    }
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = ticks();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let cpu = (ticks() - before) as f64 / 100.0;
        let (mut lost, mut skipped) = (0, 0);
        for (control, _events) in handles {
            let statistics = control.close().await.unwrap();
            lost += statistics.lost;
            skipped += statistics.skipped;
        }
        let packets = (sessions * seconds * 100) as f64;
        println!(
            "{sessions} sessions, {seconds} s: {:.1} % of a core, {:.2} us a packet, {lost} lost, {skipped} slots skipped",
            100.0 * cpu / seconds as f64,
            1e6 * cpu / packets
        );
    });
    plane.stop();
    for line in recorder.render().lines().filter(|line| line.starts_with(metric::RTP_LATE_SECONDS)) {
        println!("{line}");
    }
}

/// User and system time of this process, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|word| word.parse::<u64>().unwrap()).sum()
}
