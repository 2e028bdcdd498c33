//! Frames of samples: G.711, G.722, Opus, levels, resampling, WAV.

pub mod band;
pub mod frame;
pub mod g711;
pub mod level;
pub mod resample;
pub mod sound;
pub mod wav;
pub mod wideband;

pub use band::Converter;
pub use frame::{Form, Frame};
pub use g711::Law;
pub use level::Voice;
pub use sound::{Linear, Sound};

/// Samples a second of narrow-band sound.
pub const RATE: u32 = 8000;
/// Samples a second of wide-band sound.
pub const WIDE_RATE: u32 = 16_000;
/// Samples, and G.711 bytes, in a frame of 20 ms.
pub const FRAME: usize = 160;
/// Samples in 20 ms of wide-band sound.
pub const WIDE_FRAME: usize = 320;
/// Samples in 5 ms of wide-band sound.
pub const WIDE_PIECE: usize = WIDE_FRAME / 4;
