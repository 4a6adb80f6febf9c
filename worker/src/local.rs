//! Runs a topology in this process, to its end or until it is stopped.

mod assembly;
mod coordinator;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "testing")]
use galerna_protocol::WorkerReport;
use galerna_topology_api::{Resources, Topology};
use tokio::sync::{mpsc, watch};

use crate::clock::WallClock;
use crate::crew::start_hook;
use crate::panics::{Panic, guarded};
use crate::run::RunShared;
use crate::runtimes::Runtimes;
use crate::summary::RunSummary;
use crate::tap::Tap;
use assembly::{Parts, assemble};
use coordinator::{Coordinator, Counters, Order};

/// How a topology is run in this process.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// Workers, which exchange serialized tuples; one unless set, whatever the topology's config
    /// says: one process has no use for more but to test.
    pub workers: Option<usize>,
    /// Whether tuples are serialized even within a worker: finds what would not survive it.
    pub serializes_all: bool,
    /// What the random numbers of tuple trees grow from.
    pub seed: u64,
    /// How long a stopped run may take for what is in flight; the message time-out unless set.
    pub drain_timeout: Option<Duration>,
    /// Where the wall clock is read.
    pub wall_clock: WallClock,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A worker hook refused.
    #[error("a worker hook failed: {0}")]
    Hook(galerna_topology_api::Error),
    /// A custom grouping could not be made.
    #[error("a custom grouping {0}")]
    Grouping(String),
    /// Threads could not be started.
    #[error("cannot start the runtime")]
    Runtime(#[from] std::io::Error),
}

/// A topology that runs in this process.
///
/// Dropping it ends the run at once.
#[derive(Debug)]
pub struct LocalRun {
    // Unbounded in itself: a few orders in a run's life.
    orders: mpsc::UnboundedSender<Order>,
    outcome: watch::Receiver<Option<RunSummary>>,
    counters: Arc<Counters>,
    /// Dropped last: everything above runs on them.
    _runtimes: Runtimes,
}

impl LocalRun {
    /// Starts a topology on threads of its own.
    ///
    /// # Errors
    /// When a worker hook refuses, or no threads can be had. Components that fail to start make the
    /// run fail instead.
    pub fn start(topology: Topology, options: LocalOptions) -> Result<Self, StartError> {
        let sharing = topology.components().iter().filter(|component| !component.is_blocking);
        let lanes: u32 = sharing.map(|component| component.executors).sum();
        let runtimes = Runtimes::own(lanes as usize, topology.config().worker_lanes())?;
        Self::start_on(topology, options, None, runtimes)
    }

    /// Starts a topology on the runtime that this is called on, whose clock may be paused.
    #[cfg(feature = "testing")]
    pub(crate) fn start_here(topology: Topology, options: LocalOptions, tap: Tap) -> Result<Self, StartError> {
        Self::start_on(topology, options, Some(tap), Runtimes::current())
    }

    #[allow(clippy::needless_pass_by_value, reason = "options are made for one run")]
    fn start_on(
        topology: Topology,
        options: LocalOptions,
        tap: Option<Tap>,
        mut runtimes: Runtimes,
    ) -> Result<Self, StartError> {
        let workers = options.workers.unwrap_or(1).max(1);
        let (event_sender, events) = mpsc::unbounded_channel();
        let run = Arc::new(RunShared::new(options.wall_clock.clone(), event_sender));
        let info = Arc::new(topology.info(format!("{}-local", topology.name())));
        let resources: Vec<Arc<Resources>> = (0..workers).map(|_| Arc::default()).collect();
        for hook in topology.worker_hooks() {
            for resources in &resources {
                start_hook(hook.as_ref(), &info, resources).map_err(StartError::Hook)?;
            }
        }
        let assembly = guarded(|| {
            assemble(&Parts {
                topology: &topology,
                info,
                run: run.clone(),
                serializes_all: options.serializes_all,
                seed: options.seed,
                own_threads: runtimes.own_threads(),
                most_lanes: topology.config().worker_lanes(),
                tap,
                resources,
            })
        })
        .map_err(|Panic(message)| StartError::Grouping(message))?;
        let counters = Arc::new(Counters::new(topology, run, assembly.stats));
        let drain_timeout =
            options.drain_timeout.or(counters.topology().config().message_timeout()).unwrap_or(Duration::from_secs(30));
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let (outcome_sender, outcome) = watch::channel(None);
        let mut lanes = runtimes.spawn_lanes(assembly.lanes)?;
        lanes.spawn_links(assembly.links);
        let coordinator = Coordinator {
            counters: counters.clone(),
            events,
            orders: order_receiver,
            lanes,
            spouts: assembly.spouts,
            tasks: assembly.tasks,
            drain_timeout,
            outcome: outcome_sender,
        };
        runtimes.spawn_coordinator(coordinator.run());
        Ok(Self { orders, outcome, counters, _runtimes: runtimes })
    }

    /// Waits for the end of the run.
    ///
    /// # Cancel safety
    /// It may be dropped and called again; once over, it answers the same each time.
    pub async fn finished(&mut self) -> RunSummary {
        match self.outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(summary)) => summary,
            // The coordinator is gone without an outcome: its runtime was shut down.
            _ => self.counters.summary(crate::summary::RunStatus::Stopped),
        }
    }

    /// Has the spouts emit nothing more, lets what is in flight come to its end, calls `flush` and
    /// `cleanup`, and ends. The run ends hard if that takes too long.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    /// Ends the run at once.
    pub fn abort(&self) {
        let _ = self.orders.send(Order::Abort);
    }

    /// Has the spouts emit, or emit nothing for now.
    pub fn set_active(&self, is_active: bool) {
        let _ = self.orders.send(Order::SetActive(is_active));
    }

    /// What workers of a cluster that run the same tasks would report.
    #[cfg(feature = "testing")]
    pub(crate) fn report(&self) -> WorkerReport {
        self.counters.report()
    }

    /// The counts so far, or the final ones.
    pub fn snapshot(&self) -> RunSummary {
        match &*self.outcome.borrow() {
            Some(summary) => summary.clone(),
            None => self.counters.summary(crate::summary::RunStatus::Running),
        }
    }
}
