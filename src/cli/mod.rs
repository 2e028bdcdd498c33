//! The commands of the binary. Only here is anything printed.

mod call;
mod check;
mod config;
mod decrypt;
#[cfg(feature = "sandbox")]
mod demo;
#[cfg(feature = "sandbox")]
mod models;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
mod terminal;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Self-hosted gateway that gives a NICE CXone contact centre a Watson voice assistant.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon. Exit status: 0 drained after SIGTERM or SIGINT, 64 bad configuration, 1 could not start
    Serve(ConfigFile),
    /// Hold one spoken conversation, with everything it takes, in this process: no account, no configuration.
    /// Exit status: 0 when it ended as scripted, 1 otherwise
    #[cfg(feature = "sandbox")]
    Demo(demo::Demo),
    /// Validate the configuration, then try every service once. Changes nothing, signals nothing.
    /// Exit status: 0 all OK, 1 some failed, 64 bad configuration
    Check(check::Check),
    /// Run only the sandbox: Watson, IAM, assistant and CXone on loopback, with real speech, until Ctrl-C
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Sandbox),
    /// Place one test call, as CXone's Placecall would. Exit status: 0 answered and ended cleanly, 1 otherwise
    Call(Box<call::Call>),
    /// Fetch, convert and check the sandbox's speech models; `demo` and `sandbox` do it by themselves.
    /// Exit status: 0, 1 with what is missing
    #[cfg(feature = "sandbox")]
    Models(models::Models),
    /// Open a recording that was sealed with media.recording_key, into a WAV file.
    /// Exit status: 0, 1 when it cannot be opened, 64 bad configuration
    Decrypt(decrypt::Decrypt),
    /// Print the effective configuration, secrets redacted. Exit status: 0, 64 bad configuration
    Config(config::Show),
}

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// The TOML file; every key can also come from the environment, as VOICE_GATEWAY__SIP__MAX_CALLS=100
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "VOICE_GATEWAY_CONFIG",
        default_value = DEFAULT_CONFIG
    )]
    path: PathBuf,
}

/// Where the configuration is, when nobody says.
const DEFAULT_CONFIG: &str = "config/voice-gateway.toml";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    BadConfiguration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            // EX_USAGE of sysexits.h.
            Exit::BadConfiguration => Self::from(64),
        }
    }
}

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Before any client is built: reqwest and tungstenite take the process's provider, and there must be exactly one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        terminal::complain("a TLS provider is installed already");
        return Exit::Failed.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::complain(&format!("cannot start the runtime: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(async {
        match arguments.command {
            Command::Serve(file) => serve::run(&file).await,
            #[cfg(feature = "sandbox")]
            Command::Demo(demo) => demo::run(&demo).await,
            #[cfg(feature = "sandbox")]
            Command::Sandbox(sandbox) => sandbox::run(&sandbox).await,
            Command::Call(call) => call::run(*call).await,
            #[cfg(feature = "sandbox")]
            Command::Models(models) => models::run(&models).await,
            Command::Check(check) => check::run(&check).await,
            Command::Decrypt(decrypt) => decrypt::run(&decrypt),
            Command::Config(show) => config::run(&show),
        }
    });
    // A blocking lookup or a slow disk must not hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
