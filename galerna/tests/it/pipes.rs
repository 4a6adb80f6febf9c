//! Readers that leave, disks that are full.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{example, file, galerna, run, seen};

#[test]
fn a_closed_pipe_ends_quietly() {
    let topology = example("word-count/topology.yaml");
    let commands: [&[&str]; 5] =
        [&["types"], &["schema"], &["--help"], &["graph", &topology], &["validate", &topology]];
    for args in commands {
        let mut child = galerna().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let ran = seen(child.wait_with_output().expect("it ends")).expect(0);
        assert_eq!(ran.stderr, "", "{args:?}");
    }
}

#[test]
fn a_run_whose_reader_has_left_does_not_panic() {
    let topology = example("word-count/topology.yaml");
    for output in ["text", "json"] {
        let mut command = galerna();
        command.args(["local", &topology, "--output", output]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        drop(child.stdout.take());
        let ran = seen(child.wait_with_output().expect("it ends"));
        assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn an_endless_run_that_only_prints_ends_when_its_reader_leaves() {
    let yaml = "name: endless\nspouts: [{id: words, className: random-words, properties: {rate: 200}}]\n\
                bolts: [{id: print, className: console}]\n\
                streams: [{from: words, to: print, grouping: {type: SHUFFLE}}]\n";
    let (_folder, topology) = file("endless.yaml", yaml);
    let mut command = galerna();
    command.args(["local", &topology]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut String::new()).expect("a word");
    drop(stdout);
    assert_eq!(seen(child.wait_with_output().expect("it ends")).expect(0).stderr, "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_clear_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let ran = seen(galerna().arg("types").stdout(full).output().expect("it starts")).expect(1);
    assert!(ran.stderr.starts_with("error: cannot write the output: "), "{}", ran.stderr);
}

/// The limit on the size of files stands in for a disk, as no test can fill one.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_written_whole_fails_the_run_and_holds_whole_lines() {
    let words: String = (0..200_000).map(|number| format!("word-{number:06}\n")).collect();
    let (folder, input) = file("input.txt", words);
    let output = folder.path().join("counts.tsv");
    std::fs::write(&output, "of the last run\n").expect("a file of the last run");
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$@\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited, "sh", env!("CARGO_BIN_EXE_galerna"), "local", &example("word-count/topology.yaml")]);
    shell.args(["--set", &format!("input={input}"), "--set", &format!("output={}", output.display())]);
    let ran = seen(shell.output().expect("a shell")).expect(1);
    let error = ran.stderr.lines().last().unwrap_or_default();
    let told = format!("error: `save` (task 10) cannot start: cannot write to {}: File too large", output.display());
    assert!(error.starts_with(&told), "{}", ran.stderr);
    assert!(ran.stderr.lines().count() < 10, "{}", ran.stderr);
    let written = std::fs::read_to_string(&output).expect("the output");
    assert!(written.is_empty() || written.ends_with('\n'), "a torn line");
    assert!(written.lines().all(|line| line.starts_with("word-") && line.ends_with("\t1")), "no count of this run");

    // The next run counts everything again, and does not go on behind what was left.
    let set = [format!("input={input}"), format!("output={}", output.display())];
    run(["local", &example("word-count/topology.yaml"), "--set", &set[0], "--set", &set[1]]).expect(0);
    assert_eq!(std::fs::read_to_string(&output).expect("the output").lines().count(), 200_000);
}
