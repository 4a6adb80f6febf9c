//! What is told while tests run.

use std::io::{Write, stderr};

/// Says what was measured: it is wanted of good runs too. The runner has begun a line with the
/// test's name, and ends one with its outcome.
pub(crate) fn say(what: &str) {
    let _ = stderr().write_all(format!("\n    {}", what.replace('\n', "\n    ")).as_bytes());
}
