//! Something that befalls a cluster.

use std::io::{Write, stderr};
use std::thread;
use std::time::Duration;

use crate::monotonic_ns;

/// When it happened.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is promised counts from then.
    pub began: i64,
    /// What was emitted since is on its way in the world after it.
    pub was_done: i64,
}

impl Fault {
    /// Begins now.
    pub fn begins() -> Self {
        let now = monotonic_ns();
        Self { began: now, was_done: now }
    }

    /// Has all been done by now.
    pub fn is_done(self) -> Self {
        Self { was_done: monotonic_ns(), ..self }
    }

    /// How long ago it began.
    pub fn elapsed(self) -> Duration {
        between(self.began, monotonic_ns())
    }
}

/// The time from `start` to `end`, zero if that is the wrong way round.
pub fn between(start: i64, end: i64) -> Duration {
    Duration::from_nanos(u64::try_from(end - start).unwrap_or(0))
}

/// Says what was measured, past the capture of tests' output: it is wanted of good runs too.
pub fn report(measured: &str) {
    let line = format!("    {}: {measured}\n", thread::current().name().unwrap_or("a test"));
    let _ = stderr().write_all(line.as_bytes());
}
