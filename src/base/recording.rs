//! Whether what is said is kept.

/// A recording that goes on, or rests while what is said must not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// All is kept.
    #[default]
    Running,
    /// Nothing is kept: the file has silence there, the transcript says that there was something.
    Paused,
}
