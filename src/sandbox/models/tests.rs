use super::progress::Quiet;
use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn preparation(dir: &Path, python: impl Into<PathBuf>) -> Preparation {
    Preparation { dir: Some(dir.to_owned()), from: None, python: python.into(), pip_arguments: Vec::new() }
}

/// An interpreter that says this and fails or not.
fn interpreter(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn left_behind(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.contains("part") || name == FOLDER).collect()
}

#[test]
fn without_python_the_error_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let error = preparation(dir.path(), dir.path().join("no-such-python")).run(&Quiet).unwrap_err();
    assert!(matches!(error, ModelError::NoPython { .. }), "{error}");
    assert!(error.to_string().contains("apt-get install python3 python3-venv"), "{error}");
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}

#[test]
fn without_venv_or_with_an_old_python_the_error_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let python = interpreter(dir.path(), "echo 3.12; echo \"No module named 'ensurepip'\" >&2; exit 1");
    let error = preparation(dir.path(), python).run(&Quiet).unwrap_err();
    assert!(matches!(&error, ModelError::NoVenv { detail, .. } if detail.contains("ensurepip")), "{error}");
    assert!(error.to_string().contains("apt-get install python3-venv"), "{error}");

    let python = interpreter(dir.path(), "echo 3.9");
    let error = preparation(dir.path(), python).run(&Quiet).unwrap_err();
    assert!(matches!(&error, ModelError::OldPython { found, .. } if found == "3.9"), "{error}");
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}

#[test]
fn without_a_network_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("empty");
    fs::create_dir(&nowhere).unwrap();
    let mut preparation = preparation(dir.path(), "python3");
    preparation.pip_arguments = vec!["--no-index".to_owned(), format!("--find-links={}", nowhere.display())];
    let error = preparation.run(&Quiet).unwrap_err();
    assert!(matches!(error, ModelError::Fetch { .. }), "{error}");
    assert!(error.to_string().contains("--from"), "{error}");
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}

#[test]
fn a_source_that_is_none_is_named_with_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut preparation = preparation(dir.path(), "python3");
    preparation.from = Some(dir.path().join("usb"));
    let error = preparation.run(&Quiet).unwrap_err().to_string();
    assert!(error.contains("encoder_model.onnx") && error.contains("moonshine_voice-0.0.73"), "{error}");
}

#[test]
fn a_file_that_is_not_the_one_named_in_the_manifest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("usb");
    fs::create_dir(&source).unwrap();
    for file in FILES {
        fs::write(source.join(file.name), "not it").unwrap();
    }
    let mut preparation = preparation(dir.path(), "python3");
    preparation.from = Some(source);
    let error = preparation.run(&Quiet).unwrap_err();
    assert!(matches!(&error, ModelError::Sum { path, .. } if path.ends_with("encoder_model.onnx")), "{error}");
    assert!(error.to_string().contains("dee10567523a"), "{error}");
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}

#[test]
fn what_an_interrupted_run_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join(format!("{FOLDER}.part-1"));
    fs::create_dir_all(stale.join("venv")).unwrap();
    preparation(dir.path(), dir.path().join("no-such-python")).run(&Quiet).unwrap_err();
    assert!(!stale.exists());
}
