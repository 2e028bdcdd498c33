//! Shows what the preparation of the models is doing: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Is told what happens.
pub trait Progress: Send + Sync {
    /// Step `number` of `of` begins.
    fn step(&self, number: usize, of: usize, what: &str);
    /// How far the step is, in bytes.
    fn amount(&self, done: u64, of: u64);
    /// All is done.
    fn done(&self, what: &str);
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Quiet;

/// One line a step on standard error: for logs and pipes.
#[derive(Debug, Default)]
pub struct Lines;

/// A bar that is redrawn in place, on standard error.
#[derive(Debug, Default)]
pub struct Bar(Mutex<Option<ProgressBar>>);

/// What suits standard error: a bar on a terminal, lines elsewhere.
#[must_use]
pub fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines) }
}

impl Progress for Quiet {
    fn step(&self, _: usize, _: usize, _: &str) {}
    fn amount(&self, _: u64, _: u64) {}
    fn done(&self, _: &str) {}
}

impl Progress for Lines {
    fn step(&self, number: usize, of: usize, what: &str) {
        // A closed standard error is no reason to stop.
        writeln!(std::io::stderr(), "[{number}/{of}] {what}").ok();
    }

    fn amount(&self, _: u64, _: u64) {}

    fn done(&self, what: &str) {
        writeln!(std::io::stderr(), "{what}").ok();
    }
}

impl Progress for Bar {
    fn step(&self, number: usize, of: usize, what: &str) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_prefix(format!("[{number}/{of}]"));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Some(before) = self.0.lock().replace(bar) {
            before.finish();
        }
    }

    fn amount(&self, done: u64, of: u64) {
        if let Some(bar) = self.0.lock().as_ref() {
            if bar.length().is_none()
                && let Ok(style) = ProgressStyle::with_template("{prefix} {msg} {bar:30} {bytes}/{total_bytes}")
            {
                bar.set_style(style);
                bar.set_length(of);
            }
            bar.set_position(done.min(of));
        }
    }

    fn done(&self, what: &str) {
        if let Some(bar) = self.0.lock().take() {
            bar.finish();
        }
        writeln!(std::io::stderr(), "{what}").ok();
    }
}
