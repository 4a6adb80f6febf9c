//! Nimbus, as the tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    galerna_nimbus::main()
}
