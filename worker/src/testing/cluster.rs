//! Topologies in test functions.

use galerna_protocol::WorkerReport;
use galerna_topology_api::engine::{SpoutCell, SpoutFactory};
use galerna_topology_api::{DEFAULT_STREAM, Row, Topology, TopologyConfig, Value};
use tokio::time::{Duration, sleep};

use super::mock::MockSpout;
use crate::local::{LocalOptions, LocalRun, StartError};
use crate::summary::{ComponentSummary, RunStatus, RunSummary};
use crate::tap::Tap;

/// Runs topologies on the runtime of the test: a `#[tokio::test]`, best with `start_paused = true`,
/// so that time-outs and back-offs take no time.
#[derive(Default)]
pub struct LocalCluster {
    options: LocalOptions,
    spouts: Vec<(String, SpoutFactory)>,
    mocks: Vec<(String, Vec<Vec<Value>>)>,
    config: TopologyConfig,
}

/// A run that could not start, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFailed {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no spout of this id to stand in for.
    #[error("topology `{topology}` has no spout `{id}` to replace")]
    NoSuchSpout {
        /// The topology.
        topology: String,
        /// The id.
        id: String,
    },
    /// It started, and failed.
    #[error("the run failed: {}", .0.failure.as_ref().map_or("without a reason", |failure| &failure.message))]
    Failed(Box<RunSummary>),
}

impl LocalCluster {
    /// One worker, everything as the topology says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Several workers in this process; tuples between them are serialized.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.options.workers = Some(workers);
        self
    }

    /// Serializes every tuple, even within a worker.
    #[must_use]
    pub fn serialize_all(mut self) -> Self {
        self.options.serializes_all = true;
        self
    }

    /// What random numbers grow from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Sets a config key of the topologies that it runs.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.set(key, value);
        self
    }

    /// Has given rows come out of the spout of this id, on its default stream, instead of what it
    /// would emit.
    #[must_use]
    pub fn mock_spout<R: Row>(mut self, id: &str, rows: impl IntoIterator<Item = R>) -> Self {
        let to_vec = |row: R| {
            let mut values = Vec::new();
            row.append_to(&mut values);
            values
        };
        self.mocks.push((id.to_owned(), rows.into_iter().map(to_vec).collect()));
        self
    }

    /// Has another spout stand in for the one of this id: a [`Feeder`](super::Feeder)'s, for example.
    #[must_use]
    pub fn replace_spout(mut self, id: &str, factory: SpoutFactory) -> Self {
        self.spouts.push((id.to_owned(), factory));
        self
    }

    /// Starts a topology.
    ///
    /// # Errors
    /// When a spout to be replaced does not exist, or a worker hook refuses.
    pub async fn start(&self, mut topology: Topology) -> Result<RunningCluster, RunFailed> {
        let mut replacements = self.spouts.clone();
        for (id, rows) in &self.mocks {
            let fields =
                topology.component(id).and_then(|spout| spout.output.get(DEFAULT_STREAM)).map(|s| s.fields.clone());
            let rows = rows.clone();
            if let Some(fields) = fields {
                let factory = SpoutCell::factory(move || Ok(MockSpout::new(fields.clone(), rows.clone())));
                replacements.push((id.clone(), factory));
            } else {
                return Err(no_such_spout(&topology, id));
            }
        }
        for (id, factory) in replacements {
            if !topology.replace_spout(&id, factory) {
                return Err(no_such_spout(&topology, &id));
            }
        }
        *topology.config_mut() = topology.config().overridden_by(&self.config);
        let tap = Tap::default();
        let run = LocalRun::start_here(topology, self.options.clone(), tap.clone())?;
        Ok(RunningCluster { run, tap })
    }

    /// Runs a topology whose input ends, to its end.
    ///
    /// # Errors
    /// When it cannot start, or fails.
    pub async fn complete(&self, topology: Topology) -> Result<Completed, RunFailed> {
        self.start(topology).await?.finished().await
    }
}

fn no_such_spout(topology: &Topology, id: &str) -> RunFailed {
    RunFailed::NoSuchSpout { topology: topology.name().to_owned(), id: id.to_owned() }
}

/// A topology that runs in a test.
#[derive(Debug)]
pub struct RunningCluster {
    run: LocalRun,
    tap: Tap,
}

impl RunningCluster {
    /// The counts so far.
    pub fn snapshot(&self) -> RunSummary {
        self.run.snapshot()
    }

    /// What a worker would report so far, for the engine's own tests.
    #[doc(hidden)]
    pub fn report(&self) -> WorkerReport {
        self.run.report()
    }

    /// The rows that a component has emitted so far on its default stream.
    pub fn emitted(&self, component: &str) -> Vec<Vec<Value>> {
        self.tap.rows(component, DEFAULT_STREAM)
    }

    /// Waits until the counts fulfil a condition, looking every millisecond of the clock.
    pub async fn wait_until(&self, mut condition: impl FnMut(&RunSummary) -> bool) {
        while !condition(&self.snapshot()) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has the spouts emit, or emit nothing for now.
    pub fn set_active(&self, is_active: bool) {
        self.run.set_active(is_active);
    }

    /// Stops the run in good order.
    ///
    /// # Errors
    /// When it failed.
    pub async fn stop(self) -> Result<Completed, RunFailed> {
        self.run.stop();
        self.finished().await
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// When it failed.
    pub async fn finished(mut self) -> Result<Completed, RunFailed> {
        let summary = self.run.finished().await;
        if summary.status == RunStatus::Failed {
            return Err(RunFailed::Failed(Box::new(summary)));
        }
        let report = self.run.report();
        Ok(Completed { summary, report, tap: self.tap })
    }
}

/// A run that has come to its end.
#[derive(Clone, Debug)]
pub struct Completed {
    summary: RunSummary,
    report: WorkerReport,
    tap: Tap,
}

impl Completed {
    /// All counts.
    pub fn summary(&self) -> &RunSummary {
        &self.summary
    }

    /// What a worker would have reported, for the engine's own tests.
    #[doc(hidden)]
    pub fn report(&self) -> &WorkerReport {
        &self.report
    }

    /// All rows that a component emitted on its default stream.
    pub fn emitted(&self, component: &str) -> Vec<Vec<Value>> {
        self.emitted_on(component, DEFAULT_STREAM)
    }

    /// All rows that a component emitted on a stream.
    pub fn emitted_on(&self, component: &str, stream: &str) -> Vec<Vec<Value>> {
        self.tap.rows(component, stream)
    }

    /// The counts of a component.
    ///
    /// # Panics
    /// When there is no such component.
    pub fn component(&self, id: &str) -> &ComponentSummary {
        let found = self.summary.components.iter().find(|component| component.id == id);
        found.unwrap_or_else(|| panic!("there is no component `{id}`"))
    }

    /// What became of a spout's tuples.
    ///
    /// # Panics
    /// When there is no such component.
    pub fn spout(&self, id: &str) -> SpoutCounts {
        let component = self.component(id);
        SpoutCounts { acked: component.acked, failed: component.failed }
    }
}

/// What became of a spout's tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoutCounts {
    acked: u64,
    failed: u64,
}

impl SpoutCounts {
    /// Trees that were completed.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Trees that failed or timed out.
    pub fn failed(&self) -> u64 {
        self.failed
    }
}
