//! What this machine is and has: platform, CPU and memory, as far as the container may use them.

use std::fs;
use std::path::Path;
use std::process::Command;

use galerna_protocol::Platform;

/// Points of CPU (100 are a core), and mebibytes of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resources {
    pub(crate) cpu: f64,
    pub(crate) memory_mb: f64,
}

/// What may be used here.
pub(crate) fn resources() -> Resources {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let read = |path: String| fs::read_to_string(path).ok();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut cpu = cores as f64 * 100.0;
    let mut memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    for folder in cgroup_folders(&groups) {
        let quota = read(format!("{folder}/cpu.max")).and_then(|text| cpu_quota(&text)).or_else(|| {
            let quota = read(format!("{folder}/cpu.cfs_quota_us"))?;
            cpu_quota(&format!("{} {}", quota.trim(), read(format!("{folder}/cpu.cfs_period_us"))?))
        });
        cpu = quota.map_or(cpu, |quota| cpu.min(quota));
        let limit = ["memory.max", "memory.limit_in_bytes"]
            .iter()
            .find_map(|name| read(format!("{folder}/{name}"))?.trim().parse::<u64>().ok());
        memory = memory.map(|memory| limit.map_or(memory, |limit| memory.min(limit)));
    }
    Resources { cpu, memory_mb: memory.map_or(0.0, |bytes| (bytes / (1024 * 1024)) as f64) }
}

/// The folders with this process's limits: its own and all above, of both kinds of cgroups.
fn cgroup_folders(groups: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let base = match controllers {
            "" => "/sys/fs/cgroup".to_owned(),
            names if names.split(',').any(|name| name == "cpu" || name == "memory") => {
                format!("/sys/fs/cgroup/{names}")
            }
            _ => continue,
        };
        folders.extend(
            Path::new(path)
                .ancestors()
                .map(|path| format!("{base}{}", path.display()).trim_end_matches('/').to_owned()),
        );
    }
    folders
}

/// `max 100000` or `50000 100000`: points of CPU.
fn cpu_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| (quota / period * 100.0).round())
}

/// `MemTotal:  16384 kB`: bytes.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What runs here.
pub(crate) fn platform() -> Platform {
    #[cfg(unix)]
    let architecture = rustix::system::uname().machine().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let architecture = std::env::consts::ARCH.to_owned();
    Platform { os: std::env::consts::OS.to_owned(), architecture, libc: libc() }
}

/// `glibc 2.36`, `musl`; empty if that cannot be found out.
fn libc() -> String {
    if cfg!(not(target_os = "linux")) {
        return String::new();
    }
    // Without unsafe code the library cannot be asked; its file says it, too, and `ldd` belongs to it.
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own =
        maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..])).find(|path| path.contains("libc.so"));
    if let Some(version) = own.and_then(|path| version_in_library(&fs::read(path).ok()?)) {
        return format!("glibc {version}");
    }
    if let Ok(output) = Command::new("ldd").arg("--version").output() {
        let said = [output.stdout, output.stderr].concat();
        if let Some(libc) = version_in_ldd(&String::from_utf8_lossy(&said)) {
            return libc;
        }
    }
    let has_musl = fs::read_dir("/lib")
        .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("ld-musl")));
    if has_musl { "musl".to_owned() } else { String::new() }
}

/// glibc's file contains `… release version 2.36.`.
fn version_in_library(bytes: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"release version ";
    let at = bytes.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let version: String = bytes[at..]
        .iter()
        .take(12)
        .map(|byte| char::from(*byte))
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let version = version.trim_end_matches('.').to_owned();
    version.contains('.').then_some(version)
}

/// `ldd (Debian GLIBC 2.36-9) 2.36`, or `musl libc (x86_64)` and more lines.
fn version_in_ldd(text: &str) -> Option<String> {
    let first = text.lines().next()?;
    if first.contains("musl") {
        return Some("musl".to_owned());
    }
    let version = first.rsplit(' ').next()?;
    (version.contains('.') && version.chars().all(|c| c.is_ascii_digit() || c == '.'))
        .then(|| format!("glibc {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_kinds_of_cgroups_are_understood() {
        assert_eq!(cpu_quota("max 100000\n"), None);
        assert_eq!(cpu_quota("25000 100000\n"), Some(25.0));
        assert_eq!(cpu_quota("-1 100000"), None);
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
        assert_eq!(cgroup_folders("0::/a/b\n"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
        assert_eq!(cgroup_folders("4:cpu,cpuacct:/\n7:pids:/x\n"), ["/sys/fs/cgroup/cpu,cpuacct"]);
    }

    #[test]
    fn the_libc_is_recognised_by_its_own_words() {
        assert_eq!(version_in_ldd("ldd (Debian GLIBC 2.36-9+deb12u14) 2.36\nCopyright").as_deref(), Some("glibc 2.36"));
        assert_eq!(version_in_ldd("musl libc (x86_64)\nVersion 1.2.4\n").as_deref(), Some("musl"));
        assert_eq!(version_in_ldd("ldd: not a thing\n"), None);
        let file = b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopyright";
        assert_eq!(version_in_library(file).as_deref(), Some("2.36"));
        assert_eq!(version_in_library(b"nothing"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_a_platform_cores_and_memory() {
        let Resources { cpu, memory_mb } = resources();
        assert!(cpu >= 1.0 && memory_mb >= 64.0, "{cpu} {memory_mb}");
        let platform = platform();
        assert_eq!(platform.os, "linux");
        assert!(platform.libc.starts_with("glibc 2.") || platform.libc == "musl", "{platform}");
    }
}
