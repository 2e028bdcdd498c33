//! `config`: what the gateway would run with.

use super::terminal::{complain, say};
use super::{ConfigFile, Exit};
use crate::config::{Config, EXAMPLE};

/// `config`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the annotated default file instead
    #[arg(long)]
    example: bool,
}

pub(super) fn run(show: &Show) -> Exit {
    if show.example {
        say(EXAMPLE.trim_end());
        return Exit::Done;
    }
    match Config::load(Some(&show.file.path), std::env::vars()) {
        Ok(config) => {
            say(config.to_redacted_toml().trim_end());
            Exit::Done
        }
        Err(problems) => {
            complain(&format!("{} cannot be used:\n{problems}", show.file.path.display()));
            Exit::BadConfiguration
        }
    }
}
