//! Holds the arrows of `docs/architecture.md`: who may import whom, and that pure layers touch no runtime, clock or socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Layer -> layers it may import. A layer may always import itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("audio", &["base"]),
    ("sip", &["base", "call"]),
    ("media", &["base", "audio", "call"]),
    ("talk", &["base", "call"]),
    ("call", &["base", "audio", "sip", "media", "talk"]),
    ("net", &["base", "audio", "sip", "media", "call"]),
    ("watson", &["base", "call", "talk"]),
    ("cxone", &["base", "call"]),
    ("store", &["base", "call"]),
    ("web", &["base", "call"]),
    ("config", &["base", "audio", "sip", "media", "talk", "call", "net", "watson", "cxone", "store", "web"]),
    ("sandbox", &["base", "audio", "sip", "media", "talk", "call", "net", "watson", "cxone", "store", "web"]),
    (
        "app",
        &[
            "base", "audio", "sip", "media", "talk", "call", "net", "watson", "cxone", "store", "web", "config",
            "sandbox",
        ],
    ),
    ("cli", &["base", "audio", "media", "call", "net", "config", "app", "sandbox"]),
];

const PURE: &[&str] = &["base", "audio", "sip", "media", "talk", "call"];

/// What a pure layer must not name. `base/clock.rs` is the one exception: it is the rim's clock, kept where all can find it.
const IMPURE: &[&str] = &[
    "tokio",
    "std::net::UdpSocket",
    "std::net::Tcp",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "base::clock",
    "reqwest",
    "sqlx",
];

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The file without comments and without its test module: tests may reach anywhere.
fn production_code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let production = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    production.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Layers named in `crate::LAYER` paths, including grouped `use crate::{a::…, b::…}`.
fn imported(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut fresh = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => fresh = true,
                    c if depth == 1 && fresh && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ if !word.is_empty() => {
                        names.push(std::mem::take(&mut word));
                        fresh = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            if !word.is_empty() {
                names.push(word);
            }
        } else {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

fn layers() -> BTreeMap<String, Vec<PathBuf>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut by_layer: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let layer =
            relative.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        if layer != "lib" && layer != "main" {
            by_layer.entry(layer).or_default().push(file);
        }
    }
    by_layer
}

#[test]
fn no_arrow_points_outside_the_table() {
    let mut wrong = Vec::new();
    for (layer, files) in layers() {
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("layer {layer} is not in the table"));
        for file in files {
            for name in imported(&production_code(&file)) {
                let known = ARROWS.iter().any(|(layer, _)| *layer == name);
                if known && name != layer && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{}: {layer} -> {name}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows outside the table:\n{}", wrong.join("\n"));
}

#[test]
fn pure_layers_touch_no_runtime_clock_or_socket() {
    let mut wrong = Vec::new();
    for (layer, files) in layers() {
        if !PURE.contains(&layer.as_str()) {
            continue;
        }
        for file in files {
            if file.ends_with("base/clock.rs") {
                continue;
            }
            let code = production_code(&file);
            for name in IMPURE {
                if code.contains(name) {
                    wrong.push(format!("{} names {name}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "pure layers that are not:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_plain_and_grouped_paths() {
    assert_eq!(
        imported("use crate::base::Now;\nuse crate::{media::sdp::{Codec, Offer}, talk};"),
        ["base", "media", "talk"]
    );
}
