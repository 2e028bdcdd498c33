//! `demo`: the newcomer's first minute. One spoken conversation with everything it takes, shown as it happens, and judged.

mod transcript;

use super::terminal::{Tone, complain, meanwhile, note, say, toned};
use super::{Exit, models};
use crate::app::demonstration::{Engines, SCENARIOS, Scenario, Stage, Verdict};
use crate::app::log;
use crate::audio::wav;
use crate::base::clock;
use crate::sandbox::assistant::Dialog;
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// `demo`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Demo {
    /// Leave the agent's page and all services up until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Copy the recording to this file: stereo WAV, left the caller, right the assistant
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Which conversation: `transfer` to an agent with custom data, `hangup` by the assistant, `error` of the assistant in the
    /// middle of the call, or `all` of them in turn
    #[arg(long, value_name = "NAME", default_value = "transfer", value_parser = ["transfer", "hangup", "error", "all"])]
    scenario: String,
    /// Say this to the assistant instead, hear its answer and hang up: mono WAV of 16 bits at 8, 16, 24 or 48 kHz
    #[arg(long, value_name = "WAV", conflicts_with = "scenario")]
    play: Option<PathBuf>,
}

pub(super) async fn run(demo: &Demo) -> Exit {
    if let Err(error) = log::install(log::Format::Pretty, "warn") {
        complain(&error.to_string());
        return Exit::Failed;
    }
    match hold(demo).await {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            meanwhile("");
            complain(&error);
            Exit::Failed
        }
    }
}

async fn hold(demo: &Demo) -> Result<bool, String> {
    let scenarios = scenarios(demo)?;
    let models = models::ready().await?;
    let dialog = Dialog::acme_energy().map_err(|error| error.to_string())?;
    // With --keep there will be calls that nobody scripted.
    let mut sentences = if demo.keep { dialog.fixed_sentences() } else { Vec::new() };
    sentences.extend(scenarios.iter().flat_map(|scenario| scenario.sentences(&dialog)));
    let prepared = tokio::task::spawn_blocking(move || rehearse(&models, &sentences, scenarios)).await;
    let (engines, scenarios) = prepared.map_err(|error| error.to_string())??;
    let folder = folder()?;
    let stage = Stage::set(engines.sandbox_options(dialog), &folder).await.map_err(|error| error.to_string())?;
    let mut good = true;
    for scenario in &scenarios {
        good &= perform(demo, &stage, scenario, scenarios.len() > 1).await?;
    }
    if demo.keep {
        say("");
        say(&toned(Tone::Bold, "Everything stays up until Ctrl-C"));
        say(&format!("  to call it yourself    voice-gateway call '{}' --contact-id 123456789", stage.sip_uri()));
        say(&format!("  its configuration      {}", folder.join("gateway.toml").display()));
        say(&format!("  calls and metrics      http://{0}/v1/calls http://{0}/metrics", stage.addresses().admin));
        say(&format!("  the sandbox's faults   {}/sandbox/faults", stage.sandbox().urls.control));
        tokio::signal::ctrl_c().await.map_err(|error| format!("Ctrl-C cannot be waited for: {error}"))?;
        note("stopping");
    }
    stage.strike().await;
    tidy(demo, &folder);
    Ok(good)
}

fn scenarios(demo: &Demo) -> Result<Vec<Scenario>, String> {
    if let Some(path) = &demo.play {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = fs::File::open(path).map_err(|error| named(&error))?;
        let samples = wav::read_telephone(BufReader::new(file)).map_err(|error| named(&error))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        return Ok(vec![Scenario::playing(&name, samples)]);
    }
    let names: Vec<&str> = if demo.scenario == "all" { SCENARIOS.to_vec() } else { vec![demo.scenario.as_str()] };
    Ok(names.into_iter().filter_map(Scenario::named).collect())
}

/// Everything that takes the machine's whole strength is done before the call.
fn rehearse(
    models: &crate::sandbox::models::ModelPaths,
    sentences: &[String],
    scenarios: Vec<Scenario>,
) -> Result<(Engines, Vec<Scenario>), String> {
    let began = clock::now().at;
    note("loading the speech engines");
    let engines = Engines::load(models).map_err(|error| error.to_string())?;
    note(&format!("speaking {} sentences ahead (kept for later runs)", sentences.len()));
    engines
        .speak_ahead(sentences, |done, of| meanwhile(&format!("{done} of {of} sentences")))
        .map_err(|error| error.to_string())?;
    let mut rehearsed = Vec::new();
    for scenario in scenarios {
        meanwhile("the caller clears their throat");
        rehearsed.push(scenario.rehearse(&engines.synthesiser).map_err(|error| error.to_string())?);
    }
    note(&format!("ready after {:.1} s", clock::now().at.duration_since(began).as_secs_f64()));
    Ok((engines, rehearsed))
}

async fn perform(demo: &Demo, stage: &Stage, scenario: &Scenario, several: bool) -> Result<bool, String> {
    say("");
    say(&format!("{}  {}", toned(Tone::Bold, &scenario.name), scenario.about));
    say(&format!("CXone calls {}", stage.sip_uri()));
    say("");
    let mut show = transcript::Transcript::default();
    let performed =
        stage.perform(scenario, &mut |moment| show.moment(&moment)).await.map_err(|error| error.to_string());
    show.end();
    let performance = performed?;
    let verdict = stage.judge(scenario, &performance).await;
    let mut recording = verdict.recording.clone();
    if let (Some(to), Some(recording)) = (&demo.wav, &mut recording) {
        let to = if several { numbered(to, &scenario.name) } else { to.clone() };
        fs::copy(&recording, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        *recording = to;
    }
    transcript::results(&performance, &verdict, recording.as_deref(), demo.keep);
    say("");
    judgement(&verdict);
    Ok(verdict.good())
}

fn judgement(verdict: &Verdict) {
    for check in &verdict.checks {
        match &check.wrong {
            None => say(&format!("{}    {}", toned(Tone::Good, "OK"), check.what)),
            Some(wrong) => say(&format!("{}  {}: {wrong}", toned(Tone::Bad, "FAIL"), check.what)),
        }
    }
    let failed = verdict.checks.iter().filter(|check| check.wrong.is_some()).count();
    say("");
    match failed {
        0 => say(&toned(Tone::Good, "The conversation went as scripted.")),
        1 => say(&toned(Tone::Bad, "One thing did not go as scripted.")),
        many => say(&toned(Tone::Bad, &format!("{many} things did not go as scripted."))),
    }
}

/// `call.wav` as `call-transfer.wav`.
fn numbered(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    path.with_file_name(format!("{stem}-{name}{end}"))
}

/// A folder for this run that only its owner reads: it holds a conversation.
fn folder() -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("voice-gateway-demo-{:08x}", fastrand::u32(..)));
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Leaves of the run what was promised: the recording, where it was not copied.
fn tidy(demo: &Demo, folder: &Path) {
    let done = if demo.wav.is_some() {
        fs::remove_dir_all(folder)
    } else {
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.is_file()).try_for_each(fs::remove_file)
    };
    if let Err(error) = done {
        complain(&format!("{} could not be tidied up: {error}", folder.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_of_several_scenarios_get_names_of_their_own() {
        assert_eq!(numbered(Path::new("a/call.wav"), "hangup"), Path::new("a/call-hangup.wav"));
        assert_eq!(numbered(Path::new("call"), "error"), Path::new("call-error"));
    }
}
