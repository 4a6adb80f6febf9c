//! What the operating system says of a process: `self`, or the number of another one.

use std::fmt::Display;
use std::fs;

/// Seconds of processor time used so far, by all threads.
pub(crate) fn cpu_seconds(process: impl Display) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the command's name, which may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    const TICKS_PER_SECOND: f64 = 100.0;
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// The most memory that was resident at once, in bytes.
pub(crate) fn peak_memory(process: impl Display) -> u64 {
    field(&format!("/proc/{process}/status"), "VmHWM:") * 1024
}

/// The memory that is resident now, in bytes.
pub(crate) fn resident_memory(process: impl Display) -> u64 {
    field(&format!("/proc/{process}/status"), "VmRSS:") * 1024
}

/// Bytes written so far, to files, pipes and connections.
pub(crate) fn written_bytes(process: impl Display) -> u64 {
    field(&format!("/proc/{process}/io"), "wchar:")
}

/// A number, by the name at the start of its line; 0 if there is none.
fn field(path: &str, name: &str) -> u64 {
    let content = fs::read_to_string(path).unwrap_or_default();
    let value = content.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
