//! The stock `galerna` command: all commands, with the types of `components/` and no others.

use galerna::prelude::*;

fn main() -> ExitCode {
    galerna::main(Registry::stock())
}
