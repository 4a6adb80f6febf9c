//! The node daemon of a Galerna cluster.

fn main() -> std::process::ExitCode {
    galerna_supervisor::main()
}
