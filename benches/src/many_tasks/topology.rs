//! The measured topology: sources that emit words and numbers, targets that read both.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galerna_topology_api::{
    Bolt, BoltResult, Emitter, Failure, InvalidTopology, Next, Result, Spout, SpoutEmitter, Streams, Topology,
    TopologyBuilder, TopologyContext, Tuple, Value,
};

use super::progress::{Progress, Tally};
use super::{Dealing, Options};
use crate::shapes::{TUPLES_PER_CALL, Texts, WORDS, emit, words};

/// Words of each target at least, so that keys fill all targets evenly.
const WORDS_PER_TARGET: usize = 16;
/// Mixes the order of the words.
const PRIME: usize = 7919;

pub(super) fn build(
    options: &Options,
    acked: bool,
    progress: &Arc<Progress>,
) -> std::result::Result<Topology, InvalidTopology> {
    let Options { from, to, grouping, executors, .. } = *options;
    let mut builder = TopologyBuilder::new("bench");
    builder.config("topology.acker.executors", i64::from(acked));
    let words: Arc<[Value]> = words(WORDS.max(WORDS_PER_TARGET * to as usize)).map(Value::from).collect();
    let steps = steps(words.len(), from);
    let sources = progress.clone();
    let source = move || Source::new(words.clone(), steps.clone(), acked, sources.clone());
    let _ = builder.spout("source", source).parallelism(executors.unwrap_or(from)).tasks(from);
    let targets = progress.clone();
    let target = move || Target { index: 0, progress: targets.clone() };
    let target = builder.bolt("target", target).parallelism(executors.unwrap_or(to)).tasks(to);
    let _ = match grouping {
        Dealing::Fields => target.fields("source", ["v"]),
        Dealing::Shuffle => target.shuffle("source"),
    };
    builder.build()
}

/// Emits a share of the tuples once all tasks are open, and then stays idle.
struct Source {
    words: Arc<[Value]>,
    /// A step per source.
    steps: Arc<[usize]>,
    texts: Texts,
    acked: bool,
    emitted: u64,
    quota: u64,
    is_open: bool,
    is_done: bool,
    index: usize,
    progress: Arc<Progress>,
}

impl Source {
    fn new(words: Arc<[Value]>, steps: Arc<[usize]>, acked: bool, progress: Arc<Progress>) -> Self {
        Self {
            texts: Texts::new(words.clone(), 0, 1),
            words,
            steps,
            acked,
            emitted: 0,
            quota: 0,
            is_open: false,
            is_done: false,
            index: 0,
            progress,
        }
    }

    fn tally(&self) -> &Tally {
        &self.progress.sources[self.index]
    }

    /// Tuples for the next call to emit.
    fn room(&self) -> u64 {
        if self.progress.shared.has_ended.load(Ordering::Relaxed) {
            return 0;
        }
        (self.quota - self.emitted).min(TUPLES_PER_CALL as u64)
    }
}

impl Spout for Source {
    type MessageId = i64;

    fn output(&self) -> Streams {
        Streams::default_fields(["v", "t"])
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        self.index = context.task_index() as usize;
        self.quota = self.progress.quota(self.index);
        let start = self.index * PRIME % self.words.len();
        self.texts = Texts::new(self.words.clone(), start, self.steps[self.index]);
        self.progress.count_open();
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        if !self.is_open {
            self.is_open = *self.progress.is_open.borrow();
            if !self.is_open {
                return Ok(Next::Idle);
            }
        }
        let room = self.room();
        if room == 0 {
            if !self.is_done {
                self.is_done = true;
                self.progress.count_done();
            }
            return Ok(Next::Idle);
        }
        for _ in 0..room {
            self.emitted += 1;
            let number = self.progress.shared.number(self.emitted as i64);
            self.tally().count(number);
            emit(out, self.acked, self.texts.take(), number);
        }
        Ok(Next::Emitted)
    }

    async fn ready(&mut self, _: &TopologyContext) {
        if self.is_done {
            std::future::pending::<()>().await;
        }
        self.progress.all_open().await;
    }

    async fn ack(&mut self, number: i64, _: &TopologyContext) -> Result<()> {
        self.tally().count_ack();
        self.progress.shared.record(&self.progress.shared.complete, number);
        Ok(())
    }

    async fn fail(&mut self, _: i64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.tally().count_failure();
        Ok(())
    }
}

/// The step of each source in its walk through the words. Each step is prime to `words`, so that a source visits
/// all words. Steps repeat once the primes to `words` run out.
fn steps(words: usize, sources: u32) -> Arc<[usize]> {
    let steps = (PRIME..).map(|step| step % words);
    steps.filter(|step| greatest_common_divisor(*step, words) == 1).take(sources as usize).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Reads both values.
struct Target {
    index: usize,
    progress: Arc<Progress>,
}

impl Bolt for Target {
    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        self.index = context.task_index() as usize;
        self.progress.count_open();
        Ok(())
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        let (text, number) = (tuple.str(0)?, tuple.i64(1)?);
        self.progress.targets[self.index].count(number);
        self.progress.shared.record(&self.progress.shared.latency, number);
        std::hint::black_box(text.len());
        Ok(())
    }
}
