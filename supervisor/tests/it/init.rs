//! The daemon as the first process of a container.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::support::{eventually, is_alive, signal};

/// A container, as far as processes are concerned. Dropping it ends all that runs in it.
struct Container {
    unshare: Child,
    /// Its first process.
    init: u32,
}

const UNSHARE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// Why no container can be made here.
fn why_none() -> Option<String> {
    match Command::new("unshare").args(UNSHARE).arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

impl Container {
    /// Runs a supervisor, whose store cannot be reached, as process 1.
    async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let log = File::create(folder.join("log")).expect("made");
        let mut command = Command::new("unshare");
        command.args(UNSHARE).arg(env!("CARGO_BIN_EXE_galerna-supervisor"));
        command.args(["--etcd", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--slots", "1"]);
        command.arg("--data").arg(folder.join("data")).args(arguments);
        let unshare = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("started");
        let mut container = Self { unshare, init: 0 };
        eventually("there is a first process", || {
            container.init = children(container.unshare.id()).first().copied().unwrap_or_default();
            container.init != 0 || container.unshare.try_wait().expect("watched").is_some()
        })
        .await;
        container
    }

    async fn ends(mut self) -> ExitStatus {
        let mut exit = None;
        eventually("it ends", || {
            exit = self.unshare.try_wait().expect("watched");
            exit.is_some()
        })
        .await;
        exit.expect("it has ended")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// Name and parent of a process.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (front, back) = stat.rsplit_once(')')?;
    let parent = back.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((front.split_once('(')?.1.to_owned(), parent))
}

fn children(of: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("Linux").flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[tokio::test]
async fn process_1_buries_orphans_passes_signals_on_and_ends_as_its_daemon_does() {
    if let Some(reason) = why_none() {
        eprintln!("skipped: no container can be made here: {reason}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let container = Container::start(folder.path(), &[]).await;
    eventually("it serves", || log(folder.path()).contains(" serves on ")).await;
    let daemon = *children(container.init).first().expect("the daemon is a child");

    // A process whose parent ends falls to process 1, which has to wait for it.
    let target = container.init.to_string();
    let shell = ["--target", &target, "--pid", "sh", "-c", "sleep 600 >/dev/null 2>&1 &"];
    assert!(Command::new("nsenter").args(shell).status().expect("entered").success());
    let mut orphan = 0;
    eventually("the orphan falls to process 1", || {
        let found =
            children(container.init).into_iter().find(|pid| stat(*pid).is_some_and(|(name, _)| name == "sleep"));
        orphan = found.unwrap_or_default();
        orphan != 0
    })
    .await;
    signal(orphan, Signal::KILL);
    eventually("the orphan is buried", || stat(orphan).is_none_or(|(_, parent)| parent != container.init)).await;
    assert!(is_alive(daemon));

    signal(container.init, Signal::TERM);
    let exit = container.ends().await;
    assert!(exit.success(), "{exit}: {}", log(folder.path()));
    assert!(log(folder.path()).contains("stopping"), "it was not told to stop: {}", log(folder.path()));
    assert!(!is_alive(daemon));
}

#[tokio::test]
async fn process_1_tells_how_its_daemon_has_ended() {
    if let Some(reason) = why_none() {
        eprintln!("skipped: no container can be made here: {reason}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let exit = Container::start(folder.path(), &["--no-such-option"]).await.ends().await;
    assert_eq!((exit.code(), exit.signal()), (Some(2), None), "{}", log(folder.path()));

    let container = Container::start(folder.path(), &[]).await;
    eventually("it serves", || log(folder.path()).contains(" serves on ")).await;
    signal(*children(container.init).first().expect("the daemon is a child"), Signal::KILL);
    assert_eq!(container.ends().await.code(), Some(137));
}
