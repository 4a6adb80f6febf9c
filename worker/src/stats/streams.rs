//! Counts by stream, and where a batch is counted.

use std::ops::{AddAssign, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use galerna_topology_api::engine::StagedRow;
use galerna_topology_api::{Component, TaskId, Topology};
use smol_str::SmolStr;

use super::{TaskStats, add};

/// Latencies that are gathered before they are published.
const MOST_GATHERED: usize = 1024;

/// The counts of one stream of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamCounts {
    pub(crate) emitted: u64,
    pub(crate) executed: u64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

impl AddAssign for StreamCounts {
    fn add_assign(&mut self, other: Self) {
        self.emitted += other.emitted;
        self.executed += other.executed;
        self.acked += other.acked;
        self.failed += other.failed;
    }
}

/// The published counts of one stream of a task.
#[derive(Debug)]
pub(crate) struct StreamStats {
    /// Who emits it; nobody named for the task's own.
    pub(crate) from: SmolStr,
    pub(crate) stream: SmolStr,
    emitted: AtomicU64,
    executed: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
}

impl StreamStats {
    fn new(from: SmolStr, stream: SmolStr) -> Self {
        let [emitted, executed, acked, failed] = [(); 4].map(|()| AtomicU64::new(0));
        Self { from, stream, emitted, executed, acked, failed }
    }

    /// All streams of a component's tasks: their own, then those that they receive, each once.
    pub(crate) fn of(component: &Component) -> Box<[Self]> {
        let own = component.output.iter().map(|stream| Self::new(SmolStr::default(), stream.id.clone()));
        let received = received(component).into_iter().map(|(from, stream)| Self::new(from.clone(), stream.clone()));
        own.chain(received).collect()
    }

    /// Adds to the counts. The task alone does.
    pub(crate) fn add(&self, counts: StreamCounts) {
        add(&self.emitted, counts.emitted);
        add(&self.executed, counts.executed);
        add(&self.acked, counts.acked);
        add(&self.failed, counts.failed);
    }

    /// What they have come to.
    pub(crate) fn counts(&self) -> StreamCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StreamCounts {
            emitted: count(&self.emitted),
            executed: count(&self.executed),
            acked: count(&self.acked),
            failed: count(&self.failed),
        }
    }
}

/// The streams that a component receives, each once however often it subscribes to it.
fn received(component: &Component) -> Vec<(&SmolStr, &SmolStr)> {
    let mut received = Vec::new();
    for input in &component.inputs {
        let stream = (&input.from, &input.stream);
        if !received.contains(&stream) {
            received.push(stream);
        }
    }
    received
}

/// Where the streams that a task receives stand among its counts.
#[derive(Debug, Default)]
pub(crate) struct InStreams {
    /// The place of the first; the task's own stand before it.
    first: usize,
    /// The tasks that emit each, and its place among their streams.
    sources: Vec<(Range<TaskId>, u16)>,
}

impl InStreams {
    pub(crate) fn of(component: &Component, topology: &Topology) -> Self {
        let sources = received(component).into_iter().map(|(from, stream)| {
            let source = topology.component(from);
            let place = source.and_then(|source| source.output.index_of(stream)).unwrap_or_default();
            (source.map_or(0..0, |source| source.tasks.clone()), place as u16)
        });
        Self { first: component.output.iter().count(), sources: sources.collect() }
    }

    /// The place of a stream of a task.
    pub(crate) fn place_of(&self, task: TaskId, stream: u16) -> usize {
        // What arrives is of one of these: whoever sends it has the same topology.
        let is_it = |(tasks, place): &(Range<TaskId>, u16)| *place == stream && tasks.contains(&task);
        self.first + self.sources.iter().position(is_it).unwrap_or_default()
    }
}

/// What a task has counted since it last published.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// As in [`TaskStats::streams`].
    streams: Box<[StreamCounts]>,
    /// How many of them are the task's own.
    own: usize,
    /// Nanoseconds from a call of `execute` to the ack of its tuple.
    process: Vec<u64>,
}

impl Counts {
    pub(crate) fn of(component: &Component, stats: &TaskStats) -> Self {
        let streams = stats.streams.iter().map(|_| StreamCounts::default()).collect();
        Self { streams, own: component.output.iter().count(), process: Vec::new() }
    }

    /// The counts of the stream in this place.
    #[inline]
    pub(crate) fn on(&mut self, place: usize) -> &mut StreamCounts {
        &mut self.streams[place]
    }

    /// Counts rows that were emitted.
    #[inline]
    pub(crate) fn emitted(&mut self, rows: &[StagedRow]) {
        if self.own == 1 {
            self.streams[0].emitted += rows.len() as u64;
        } else {
            rows.iter().for_each(|row| self.streams[usize::from(row.stream())].emitted += 1);
        }
    }

    /// Notes how long a tuple took from its call to its ack.
    pub(crate) fn processed(&mut self, nanos: u64, stats: &TaskStats) {
        self.process.push(nanos);
        if self.process.len() >= MOST_GATHERED {
            stats.latencies.process.record_all(self.process.drain(..));
        }
    }

    /// Publishes and starts again from nothing.
    pub(crate) fn publish(&mut self, stats: &TaskStats) {
        for (counts, published) in self.streams.iter_mut().zip(&stats.streams) {
            published.add(std::mem::take(counts));
        }
        if !self.process.is_empty() {
            stats.latencies.process.record_all(self.process.drain(..));
        }
    }
}
