//! Processes that the tests start, hurt and end, and those that they leave behind.

use std::fs;
use std::path::Path;
use std::process;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Stands in the environment of each process of a cluster, and of the workers that its supervisors
/// launch: `<pid of the tests>:<folder of the cluster>`.
pub(crate) const MARK: &str = "GALERNA_TEST_CLUSTER";

/// What a cluster's processes are marked with.
pub(crate) fn mark(folder: &Path) -> String {
    format!("{}:{}", process::id(), folder.display())
}

/// Sends a signal to a process, if it bears this mark: a number that was read a moment ago may be
/// another's by now.
pub(crate) fn signal(pid: u32, mark: &str, signal: Signal) -> Result<()> {
    ensure!(mark_of(pid).as_deref() == Some(mark), "process {pid} is gone, or not of this cluster");
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has this number")?;
    kill_process(raw, signal).with_context(|| format!("cannot send {signal:?} to process {pid}"))
}

/// The mark of a running process; none for zombies.
fn mark_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// All running processes with this mark.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    all().into_iter().filter(|pid| mark_of(*pid).as_deref() == Some(mark)).collect()
}

/// Whether a process of this cluster runs under this number.
pub(crate) fn is_running(pid: u32, mark: &str) -> bool {
    mark_of(pid).as_deref() == Some(mark)
}

/// Ends every process with this mark, whatever it is doing.
pub(crate) fn kill_marked(mark: &str) {
    for pid in marked(mark) {
        // It may have ended by itself.
        let _ = signal(pid, mark, Signal::KILL);
    }
}

/// Ends what earlier tests left behind that were themselves killed.
pub(crate) fn sweep() {
    for pid in all() {
        let Some(mark) = mark_of(pid) else { continue };
        let owner = mark.split(':').next().and_then(|owner| owner.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = signal(pid, &mark, Signal::KILL);
        }
    }
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
