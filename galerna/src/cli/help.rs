//! Examples below each command's help, and the program's own name in them.

use clap::Command;

const TOP: &str = "\
Examples:
  galerna new my-topology                    start a project
  galerna validate topology.yaml             find every mistake at once
  galerna local topology.yaml                run it in this process
  galerna types                              what YAML can name

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
