//! The ends of workers that nobody had ordered, as `errors` and `describe` show them.

use std::time::Duration;

use galerna_protocol::{EndCause, WorkerEnd, WorkerState};
use galerna_topology_api::Timestamp;
use serde_json::{Value, json};

use super::numbers::seconds;

/// What a worker does, in text and JSON.
pub(super) fn state_name(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Unspecified => "-",
        WorkerState::Starting => "starting",
        WorkerState::Running => "running",
        WorkerState::Finished => "finished",
        WorkerState::Drained => "drained",
        WorkerState::Gone => "gone",
        WorkerState::NotResponding => "not responding",
    }
}

/// An entry of `errors`: the keys of every error, and the end itself.
pub(super) fn error_json(of: &WorkerEnd) -> Value {
    json!({
        "component": "",
        "task": 0,
        "message": of.reason,
        "count": 1,
        "last_unix_ms": of.unix_ms,
        "worker": worker(of),
        "first_unix_ms": of.unix_ms,
        "kind": "",
        "end": end_json(of),
    })
}

/// The end as `describe` has it.
pub(super) fn end_json(of: &WorkerEnd) -> Value {
    json!({
        "worker": worker(of),
        "incarnation": of.incarnation,
        "pid": of.pid,
        "unix_ms": of.unix_ms,
        "cause": cause(of),
        "reason": of.reason,
        "signal": of.signal,
        "exit_code": of.exit_code,
        "up_s": of.up_ms / 1000,
        "last_lines": of.last_lines.lines().collect::<Vec<_>>(),
    })
}

/// The section of `errors`; empty if there was no end.
pub(super) fn section(ends: &[WorkerEnd]) -> String {
    if ends.is_empty() {
        return String::new();
    }
    let ends = ends.iter().map(|end| {
        let lines = end.last_lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let title = if lines.is_empty() { "" } else { "; its last lines:" };
        format!("{}{title}\n{lines}", line(end))
    });
    format!("workers that ended, the last {KEPT} times each:\n{}", ends.collect::<String>())
}

/// How many ends of a worker Nimbus tells.
const KEPT: usize = 5;

/// `2026-01-31T12:00:00Z worker node-1:6701 (incarnation 3, process 4711, up 12 s): was ended by signal 9`
pub(super) fn line(of: &WorkerEnd) -> String {
    let at = Timestamp::from_millis(of.unix_ms);
    let up = match of.up_ms {
        0 => String::new(),
        millis => format!(", up {}", seconds(Duration::from_millis(millis).as_secs())),
    };
    let memory = if of.cause() == EndCause::OutOfMemory { " (out of memory)" } else { "" };
    let reason = of.reason.trim_end().replace('\n', "\n    ");
    format!("{at} worker {} (incarnation {}, process {}{up}): {reason}{memory}", worker(of), of.incarnation, of.pid)
}

fn worker(of: &WorkerEnd) -> String {
    of.worker.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn cause(of: &WorkerEnd) -> &'static str {
    match of.cause() {
        EndCause::Unspecified => "ended",
        EndCause::OutOfMemory => "out of memory",
        EndCause::NotResponding => "not responding",
        EndCause::NotAttached => "not attached",
    }
}
