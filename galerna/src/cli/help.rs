//! Examples below each command's help, and the program's own name in them.

use clap::Command;

const TOP: &str = "\
Examples:
  galerna new my-topology                    start a project
  galerna validate topology.yaml             find every mistake at once
  galerna local topology.yaml                run it in this process
  galerna types                              what YAML can name
  galerna submit topology.yaml               run it on a cluster
  galerna describe my-topology               how it is doing there

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped at once by a second Ctrl-C.
Logs go to stderr; RUST_LOG=debug shows more of them, RUST_LOG=warn fewer.";

const BY_COMMAND: &[(&str, &str)] = &[
    (
        "local",
        "\
Examples:
  galerna local topology.yaml
  galerna local topology.yaml --set input=book.txt --set output=counts.tsv
  galerna local topology.yaml --for 30s --output json | tail -n 1
  galerna local topology.yaml -n 2 -c topology.max.spout.pending=100

The last line of stdout with --output json is one object: topology, status (finished, stopped or
failed), duration_ms, tuples_per_second, complete_latency_us, components, and error if it failed.",
    ),
    (
        "validate",
        "\
Examples:
  galerna validate topology.yaml
  galerna validate *.yaml --set input=x --output json

With --output json: {\"problems\":[{\"file\",\"line\",\"column\",\"severity\",\"message\"}]}, where lines and
columns count from 1, and columns count characters.",
    ),
    (
        "graph",
        "\
Examples:
  galerna graph topology.yaml
  galerna graph topology.yaml --format dot | dot -Tsvg > topology.svg",
    ),
    (
        "schema",
        "\
Examples:
  galerna schema > topology.schema.json

A first line `# yaml-language-server: $schema=topology.schema.json` in a topology file has editors
with a YAML language server complete and check it.",
    ),
    (
        "types",
        "\
Examples:
  galerna types
  galerna types file-lines count-by
  galerna types --output json",
    ),
    (
        "new",
        "\
Examples:
  galerna new my-topology
  cd my-topology && cargo test && cargo run -- local topology.yaml",
    ),
    (
        "submit",
        "\
Examples:
  galerna submit topology.yaml
  galerna submit topology.yaml --wait
  galerna submit topology.yaml --name nightly -n 4 -c topology.max.spout.pending=1000
  galerna submit topology.yaml --nimbus node-1:6627,node-2:6627 --output json

The program that is run is this one: `${…}` and what the file includes are resolved here and now,
components are made there. With --output json: {\"id\",\"notes\"}.",
    ),
    (
        "apply",
        "\
Examples:
  galerna apply topology.yaml
  galerna apply topology.yaml --wait --timeout 60 -c topology.max.spout.pending=500
  galerna apply topology.yaml --owner billing --prune --keep nightly
  galerna apply --owner billing --prune

Prints a line for each topology: submitted, unchanged, rebalanced, replaced or killed, and why. With
--output json an object: {\"name\",\"id\",\"result\",\"reasons\",\"status\"}. --inactive counts where the topology
is submitted or replaced.",
    ),
    (
        "list",
        "\
Examples:
  galerna list
  galerna list --ended
  galerna list --output json | jq -r '.[] | select(.status == \"ACTIVE\").name'

With --output json: [{\"name\",\"id\",\"status\",\"tasks\",\"executors\",\"workers\",\"uptime_s\",\"owner\"}]. A
status is ACTIVE, INACTIVE, REBALANCING, KILLED or FINISHED. With --ended also ended_unix_ms and failure.",
    ),
    (
        "top",
        "\
Examples:
  galerna top
  galerna top --every 500ms
  galerna top --once --output json

With --output json: the objects of `list` with pending and last_10s, as in `describe`.",
    ),
    (
        "describe",
        "\
Examples:
  galerna describe my-topology
  galerna describe my-topology-17
  galerna describe my-topology --watch
  galerna describe my-topology --output json

With --output json: the object of `list` with generation, workers (supervisor, slot, pid,
incarnation, tasks, uptime_s), components (id, kind, tasks, executors, emitted, executed, acked,
failed, restarts, execute_latency_us, complete_latency_us, errors, pending, queued, queue_capacity,
last_10s, last_10min, …), counts_are (exact or at least), unscheduled, sources, rates_lack. A window
has seconds, emitted_per_s, executed_per_s, acked_per_s, failed_per_s, both latencies, and the
shares busy, waiting and blocked.",
    ),
    (
        "wait",
        "\
Examples:
  galerna wait my-topology
  galerna wait my-topology --timeout 600 --expect lines.acked=1000 --expect count.executed=7890

With --output json: the object of `describe`; if it failed, {\"error\":{\"code\",\"message\"}} on a line behind it.",
    ),
    (
        "kill",
        "\
Examples:
  galerna kill my-topology
  galerna kill my-topology -w 5

With --output json: {\"id\",\"notes\"}.",
    ),
    (
        "activate",
        "\
Examples:
  galerna activate my-topology

With --output json: {\"id\",\"notes\"}.",
    ),
    (
        "deactivate",
        "\
Examples:
  galerna deactivate my-topology

With --output json: {\"id\",\"notes\"}.",
    ),
    (
        "rebalance",
        "\
Examples:
  galerna rebalance my-topology
  galerna rebalance my-topology -n 4 -e count=8 -e save=2
  galerna rebalance my-topology -n 2 -w 5

With --output json: {\"id\",\"notes\"}.",
    ),
    (
        "logs",
        "\
Examples:
  galerna logs my-topology --lines 20
  galerna logs my-topology --follow | grep ERROR

With --output json: {\"worker\",\"line\"} on each line. Ctrl-C ends --follow with code 0.",
    ),
    (
        "errors",
        "\
Examples:
  galerna errors my-topology
  galerna errors my-topology --output json

With --output json: [{\"component\",\"task\",\"message\",\"count\",\"last_unix_ms\",\"worker\"}].",
    ),
    (
        "supervisors",
        "\
Examples:
  galerna supervisors
  galerna supervisors --output json

With --output json: [{\"id\",\"address\",\"slots\",\"used\",\"uptime_s\"}].",
    ),
    #[cfg(feature = "dev")]
    (
        "dev",
        "\
Examples:
  galerna dev
  galerna dev --supervisors 3 --slots 2
  galerna dev --listen 127.0.0.1:7000 --data ./cluster

Submit to it from another terminal: `galerna submit topology.yaml`.",
    ),
    (
        "completions",
        "\
Examples:
  galerna completions bash > ~/.local/share/bash-completion/completions/galerna
  galerna completions zsh > ~/.zfunc/_galerna
  galerna completions fish > ~/.config/fish/completions/galerna.fish",
    ),
];

/// Gives the command line the name that the program was called by, also in its examples.
pub(super) fn with_program_name(command: Command, program: &str) -> Command {
    let named = |text: &str| text.replace("galerna", program);
    let version = env!("CARGO_PKG_VERSION");
    let version = if program == "galerna" { version.to_owned() } else { format!("(galerna {version})") };
    let mut command = command.name(program.to_owned()).bin_name(program).version(version).after_help(named(TOP));
    for (name, examples) in BY_COMMAND {
        command = command.mut_subcommand(name, |command| command.after_help(named(examples)));
    }
    command
}
