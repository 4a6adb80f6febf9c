//! Wrong usage ends with 2, failure with 1, and both say why on stderr.

use crate::support::{call, example, file};

#[test]
fn wrong_usage_is_2_and_names_what_was_wrong() {
    let topology = example("word-count/topology.yaml");
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage:"),
        (&["lcal"], "similar subcommand exists: 'local'"),
        (&["local"], "<FILE>"),
        (&["local", &topology, "--worker", "2"], "similar argument exists: '--workers'"),
        (&["local", &topology, "--workers", "0"], "0 is not in 1..=64"),
        (&["local", &topology, "-n", "65"], "65 is not in 1..=64"),
        (&["local", &topology, "--for", "5parsecs"], "`5parsecs` is not a duration"),
        (&["local", &topology, "--set", "input"], "`input` is not KEY=VALUE"),
        (&["local", &topology, "--output", "xml"], "possible values: text, json"),
        (&["graph", &topology, "--format", "svg"], "possible values: mermaid, dot"),
        (&["new"], "<NAME>"),
        (&["validate"], "<FILE>"),
        (&["submit"], "<FILE>"),
        (&["submit", &topology, "--name", "two words"], "`two words` is no name for a topology on a cluster"),
        (&["submit", &topology, "-n", "0"], "0 is not in 1..=65535"),
        (&["list", "--nimbus", "localhost"], "`localhost` is not HOST:PORT"),
        (&["list", "--nimbus", "a:1,b:70000"], "`b:70000` is not HOST:PORT"),
        (&["describe"], "<NAME>"),
        (&["wait", "t", "--timeout", "5s"], "invalid digit"),
        (&["wait", "t", "--expect", "count.counted=1"], "`count.counted=1` is not COMPONENT.COUNT=NUMBER"),
        (&["wait", "t", "--expect", "executed=1"], "`executed=1` is not COMPONENT.COUNT=NUMBER"),
        (&["kill", "t", "-w", "5s"], "invalid digit"),
        (&["rebalance", "t", "-e", "count=0"], "`count=0` is not COMPONENT=EXECUTORS"),
        (&["logs", "t", "--lines", "-1"], "unexpected argument"),
    ];
    for (args, expected) in cases {
        let ran = call(*args).expect(2);
        assert!(ran.stderr.contains(expected), "{args:?}:\n{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn what_cannot_be_done_is_1_and_says_why() {
    let (_folder, broken) = file("broken.yaml", "name: [");
    let topology = example("word-count/topology.yaml");
    let cases: &[(&[&str], &str)] = &[
        (&["local", "no-such.yaml"], "no-such.yaml"),
        (&["local", &broken], "broken.yaml:2:1"),
        (&["graph", &broken], "broken.yaml:2:1"),
        (&["local", &topology, "--set", "inptu=x"], "inptu"),
        (&["local", &topology, "--properties", "no-such.properties"], "no-such.properties"),
        (&["local", &topology, "-c", "topology.wrkers=2"], "topology.workers"),
        (&["types", "file-line"], "file-lines"),
        (&["new", "1st"], "`1st` is no name for a project"),
    ];
    for (args, expected) in cases {
        let ran = call(*args).expect(1);
        assert!(ran.stderr.contains(expected), "{args:?}:\n{}", ran.stderr);
    }
}
