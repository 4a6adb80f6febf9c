//! The program of the tests' topologies: their workers, and the client that submits them.

use std::process::ExitCode;

fn main() -> ExitCode {
    galerna::main(galerna_tests::registry())
}
