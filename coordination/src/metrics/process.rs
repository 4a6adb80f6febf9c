//! What the system knows of this process, by the names that Prometheus's own libraries use.

use super::family::{Families, Metric};

const CPU: Metric =
    Metric::counter("process_cpu_seconds_total", "The time that the daemon's own process has computed.", &[]);
const MEMORY: Metric =
    Metric::gauge("process_resident_memory_bytes", "The memory that the daemon's own process holds.", &[]);
const FILES: Metric = Metric::gauge("process_open_fds", "The files that the daemon's own process has open.", &[]);
const MOST_FILES: Metric =
    Metric::gauge("process_max_fds", "The files that the daemon's own process may have open.", &[]);
const START: Metric =
    Metric::gauge("process_start_time_seconds", "When the daemon's own process started, in seconds since 1970.", &[]);

/// All of them.
pub const PROCESS_METRICS: &[Metric] = &[CPU, MEMORY, FILES, MOST_FILES, START];

/// What is known of this process: nothing, where there is no `/proc`.
pub fn add_process(families: &mut Families) {
    #[cfg(unix)]
    if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        families.add(&CPU, &[], stat.cpu_ticks as f64 / ticks);
        families.add(&MEMORY, &[], stat.resident_pages * rustix::param::page_size() as u64);
        if let Some(boot) = std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time) {
            families.add(&START, &[], boot as f64 + stat.started_ticks as f64 / ticks);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the folder itself.
            families.add(&FILES, &[], files.count().saturating_sub(1));
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            families.add(&MOST_FILES, &[], most);
        }
    }
}

/// The bytes of memory that a process holds, if that is known.
pub fn resident_memory(pid: u32) -> Option<u64> {
    #[cfg(unix)]
    {
        let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * rustix::param::page_size() as u64)
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        None
    }
}

#[cfg(unix)]
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
    resident_pages: u64,
}

#[cfg(unix)]
impl Stat {
    /// From `/proc/<pid>/stat`; the program's name, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the name is the second.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, started_ticks: field(22)?, resident_pages: field(24)? })
    }
}

#[cfg(unix)]
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_process_is_known_and_that_of_none_is_not() {
        assert!(resident_memory(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(resident_memory(u32::MAX), None);
    }

    #[test]
    fn fields_are_found_behind_any_name_and_this_process_has_all_metrics() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 1 2 3 4 55 45 8 9 20 0 1 0 777 1000 888 18446744073709551615";
        let expected = Stat { cpu_ticks: 100, started_ticks: 777, resident_pages: 888 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!((Stat::parse("7 (a) S 1"), boot_time("cpu 1\nbtime 42\n")), (None, Some(42)));
        let mut families = Families::default();
        add_process(&mut families);
        let text = families.into_text();
        for metric in PROCESS_METRICS {
            assert!(text.contains(&format!("\n{} ", metric.name)), "{} is not in {text}", metric.name);
        }
    }
}
