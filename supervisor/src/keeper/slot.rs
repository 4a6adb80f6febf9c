//! One slot, and the worker that runs there.

use std::fmt;
use std::sync::Arc;

use galerna_coordination::Revision;
use galerna_protocol::{EndCause, WorkerPlan};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::decide;
use crate::launcher::Control;
use crate::liveness::Pulse;
use crate::memory::Share;
use crate::records::Record;
use crate::restarts::{Restarts, STEADY};

/// A place for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) standing: Standing,
    /// How launches went for this topology.
    pub(super) topology: String,
    pub(super) restarts: Restarts,
    /// The topology whose worker has ended here for good.
    pub(super) ended: Option<String>,
    /// The revision of the assignment that a worker of this slot has learnt to be outdated.
    pub(super) fenced_at: Option<Revision>,
}

/// What stands in it.
#[derive(Debug, Default)]
pub(super) enum Standing {
    #[default]
    Empty,
    Preparing {
        topology: String,
        task: AbortHandle,
    },
    Running(Box<Worker>),
}

/// A process.
pub(super) struct Worker {
    pub(super) record: Record,
    pub(super) control: Arc<dyn Control>,
    /// Since when it runs, as far as is known.
    pub(super) since: Instant,
    pub(super) unattached_since: Option<Instant>,
    pub(super) asked_at: Option<Instant>,
    pub(super) is_killed: bool,
    /// Why it was killed, if that is its own fault.
    pub(super) why: Option<(EndCause, String)>,
    pub(super) pulse: Pulse,
    /// The most memory that it may have, if that is bounded.
    pub(super) share: Option<Share>,
    pub(super) plan: watch::Sender<WorkerPlan>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("record", &self.record).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn ask(&mut self, now: Instant) {
        if self.asked_at.is_none() {
            self.asked_at = Some(now);
            self.control.ask();
        }
    }

    /// Ends it for a fault of its own.
    pub(super) fn kill_for(&mut self, cause: EndCause, why: String) {
        self.why = Some((cause, why));
        self.kill();
    }

    pub(super) fn kill(&mut self) {
        if !self.is_killed {
            self.is_killed = true;
            self.control.kill();
        }
    }
}

impl Slot {
    pub(super) fn facts(&self) -> decide::Standing<'_> {
        match &self.standing {
            Standing::Empty => decide::Standing::Empty,
            Standing::Preparing { topology, .. } => decide::Standing::Preparing { topology },
            Standing::Running(worker) => decide::Standing::Running {
                topology: &worker.record.topology,
                unattached_since: worker.unattached_since,
                asked_at: worker.asked_at,
                is_killed: worker.is_killed,
                silence: worker.pulse.silence(),
            },
        }
    }

    pub(super) fn worker(&mut self) -> Option<&mut Worker> {
        match &mut self.standing {
            Standing::Running(worker) => Some(worker),
            _ => None,
        }
    }

    /// How long its worker has been up.
    pub(super) fn up(&self, now: Instant) -> Option<std::time::Duration> {
        match &self.standing {
            Standing::Running(worker) => Some(now.saturating_duration_since(worker.since)),
            _ => None,
        }
    }

    /// When its worker will be taken to be well, if it was not.
    pub(super) fn steady_at(&self) -> Option<Instant> {
        match &self.standing {
            Standing::Running(worker) if self.restarts.failed > 0 => Some(worker.since + STEADY),
            _ => None,
        }
    }

    /// Whether it must be remembered though nothing is wanted here.
    pub(super) fn matters(&self) -> bool {
        !matches!(self.standing, Standing::Empty)
    }
}
