//! `new`: a project that builds, tests and runs unchanged.

use std::path::Path;
use std::process::Command;

use crate::support::{galerna, seen};

/// Cargo in a new project, with the artefacts of this build where they fit.
fn cargo(project: &Path, args: &[&str]) -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_galerna")).ancestors().nth(2).expect("target/debug/galerna");
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(project).env("CARGO_TARGET_DIR", target);
    command.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only").env_remove("RUST_LOG");
    command
}

#[test]
fn a_new_project_builds_tests_and_runs_unchanged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = galerna().args(["new", "my-topology"]).current_dir(folder.path()).output();
    let ran = seen(ran.expect("it starts")).expect(0);
    assert!(ran.stdout.contains("cargo test"), "{}", ran.stdout);
    let project = folder.path().join("my-topology");
    let tested = seen(cargo(&project, &["test", "--quiet"]).output().expect("cargo starts")).expect(0);
    assert!(tested.stdout.contains("1 passed"), "{tested:?}");
    let run = ["run", "--quiet", "--", "local", "topology.yaml"];
    let ran = seen(cargo(&project, &run).output().expect("cargo starts")).expect(0);
    assert!(ran.stdout.contains("GOOD MORNING!!!"), "{ran:?}");
    assert!(ran.stdout.contains("my-topology: finished"), "{ran:?}");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = |name: &str| seen(galerna().args(["new", name]).current_dir(folder.path()).output().expect("it starts"));
    std::fs::create_dir(folder.path().join("full")).expect("a folder");
    std::fs::write(folder.path().join("full/precious"), "x").expect("a file");
    std::fs::write(folder.path().join("file"), "x").expect("a file");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    assert!(new("full").expect(1).stderr.contains("full exists and is not empty"));
    assert!(new("file").expect(1).stderr.contains("file exists and is not a folder"));
    new("empty").expect(0);
    assert!(folder.path().join("empty/Cargo.toml").is_file());
    assert_eq!(std::fs::read_dir(folder.path().join("full")).map(Iterator::count).ok(), Some(1));
}

#[test]
fn names_that_cargo_or_rust_would_refuse_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["", "1st", "../up", "a/b", "a b", "fn", "test", "galerna", "serde", "ünder", ".", &"x".repeat(65)] {
        let ran = galerna().args(["new", name]).current_dir(folder.path()).output().expect("it starts");
        assert!(seen(ran).expect(1).stderr.contains("is no name for a project"), "{name}");
    }
    assert_eq!(folder.path().read_dir().map(Iterator::count).ok(), Some(0));
}
