//! What this machine is and has: platform, CPU and memory, as far as the container may use them.

mod cgroups;

use std::fs;
use std::path::Path;
use std::process::Command;

use galerna_protocol::Platform;

pub(crate) use cgroups::{Cgroups, Limit};

/// Points of CPU (100 are a core), and mebibytes of memory, that may be used; `root` is where `/` is.
pub(crate) fn resources(root: &Path, groups: &Cgroups) -> (f64, f64) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64 * 100.0;
    let cpu = groups.cpu().map_or(cores, |quota| cores.min(quota));
    let memory = total_memory(root).into_iter().chain(groups.memory().map(|limit| limit.bytes)).min();
    (cpu, memory.map_or(0.0, |bytes| (bytes / (1024 * 1024)) as f64))
}

/// The limit of memory that binds: one that is above all that the machine has does not.
pub(crate) fn memory_limit(root: &Path, groups: &Cgroups) -> Option<Limit> {
    groups.memory().filter(|limit| total_memory(root).is_none_or(|total| limit.bytes < total))
}

/// The machine's memory, in bytes.
fn total_memory(root: &Path) -> Option<u64> {
    fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| parse_meminfo(&text))
}

/// `MemTotal:  16384 kB`: bytes.
fn parse_meminfo(text: &str) -> Option<u64> {
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
    fn the_machines_own_memory_bounds_what_a_group_allows() {
        assert_eq!(parse_meminfo("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
        let root = tempfile::tempdir().expect("a folder");
        for (file, content) in [("meminfo", "MemTotal: 16384 kB\n"), ("self/cgroup", "0::/\n")] {
            let path = root.path().join("proc").join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, content).expect("written");
        }
        let groups = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(&groups).expect("made");
        for (limit, announced, binding) in
            [("max", 16.0, None), ("8388608", 8.0, Some(8 << 20)), ("99999999", 16.0, None)]
        {
            fs::write(groups.join("memory.max"), limit).expect("written");
            let groups = Cgroups::find(root.path());
            assert_eq!(resources(root.path(), &groups).1, announced, "{limit}");
            assert_eq!(memory_limit(root.path(), &groups).map(|it| it.bytes), binding, "{limit}");
        }
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
        let root = Path::new("/");
        let (cpu, memory_mb) = resources(root, &Cgroups::find(root));
        assert!(cpu >= 1.0 && memory_mb >= 64.0, "{cpu} {memory_mb}");
        let platform = platform();
        assert_eq!(platform.os, "linux");
        assert!(platform.libc.starts_with("glibc 2.") || platform.libc == "musl", "{platform}");
    }
}
