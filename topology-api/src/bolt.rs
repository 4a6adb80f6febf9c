//! The traits of bolts.

use std::future::{Future, ready};

use crate::context::TopologyContext;
use crate::emitter::{Emitter, ManualEmitter};
use crate::error::Result;
use crate::fields::Streams;
use crate::tuple::Tuple;
use crate::wiring::Wiring;

/// What a bolt's methods return: an error fails the tuple in hand, and the task goes on.
pub type BoltResult = Result<()>;

/// A step of a topology: takes tuples and emits others (Storm's `BasicBolt`).
///
/// What `execute` emits is anchored to its input; returning `Ok` acks the input, `Err` fails it,
/// lists the error and withdraws what the call emitted. A panic does the same, and the task is made
/// anew by its factory: what it held in memory is lost.
///
/// Methods are written as `async fn`. One task's methods never run at the same time.
pub trait Bolt: Send + 'static {
    /// The streams that it emits on. Called once, after construction, before anything runs.
    fn output(&self) -> Streams {
        Streams::none()
    }

    /// Compares the properties with the inputs when the topology is validated: fields that the bolt reads,
    /// or the number of its tasks. Nothing is running then, and this instance never will; do not open or
    /// connect anything.
    fn check(&self, wiring: &mut Wiring<'_>) {
        let _ = wiring;
    }

    /// Whether the bolt does its work in `tick`. If so and `topology.tick.tuple.freq.secs` is not set, validation warns.
    /// Called once, after construction.
    fn needs_ticks(&self) -> bool {
        false
    }

    /// Before the first tuple, on the worker that runs the task.
    fn prepare(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// One tuple.
    fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> impl Future<Output = BoltResult> + Send;

    /// Every `topology.tick.tuple.freq.secs`, if that is set.
    fn tick(&mut self, out: &mut Emitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// All inputs have said that nothing follows for now: emit and ack what is held back. May come
    /// again after replays.
    fn flush(&mut self, out: &mut Emitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// All inputs have ended and all is acked: emit last words. Called once, in bounded runs only.
    fn finish(&mut self, out: &mut Emitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// Before the task ends in good order; a worker that is killed never gets here.
    fn cleanup(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }
}

/// A bolt that acks by hand: joins, windows, writers in batches.
///
/// As [`Bolt`], but `execute` may [`keep`](ManualEmitter::keep) its input and ack or fail it in a
/// later call. An input that is not kept is acked on `Ok` and failed on `Err`; a kept one that is
/// dropped fails at once. In a call that returns `Err`, what it acked fails instead.
pub trait ManualBolt: Send + 'static {
    /// As [`Bolt::output`].
    fn output(&self) -> Streams {
        Streams::none()
    }

    /// As [`Bolt::check`].
    fn check(&self, wiring: &mut Wiring<'_>) {
        let _ = wiring;
    }

    /// As [`Bolt::needs_ticks`].
    fn needs_ticks(&self) -> bool {
        false
    }

    /// As [`Bolt::prepare`].
    fn prepare(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// One tuple.
    fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send;

    /// As [`Bolt::tick`].
    fn tick(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`Bolt::flush`]: a bolt that holds tuples acks them here, or a bounded run cannot end.
    fn flush(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`Bolt::finish`].
    fn finish(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`Bolt::cleanup`].
    fn cleanup(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }
}
