//! `check`: every service tried once ("Test connection"). Changes nothing, signals nothing.

use super::terminal::{Tone, complain, say, toned};
use super::{ConfigFile, Exit};
use crate::app::probe::{self, Finding};
use crate::config::Config;

/// `check`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object with every finding, for machines
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(check: &Check) -> Exit {
    let path = check.file.path.display().to_string();
    let config = match Config::load_complete(Some(&check.file.path), std::env::vars()) {
        Ok(config) => config,
        Err(problems) if check.json => {
            let list: Vec<_> = problems
                .iter()
                .map(|problem| serde_json::json!({"key": problem.path, "message": problem.message}))
                .collect();
            say(&serde_json::json!({"configuration": path, "ok": false, "problems": list}).to_string());
            return Exit::BadConfiguration;
        }
        Err(problems) => {
            complain(&format!("{path} cannot be used:\n{problems}"));
            return Exit::BadConfiguration;
        }
    };
    let notices: Vec<String> = config.notices().iter().map(ToString::to_string).collect();
    if !check.json {
        say(&line("configuration", &Ok(format!("{path} is valid"))));
        for notice in &notices {
            say(&format!("{}  {notice}", toned(Tone::Quiet, "note")));
        }
    }
    let mut findings = Vec::new();
    let mut told = |finding: Finding| {
        if !check.json {
            say(&line(&finding.what, &finding.seen));
        }
        findings.push(finding);
    };
    probe::run(config, &mut told).await;
    let ok = findings.iter().all(|finding| finding.seen.is_ok());
    if check.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| match &finding.seen {
                Ok(seen) => serde_json::json!({"what": finding.what, "ok": true, "seen": seen}),
                Err(wrong) => serde_json::json!({"what": finding.what, "ok": false, "wrong": wrong}),
            })
            .collect();
        say(&serde_json::json!({"configuration": path, "ok": ok, "notices": notices, "findings": list}).to_string());
    }
    if ok { Exit::Done } else { Exit::Failed }
}

fn line(what: &str, seen: &Result<String, String>) -> String {
    match seen {
        Ok(seen) => format!("{}    {what}: {seen}", toned(Tone::Good, "OK")),
        Err(wrong) => format!("{}  {what}: {wrong}", toned(Tone::Bad, "FAIL")),
    }
}
