//! What the first process of a container has to do: it gets the signals that are meant for the daemon, and
//! inherits every process that has lost its parent, which stay as zombies until it has waited for them.
//!
//! A daemon cannot do that beside its own work: who waits for just any child takes the ends of those away that
//! others wait for. So the daemon runs as a child, and this process does nothing else.

use std::env;
use std::future::poll_fn;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::task::Poll;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{self, SignalKind, signal};

/// What is passed on.
const PASSED_ON: [Signal; 7] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH];
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

/// Whether this is the first process of its container.
pub(super) fn is_needed() -> bool {
    std::process::id() == 1
}

/// Runs this program again as a child, and looks after all processes until that has ended: its exit code.
///
/// # Errors
/// When there is no child.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Listened to before there is anybody to pass them on to, so that none is lost.
        let passed_on = PASSED_ON.into_iter().map(|it| Ok((it, signal(SignalKind::from_raw(it.as_raw()))?)));
        let mut signals = passed_on.collect::<std::io::Result<Vec<_>>>().context("cannot listen to signals")?;
        let mut ended = signal(SignalKind::child()).context("cannot listen to signals")?;
        let child = start()?;
        loop {
            if let Some(code) = reap(child) {
                return Ok(code);
            }
            tokio::select! {
                biased;
                _ = ended.recv() => {}
                signal = next(&mut signals) => {
                    // It may have ended just now, which is seen next.
                    let _ = kill_process(child, signal);
                }
            }
        }
    })
}

fn start() -> anyhow::Result<Pid> {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(env::current_exe().context("cannot find this program")?);
    // In a group of its own it gets what a terminal sends once: from here.
    command.arg0(name).args(arguments).process_group(0);
    let child = command.spawn().context("cannot start this program as a child")?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the child has no number")
}

/// Waits for all that have ended; how the child has, if it has.
fn reap(child: Pid) -> Option<ExitCode> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                let signalled = status.terminating_signal().map(|signal| SIGNALLED + signal);
                let code = status.exit_status().or(signalled).and_then(|code| u8::try_from(code).ok());
                return Some(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return None,
            // There is no child at all, so it cannot be seen how it ended.
            Err(_) => return Some(ExitCode::FAILURE),
        }
    }
}

async fn next(signals: &mut [(Signal, unix::Signal)]) -> Signal {
    poll_fn(|context| {
        let came =
            signals.iter_mut().find_map(|(signal, stream)| stream.poll_recv(context).is_ready().then_some(*signal));
        came.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
