//! Sees a run through: to its end, its deadline or a signal, with progress on the way.

use std::future::pending;
use std::time::Duration;

use galerna_protocol::Signals;
use galerna_worker::{LocalRun, RunSummary};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::status_line::StatusLine;
use crate::cli::io::Io;
use crate::cli::reader;

/// How long a run that is stopped at once may take to say so.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How often progress is shown.
const REFRESH: Duration = Duration::from_millis(200);

/// What ends a run besides its input and signals.
pub(super) struct Until {
    /// It has run for so long.
    pub(super) time: Option<Duration>,
    /// Whoever read stdout has left.
    pub(super) nobody_reads: bool,
}

/// How a run ended.
pub(super) struct Outcome {
    pub(super) summary: RunSummary,
    /// Whether it was stopped at once, without draining.
    pub(super) is_interrupted: bool,
}

/// Waits for the run's end. A first signal or the deadline has it drain; a second signal ends it at
/// once.
pub(super) async fn to_the_end(run: &mut LocalRun, until: Until, signals: &mut Signals, io: &mut Io<'_>) -> Outcome {
    // A time too long to reckon with is no deadline.
    let mut deadline = until.time.and_then(|time| Instant::now().checked_add(time));
    let mut status = StatusLine::open(io);
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_stopping, mut is_interrupted) = (false, false);
    let summary = loop {
        tokio::select! {
            biased;
            summary = run.finished() => break summary,
            () = signals.next() => {
                if is_stopping {
                    (is_interrupted, deadline) = (true, Some(Instant::now() + LAST_WAIT));
                    run.abort();
                } else {
                    status.say("stopping: what is in flight is processed first; Ctrl-C again stops at once");
                    (is_stopping, deadline) = (true, None);
                    run.stop();
                }
            }
            () = at(deadline) => {
                if is_interrupted {
                    break run.snapshot();
                }
                (is_stopping, deadline) = (true, None);
                run.stop();
            }
            _ = refresh.tick(), if status.is_shown() || until.nobody_reads => {
                if status.is_shown() {
                    status.show(&run.snapshot(), is_stopping);
                }
                if until.nobody_reads && !is_stopping && reader::has_left() {
                    (is_stopping, deadline) = (true, None);
                    run.stop();
                }
            }
        }
    };
    Outcome { summary, is_interrupted }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
