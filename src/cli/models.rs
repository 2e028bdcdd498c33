//! `models`: the sandbox's speech models, made ready.

use super::Exit;
use super::terminal::{complain, say};
use crate::config::Config;
use crate::sandbox::models::{self, ModelError, ModelPaths, progress};
use std::path::PathBuf;

/// `models`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Models {
    /// A folder with the converted models, or with the wheels they are made of: for a machine without a network
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Where the models are to be; without it sandbox.models_dir of the configuration, else the user's cache folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(models: &Models) -> Exit {
    let dir = match models.dir.clone().map_or_else(configured, |dir| Ok(Some(dir))) {
        Ok(dir) => dir,
        Err(problems) => {
            complain(&problems);
            return Exit::BadConfiguration;
        }
    };
    match prepare(dir, models.from.clone()).await {
        Ok(paths) => {
            say(&format!("speech models: {}", paths.folder().display()));
            Exit::Done
        }
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}

/// The models, ready in `sandbox.models_dir` or the user's cache folder; made so on first use.
pub(super) async fn ready() -> Result<ModelPaths, String> {
    prepare(configured()?, None).await
}

async fn prepare(dir: Option<PathBuf>, from: Option<PathBuf>) -> Result<ModelPaths, String> {
    let prepared = tokio::task::spawn_blocking(move || {
        models::ensure(dir.as_deref(), from.as_deref(), progress::for_stderr().as_ref())
    });
    prepared.await.map_err(|error| error.to_string())?.map_err(|error: ModelError| error.to_string())
}

/// `sandbox.models_dir` of the file that `serve` would read, where there is one, and of the environment. What else the
/// environment configures is meant for `serve`.
fn configured() -> Result<Option<PathBuf>, String> {
    let own = std::env::vars().filter(|(name, _)| name.eq_ignore_ascii_case(VARIABLE));
    let file =
        std::env::var_os("VOICE_GATEWAY_CONFIG").map_or_else(|| PathBuf::from(super::DEFAULT_CONFIG), PathBuf::from);
    let file = file.exists().then_some(file);
    Config::load(file.as_deref(), own).map(|config| config.sandbox.models_dir).map_err(|problems| problems.to_string())
}

const VARIABLE: &str = "VOICE_GATEWAY__SANDBOX__MODELS_DIR";
