//! A key as it is to be sent: which, how long, how loud, and the pause behind it (RFC 4733 section 3.2, Watson facts 1.3).

use std::time::Duration;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// Event code: 0 to 9 are the digits, 10 is `*`, 11 is `#`, 12 to 15 are A to D.
    pub code: u8,
    /// How long it is held.
    pub duration: Duration,
    /// Power in -dBm0: 0 is the loudest, 63 the least.
    pub volume: u8,
    /// Silence before the next key.
    pub pause: Duration,
}

impl Tone {
    /// The key as a person presses it: 120 ms at -10 dBm0, and 140 ms until the next.
    #[must_use]
    pub fn pressed(key: char) -> Option<Self> {
        let (duration, pause) = (Duration::from_millis(120), Duration::from_millis(140));
        Self::code_of(key).map(|code| Self { code, duration, volume: 10, pause })
    }

    /// The event code of a key.
    #[must_use]
    pub fn code_of(key: char) -> Option<u8> {
        let code = KEYS.chars().position(|known| known.eq_ignore_ascii_case(&key));
        code.and_then(|code| u8::try_from(code).ok())
    }

    /// How long the key and the pause behind it take.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.duration + self.pause
    }
}

const KEYS: &str = "0123456789*#ABCD";
