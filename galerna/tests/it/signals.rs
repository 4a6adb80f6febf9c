//! SIGINT and SIGTERM: a first one drains, a second one stops at once.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::{example, file, galerna, seen};

/// Prints a line now and then, for ever.
const ENDLESS: &str = "\
name: endless
spouts: [{id: words, className: random-words, properties: {rate: 200}}]
bolts: [{id: print, className: console}]
streams: [{from: words, to: print, grouping: {type: SHUFFLE}}]
";

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill {name}");
}

#[test]
fn a_signal_drains_and_prints_the_summary() {
    for name in ["-INT", "-TERM"] {
        let (_folder, topology) = file("endless.yaml", ENDLESS);
        let mut command = galerna();
        command.args(["local", &topology, "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("the first word");
        signal(&child, name);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("the rest");
        let mut ran = seen(child.wait_with_output().expect("it ends"));
        ran.stdout = first + &rest;
        let ran = ran.expect(0);
        let summary = ran.json();
        assert_eq!(summary["status"], "stopped", "{name}");
        let (emitted, acked) = (&summary["components"][0]["emitted"], &summary["components"][0]["acked"]);
        assert_eq!(emitted, acked, "{name}: what was in flight was processed");
        // Every word was printed, and then one line of JSON.
        assert_eq!(emitted.as_u64(), Some(ran.stdout.lines().count() as u64 - 1), "{name}");
        assert!(ran.stderr.contains("stopping"), "{name}: {}", ran.stderr);
    }
}

#[test]
fn a_second_signal_ends_a_run_that_cannot_drain() {
    // A line that no pipe takes whole: once it has begun, the bolt hangs in its write.
    let words = format!("properties: {{words: [\"{}\"]}}", "x".repeat(300_000));
    let (_folder, topology) = file("endless.yaml", ENDLESS.replace("properties: {rate: 200}", &words));
    let mut command = galerna();
    command.args(["local", &topology]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a first byte");
    signal(&child, "-INT");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut told = String::new();
    stderr.read_line(&mut told).expect("a line");
    assert!(told.starts_with("stopping"), "{told}");
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn words_from_a_socket_are_counted_and_shown_as_they_come() {
    // Whatever port is free now; asked for again below until the run listens there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut command = galerna();
    command
        .args(["local", &example("word-count/socket.yaml"), "--output=json"])
        .args(["--set", &format!("port={port}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut told = String::new();
    while !told.contains("listening on") {
        assert!(log.read_line(&mut told).is_ok_and(|read| read > 0), "it ended: {told}");
    }
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    connection.write_all(b"a b a\nc a\n").expect("it reads");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut shown = String::new();
    while !shown.contains("a\t3\n") {
        assert!(stdout.read_line(&mut shown).is_ok_and(|read| read > 0), "it ended: {shown}");
    }
    signal(&child, "-TERM");
    stdout.read_to_string(&mut shown).expect("the rest");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let summary: serde_json::Value = serde_json::from_str(shown.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(summary["components"][2]["executed"], 5, "{summary:#}");
}
