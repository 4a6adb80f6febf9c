//! The measured topologies. Tuples are a short text and a number: a counter, or in one of 64 the
//! time of its emission, negative.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use galerna_topology_api::{
    Bolt, BoltResult, Emitter, Histogram, InvalidTopology, Next, Result, Spout, SpoutEmitter, Streams, Topology,
    TopologyBuilder, TopologyContext, Tuple, Value,
};
use tokio::time::Instant;

use crate::Shape;

/// A source that has many tuples at hand emits several a call, as the stock spouts do.
pub(crate) const TUPLES_PER_CALL: usize = 16;
/// Tuples of which one is stamped.
const STAMPED: i64 = 64;
pub(crate) const WORDS: usize = 10_000;
const LINES: usize = 1_000;
const WORDS_PER_LINE: usize = 10;
/// What is counted is published when there is this much.
const PUBLISH: u64 = 1024;

/// What the components of a measured topology and the harness share.
#[derive(Debug)]
pub(crate) struct Shared {
    began: Instant,
    pub(crate) has_ended: AtomicBool,
    pub(crate) emitted: AtomicU64,
    pub(crate) sunk: AtomicU64,
    /// Sums of all numbers, wrapping: what was emitted must be what arrived.
    pub(crate) emitted_sum: AtomicI64,
    pub(crate) sunk_sum: AtomicI64,
    /// Nanoseconds since the start, plus 1, of the first tuple at the last bolt.
    pub(crate) first: AtomicU64,
    pub(crate) latency: Histogram,
    pub(crate) complete: Histogram,
    /// Whether latencies count already: the warm-up is over.
    pub(crate) is_measuring: AtomicBool,
}

impl Shared {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            has_ended: AtomicBool::new(false),
            emitted: AtomicU64::new(0),
            sunk: AtomicU64::new(0),
            emitted_sum: AtomicI64::new(0),
            sunk_sum: AtomicI64::new(0),
            first: AtomicU64::new(0),
            latency: Histogram::default(),
            complete: Histogram::default(),
            is_measuring: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> i64 {
        self.began.elapsed().as_nanos() as i64
    }

    /// The number of a task's `n`th tuple.
    #[inline]
    pub(crate) fn number(&self, n: i64) -> i64 {
        if n % STAMPED == 0 { -self.now() } else { n }
    }

    pub(crate) fn record(&self, histogram: &Histogram, stamp: i64) {
        if stamp < 0 && self.is_measuring.load(Ordering::Relaxed) {
            histogram.record((self.now() + stamp).max(0) as u64);
        }
    }
}

/// Builds a measured topology.
pub(crate) fn build(shape: Shape, acked: bool, shared: &Arc<Shared>) -> Result<Topology, InvalidTopology> {
    let mut builder = TopologyBuilder::new("bench");
    builder.config("topology.acker.executors", i64::from(acked));
    let texts: Arc<[Value]> = match shape {
        Shape::WordCount => words(WORDS).map(Value::from).collect(),
        Shape::LinesWordCount => lines().into_iter().map(Value::from).collect(),
        _ => [Value::from("some data")].into(),
    };
    // Every emitted number arrives once, or once per word of its line.
    let copies = if shape == Shape::LinesWordCount { WORDS_PER_LINE as i64 } else { 1 };
    let spout_shared = shared.clone();
    let _ = builder.spout("spout", move || Source::new(texts.clone(), copies, acked, spout_shared.clone()));
    let sink = shared.clone();
    let null = move || Null { sink: Sink::new(sink.clone()) };
    let sink = shared.clone();
    let count = move || Count { counts: HashMap::new(), sink: Sink::new(sink.clone()) };
    match shape {
        Shape::ConstNull
        | Shape::TwoWorkers
        | Shape::Uneven
        | Shape::ManyTasks
        | Shape::ClusterStart
        | Shape::Schedule => {
            let _ = builder.bolt("null", null).local_or_shuffle("spout");
        }
        Shape::ConstIdentityNull => {
            let _ = builder.bolt("identity", || Identity).local_or_shuffle("spout");
            let _ = builder.bolt("null", null).local_or_shuffle("identity");
        }
        Shape::WordCount => {
            let _ = builder.bolt("count", count).fields("spout", ["v"]);
        }
        Shape::LinesWordCount => {
            let _ = builder.bolt("split", || Split).local_or_shuffle("spout");
            let _ = builder.bolt("count", count).fields("split", ["v"]);
        }
    }
    builder.build()
}

pub(crate) fn words(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("word{n}"))
}

fn lines() -> Vec<String> {
    let words: Vec<String> = words(WORDS).collect();
    // A linear congruential generator is random enough for picking words.
    let mut state = 7u64;
    let mut pick = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words[(state >> 33) as usize % WORDS].as_str()
    };
    (0..LINES).map(|_| (0..WORDS_PER_LINE).map(|_| pick()).collect::<Vec<_>>().join(" ")).collect()
}

/// The texts that a source emits, in turn and without end.
pub(crate) struct Texts {
    texts: Arc<[Value]>,
    next: usize,
    step: usize,
}

impl Texts {
    /// A walk from text `start` by `step`, both below the number of texts. A step that is prime to this
    /// number visits all texts, in a mixed order.
    pub(crate) fn new(texts: Arc<[Value]>, start: usize, step: usize) -> Self {
        Self { texts, next: start, step }
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Value {
        let text = self.texts[self.next].clone();
        self.next += self.step;
        if self.next >= self.texts.len() {
            self.next -= self.texts.len();
        }
        text
    }
}

/// Emits one tuple, tracked by its number if it is to be acked.
#[inline]
pub(crate) fn emit(out: &mut SpoutEmitter<'_, i64>, acked: bool, text: Value, number: i64) {
    if acked {
        out.emit(number, [text, Value::Int(number)]);
    } else {
        out.emit_untracked([text, Value::Int(number)]);
    }
}

struct Source {
    texts: Texts,
    copies: i64,
    acked: bool,
    n: i64,
    /// How many of them are published.
    published: i64,
    sum: i64,
    shared: Arc<Shared>,
}

impl Source {
    fn new(texts: Arc<[Value]>, copies: i64, acked: bool, shared: Arc<Shared>) -> Self {
        let step = if texts.len() > 1 { 7919 % texts.len() } else { 0 };
        Self { texts: Texts::new(texts, 0, step), copies, acked, n: 0, published: 0, sum: 0, shared }
    }

    /// Emits a tuple, unless the measurement is over.
    #[inline]
    fn emit_one(&mut self, out: &mut SpoutEmitter<'_, i64>) -> bool {
        let n = self.n + 1;
        if n % PUBLISH as i64 == 0 {
            self.publish();
            if self.shared.has_ended.load(Ordering::Relaxed) {
                return false;
            }
        }
        let number = self.shared.number(n);
        self.n = n;
        self.sum = self.sum.wrapping_add(number.wrapping_mul(self.copies));
        emit(out, self.acked, self.texts.take(), number);
        true
    }

    fn publish(&mut self) {
        self.shared.emitted.fetch_add((self.n - self.published) as u64, Ordering::Relaxed);
        self.published = self.n;
        self.shared.emitted_sum.fetch_add(std::mem::take(&mut self.sum), Ordering::Relaxed);
    }
}

impl Spout for Source {
    type MessageId = i64;

    fn output(&self) -> Streams {
        Streams::default_fields(["v", "t"])
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        for _ in 0..TUPLES_PER_CALL {
            if !self.emit_one(out) {
                return Ok(Next::Exhausted);
            }
        }
        Ok(Next::Emitted)
    }

    async fn ack(&mut self, stamp: i64, _: &TopologyContext) -> Result<()> {
        self.shared.record(&self.shared.complete, stamp);
        Ok(())
    }

    async fn close(&mut self, _: &TopologyContext) -> Result<()> {
        self.publish();
        Ok(())
    }
}

/// Counts and sums what arrives at the last bolt.
struct Sink {
    count: u64,
    sum: i64,
    has_any: bool,
    shared: Arc<Shared>,
}

impl Sink {
    fn new(shared: Arc<Shared>) -> Self {
        Self { count: 0, sum: 0, has_any: false, shared }
    }

    #[inline]
    fn take(&mut self, number: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
        if number < 0 {
            self.shared.record(&self.shared.latency, number);
        }
        if self.count == PUBLISH || !self.has_any {
            if !self.has_any {
                self.has_any = true;
                self.shared.first.store(self.shared.now() as u64 + 1, Ordering::Relaxed);
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.shared.sunk.fetch_add(std::mem::take(&mut self.count), Ordering::Relaxed);
        self.shared.sunk_sum.fetch_add(std::mem::take(&mut self.sum), Ordering::Relaxed);
    }
}

struct Null {
    sink: Sink,
}

impl Bolt for Null {
    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        let text = tuple.str(0)?;
        self.sink.take(tuple.i64(1)?);
        std::hint::black_box(text.len());
        Ok(())
    }

    async fn flush(&mut self, _: &mut Emitter<'_>) -> BoltResult {
        self.sink.publish();
        Ok(())
    }
}

struct Identity;

impl Bolt for Identity {
    fn output(&self) -> Streams {
        Streams::default_fields(["v", "t"])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(tuple.values());
        Ok(())
    }
}

struct Split;

impl Bolt for Split {
    fn output(&self) -> Streams {
        Streams::default_fields(["v", "t"])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let number = tuple.i64(1)?;
        for word in tuple.str(0)?.split(' ') {
            out.emit([Value::from(word), Value::Int(number)]);
        }
        Ok(())
    }
}

struct Count {
    counts: HashMap<Value, u64>,
    sink: Sink,
}

impl Bolt for Count {
    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        let word = tuple.get(0)?;
        match self.counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(word.clone(), 1);
            }
        }
        self.sink.take(tuple.i64(1)?);
        Ok(())
    }

    async fn flush(&mut self, _: &mut Emitter<'_>) -> BoltResult {
        self.sink.publish();
        Ok(())
    }
}
