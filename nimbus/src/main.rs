//! The daemon `galerna-nimbus`.

use std::process::ExitCode;

fn main() -> ExitCode {
    galerna_nimbus::main()
}
