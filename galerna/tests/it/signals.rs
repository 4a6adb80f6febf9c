//! SIGINT and SIGTERM: a first one drains, a second one stops at once.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::support::{file, galerna, seen};

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
