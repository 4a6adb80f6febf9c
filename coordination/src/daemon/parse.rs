//! What a daemon is told: by its command line, the environment, its file, and its defaults, in this order.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Command, Parser};

use super::file;

/// Why there are no options.
#[derive(Debug)]
pub(super) enum ParseError {
    /// The command line or the environment is wrong, or asks for help.
    Arguments(clap::Error),
    /// The file that `--config` names is wrong.
    File(anyhow::Error),
}

/// The options, from what a program was called with.
///
/// # Errors
/// When they cannot be understood; also when they ask for help.
pub(super) fn parse<T: Parser>(arguments: &[OsString]) -> Result<T, ParseError> {
    let matches = T::command().try_get_matches_from(arguments).map_err(ParseError::Arguments)?;
    let matches = match matches.get_one::<PathBuf>("config") {
        None => matches,
        // Again, with what the file says in place of the defaults.
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
            with_file(T::command(), &text.map_err(ParseError::File)?)
                .and_then(|command| command.try_get_matches_from(arguments).map_err(|error| anyhow!(reason(&error))))
                .with_context(|| format!("{} is no configuration", path.display()))
                .map_err(ParseError::File)?
        }
    };
    T::from_arg_matches(&matches).map_err(ParseError::Arguments)
}

fn with_file(mut command: Command, text: &str) -> anyhow::Result<Command> {
    for (option, values) in file::read(text, &command)? {
        command = command.mut_arg(option, |argument| argument.default_values(values));
    }
    Ok(command)
}

/// What clap complains of, without its advice for command lines.
fn reason(error: &clap::Error) -> String {
    let told = error.to_string();
    let first = told.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::builder::FalseyValueParser;

    use super::super::{CommonOptions, ListenAddress};
    use super::*;
    use crate::host_name;

    #[derive(Debug, Parser)]
    struct Options {
        #[arg(long, default_value = "127.0.0.1:1")]
        listen: ListenAddress,
        #[arg(long)]
        id: Option<String>,
        // A program has this one in its environment wherever tests are run.
        #[arg(long, env = "CARGO_PKG_NAME")]
        package: Option<String>,
        #[arg(long, value_parser = FalseyValueParser::new())]
        keep: bool,
        #[command(flatten)]
        common: CommonOptions,
    }

    fn parsed(file: &str, arguments: &[&str]) -> Result<Options, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("options.yaml");
        std::fs::write(&path, file).expect("written");
        let program = ["program".into(), "--config".into(), path.into_os_string()];
        let arguments: Vec<OsString> = program.into_iter().chain(arguments.iter().map(Into::into)).collect();
        parse(&arguments).map_err(|error| match error {
            ParseError::Arguments(error) => error.to_string(),
            ParseError::File(error) => format!("{error:#}"),
        })
    }

    #[test]
    fn the_command_line_comes_before_the_environment_then_the_file_then_defaults() {
        Options::command().debug_assert();
        let file =
            "etcd: http://a:1, http://b:1\ncluster: blue\nlisten: 0.0.0.0:7000\nid: 007\nkeep: true\npackage: x\n";
        let options = parsed(file, &["--cluster", "red"]).expect("it is right");
        assert_eq!(options.common.etcd().endpoints, ["http://a:1", "http://b:1"]);
        assert_eq!((options.common.cluster().as_str(), options.id.as_deref()), ("red", Some("007")));
        assert_eq!((options.keep, options.package.as_deref()), (true, Some("galerna-coordination")));
        assert_eq!(options.common.advertise(&options.listen), host_name());
        assert_eq!(options.common.lease().as_secs(), 10);
        let options = parsed("etcd: [http://a:1]\nid:\n", &["--listen", "[::1]:5"]).expect("it is right");
        assert_eq!((options.common.etcd().endpoints, options.id), (vec!["http://a:1".to_owned()], None));
        assert_eq!((options.common.advertise(&options.listen).as_str(), options.keep), ("[::1]", false));
        let options = parsed("", &["--etcd", "http://c:1,http://d:1"]).expect("it is right");
        assert_eq!(options.common.etcd().endpoints, ["http://c:1", "http://d:1"]);
        assert_eq!((options.common.cluster().as_str(), options.package.is_some()), ("default", true));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name_wherever_it_stands() {
        let wrong = [("listen", "6627"), ("lease", "0"), ("lease", "3601"), ("cluster", "a/b")];
        for (option, value) in wrong {
            let told = parsed("", &[&format!("--{option}"), value]).expect_err("it is wrong");
            assert!(told.contains(&format!("'{value}' for '--{option}")), "{told}");
            let told = parsed(&format!("{option}: {value}"), &[]).expect_err("it is wrong");
            assert!(told.contains("options.yaml is no configuration: invalid value"), "{told}");
            assert!(told.contains(&format!("'{value}' for '--{option}")) && !told.contains('\n'), "{told}");
        }
        let files = [
            ("listne: 4", "unknown option `listne`, expected one of `listen`, `id`,"),
            ("config: other.yaml", "unknown option `config`"),
            ("listen: [a:1]", "listen: invalid type: sequence"),
            ("\nlease: many", "'many' for '--lease"),
            ("id: a\nid: b", "`id` stands there twice"),
            ("- id", "invalid type: sequence, expected options with their values"),
            ("id: 'a", "is no configuration"),
        ];
        for (file, expected) in files {
            let told = parsed(file, &[]).expect_err("it is wrong");
            assert!(told.contains(expected), "{told}");
        }
        let told = format!("{:?}", parse::<Options>(&["program".into(), "--config=/nowhere".into()]).err());
        assert!(told.contains("cannot read /nowhere"), "{told}");
    }
}
