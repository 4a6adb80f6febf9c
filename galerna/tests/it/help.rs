//! Help and version are part of what is promised.

use crate::support::call;

#[test]
fn help_of_every_command_is_as_written() {
    let mut pages = String::new();
    for command in [
        "",
        "local",
        "validate",
        "graph",
        "schema",
        "types",
        "new",
        "submit",
        "apply",
        "list",
        "top",
        "describe",
        "wait",
        "kill",
        "activate",
        "deactivate",
        "rebalance",
        "logs",
        "errors",
        "supervisors",
        "dev",
        "completions",
    ] {
        let args = [command, "--help"].into_iter().filter(|arg| !arg.is_empty());
        let page = call(args).expect(0);
        pages.push_str(&format!("=== galerna {command}\n{}\n", page.stdout));
        if !command.is_empty() {
            assert!(page.stdout.contains("Examples:"), "`{command} --help` shows no example");
        }
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn version_names_the_program() {
    assert_eq!(call(["--version"]).expect(0).stdout, format!("galerna {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_scripts_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(call(["completions", shell]).expect(0).stdout.contains("validate"), "{shell}");
    }
}
