//! Workers as processes of this machine, each the leader of a process group of its own.
//!
//! On Linux a process is held by a pidfd, so a signal never reaches a later one of the same number,
//! and its end is seen even if it is no child. Elsewhere nothing is adopted.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::{Child, Command};

use super::{Control, Exit, Identity, Launch, Launcher, Process};

/// Launches real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes;

#[async_trait]
impl Launcher for Processes {
    async fn launch(&self, launch: &Launch) -> io::Result<Process> {
        let child = spawn(launch).await?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended before it could be watched"))?;
        let (identity, control) = hold(pid)?;
        Ok(Process { identity, exit: Box::pin(ended(child, Arc::clone(&control))), control })
    }

    fn adopt(&self, identity: &Identity) -> Option<Process> {
        adopt(identity)
    }

    fn find(&self, launch: &Launch) -> Option<Identity> {
        find(launch)
    }
}

async fn spawn(launch: &Launch) -> io::Result<Child> {
    for path in [Some(launch.directory.as_path()), launch.log.parent()].into_iter().flatten() {
        std::fs::create_dir_all(path)?;
    }
    // The file was written by this process. Between fork and exec, a child may still have it open for
    // writing for a moment; it cannot be started then.
    for _ in 0..50 {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&launch.log)?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).current_dir(&launch.directory);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(false);
        #[cfg(unix)]
        command.process_group(0);
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
    Err(io::ErrorKind::ExecutableFileBusy.into())
}

async fn ended(mut child: Child, control: Arc<Held>) -> Exit {
    let exit = match child.wait().await {
        Ok(status) => {
            #[cfg(unix)]
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            #[cfg(not(unix))]
            let signal = None;
            Exit { code: status.code(), signal }
        }
        Err(error) => {
            tracing::warn!("a worker cannot be waited for: {error}");
            Exit::default()
        }
    };
    control.sweep();
    exit
}

#[cfg(target_os = "linux")]
use linux::{Held, adopt, find, hold};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::Arc;

    use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Control, Exit, Identity, Launch, Process};

    /// A process that is held by its pidfd.
    #[derive(Debug)]
    pub(super) struct Held {
        pid: Pid,
        handle: OwnedFd,
    }

    impl Held {
        /// Ends what a process that is gone has left behind in its group.
        pub(super) fn sweep(&self) {
            // Nobody may be left, which is the rule.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }

        fn send(&self, signal: Signal) {
            if let Err(error) = pidfd_send_signal(&self.handle, signal)
                && error != rustix::io::Errno::SRCH
            {
                tracing::warn!("process {} cannot be signalled: {error}", self.pid.as_raw_nonzero());
            }
        }
    }

    impl Control for Held {
        fn ask(&self) {
            self.send(Signal::TERM);
        }

        fn kill(&self) {
            self.send(Signal::KILL);
        }
    }

    pub(super) fn hold(pid: u32) -> io::Result<(Identity, Arc<Held>)> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let handle = pidfd_open(number, PidfdFlags::empty())?;
        let started = stat_of(pid).map_or(0, |(_, started)| started);
        Ok((Identity { pid, started, boot: boot() }, Arc::new(Held { pid: number, handle })))
    }

    pub(super) fn adopt(identity: &Identity) -> Option<Process> {
        // Held first and compared then: what is held cannot become another process meanwhile.
        let (found, control) = hold(identity.pid).ok()?;
        if found != *identity || stat_of(identity.pid).is_none_or(|(state, _)| state == 'Z' || state == 'X') {
            return None;
        }
        #[allow(deprecated, reason = "its successor is unsafe; this descriptor is owned by what watches it")]
        let watch = |handle| AsyncFd::with_interest(handle, Interest::READABLE);
        let watched = control.handle.try_clone().and_then(watch);
        let watched = watched.inspect_err(|error| tracing::warn!("process {} is lost: {error}", identity.pid)).ok()?;
        let held = Arc::clone(&control);
        let exit = Box::pin(async move {
            if let Err(error) = watched.readable().await {
                tracing::warn!("a worker cannot be watched: {error}");
            }
            held.sweep();
            Exit::default()
        });
        Some(Process { identity: found, control, exit })
    }

    /// A process with exactly these arguments. A script has its interpreter in front of them.
    pub(super) fn find(launch: &Launch) -> Option<Identity> {
        let mut wanted = launch.program.as_os_str().as_bytes().to_vec();
        for argument in &launch.arguments {
            wanted.push(0);
            wanted.extend(argument.as_bytes());
        }
        wanted.push(0);
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let pid =
            numbers.find(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(&wanted)))?;
        Some(Identity { pid, started: stat_of(pid)?.1, boot: boot() })
    }

    /// State and start of a process.
    fn stat_of(pid: u32) -> Option<(char, u64)> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Its name, in parentheses, may contain anything: fields are counted from the last of them.
    fn parse_stat(text: &str) -> Option<(char, u64)> {
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        Some((state, fields.nth(18)?.parse().ok()?))
    }

    fn boot() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_start_of_a_process_is_found_behind_any_name() {
            let text = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
            assert_eq!(parse_stat(text), Some(('S', 4711)));
            assert_eq!(parse_stat("12 (a"), None);
            assert_eq!(parse_stat("12 (a) S 1 2"), None);
        }

        #[tokio::test]
        async fn a_process_of_the_same_number_that_started_at_another_time_is_not_adopted() {
            let (identity, _) = hold(std::process::id()).expect("this process");
            assert!(adopt(&identity).is_some());
            assert!(adopt(&Identity { started: identity.started + 1, ..identity.clone() }).is_none());
            assert!(adopt(&Identity { boot: "another".to_owned(), ..identity }).is_none());
        }
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::{Held, adopt, find, hold};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::sync::Arc;

    use super::{Control, Identity, Launch, Process};

    /// A child; nothing else is watched here.
    #[derive(Debug)]
    pub(super) struct Held {
        #[allow(dead_code, reason = "there are no signals on Windows")]
        pid: u32,
    }

    impl Held {
        pub(super) fn sweep(&self) {}

        #[cfg(unix)]
        fn send(&self, signal: rustix::process::Signal) {
            let number = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(number) = number {
                let _ = rustix::process::kill_process(number, signal);
            }
        }
    }

    impl Control for Held {
        fn ask(&self) {
            #[cfg(unix)]
            self.send(rustix::process::Signal::TERM);
        }

        fn kill(&self) {
            #[cfg(unix)]
            self.send(rustix::process::Signal::KILL);
        }
    }

    pub(super) fn hold(pid: u32) -> io::Result<(Identity, Arc<Held>)> {
        Ok((Identity { pid, started: 0, boot: String::new() }, Arc::new(Held { pid })))
    }

    pub(super) fn adopt(_: &Identity) -> Option<Process> {
        None
    }

    pub(super) fn find(_: &Launch) -> Option<Identity> {
        None
    }
}
