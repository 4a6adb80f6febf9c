//! Calling the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use galerna::cli::{self, Io};
use galerna::prelude::*;
use serde_json::Value as Json;

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The last line of stdout, which must be JSON.
    pub(crate) fn json(&self) -> Json {
        let last = self.stdout.lines().last().unwrap_or_else(|| panic!("nothing on stdout: {self:?}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
    }

    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Calls the command line in-process. What bolts print is not seen.
pub(crate) fn call<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let args = std::iter::once("galerna".to_owned()).chain(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    let mut io = Io { stdout: &mut stdout, stderr: &mut stderr, is_watched: false };
    let exit = cli::run(args, &Registry::stock(), &mut io);
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: exit.code().into(), stdout: text(stdout), stderr: text(stderr) }
}

/// The real binary, to be given arguments.
pub(crate) fn galerna() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galerna"));
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

/// Runs the real binary to its end.
pub(crate) fn run<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Ran {
    let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
    seen(galerna().args(args).output().expect("the binary starts"))
}

pub(crate) fn seen(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a workspace").to_owned()
}

/// A file of the examples.
pub(crate) fn example(path: &str) -> String {
    root().join("examples").join(path).to_string_lossy().into_owned()
}

/// A file in a folder of its own, which lives as long as the first of the pair.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file in it");
    (folder, path.to_string_lossy().into_owned())
}
