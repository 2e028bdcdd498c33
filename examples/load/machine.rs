//! How steady the machine is by itself: a virtual one may lose most of its speed for a tenth of a second, and the daemon's lateness is then its.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The daemon's core, with nothing but a loop of arithmetic on it.
#[derive(Default)]
pub(crate) struct Steadiness {
    /// Percent of the windows of 20 ms with less than `SLOW` of the usual speed.
    pub(crate) slow: f64,
    /// The slowest window, in percent of the usual speed.
    slowest: f64,
}

impl Steadiness {
    /// Takes `LENGTH`.
    pub(crate) fn of_core(core: usize) -> Self {
        let mut speeds = std::thread::spawn(move || {
            let mut cores = CpuSet::new();
            cores.set(core).unwrap();
            sched_setaffinity(Pid::from_raw(0), &cores).unwrap();
            speeds()
        })
        .join()
        .unwrap();
        speeds.sort_by(f64::total_cmp);
        let usual = speeds[speeds.len() / 2];
        let slow = speeds.partition_point(|speed| *speed < usual * SLOW);
        Self { slow: 100.0 * slow as f64 / speeds.len() as f64, slowest: 100.0 * speeds[0] / usual }
    }

    pub(crate) fn told(&self) -> String {
        format!(
            "the machine by itself: {:.1} % of 20 ms windows below {:.0} % of its speed, the slowest {:.0} %",
            self.slow,
            100.0 * SLOW,
            self.slowest
        )
    }

    /// Whether times that were measured here say something of the daemon.
    pub(crate) fn holds(&self) -> bool {
        self.slow < MOST_SLOW
    }
}

/// Rounds a second of each window.
fn speeds() -> Vec<f64> {
    let (mut speeds, mut number) = (Vec::new(), 1_u32);
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        let (window, mut rounds) = (Instant::now(), 0_u32);
        while window.elapsed() < WINDOW {
            for _ in 0..10_000 {
                number = black_box(number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            }
            rounds += 1;
        }
        speeds.push(f64::from(rounds) / window.elapsed().as_secs_f64());
    }
    speeds
}

const LENGTH: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_millis(20);
const SLOW: f64 = 0.7;
/// Percent of windows. One in a hundred is as much as the figures of a run bear: they are 95th and 99th percentiles.
const MOST_SLOW: f64 = 1.0;
