//! Frames of samples: G.711, levels, resampling, WAV.

pub mod decimate;
pub mod g711;
pub mod level;
pub mod wav;

pub use g711::Law;
pub use level::Voice;

/// Samples a second of everything on a telephone line.
pub const RATE: u32 = 8000;
/// Samples, and G.711 bytes, in a frame of 20 ms.
pub const FRAME: usize = 160;
