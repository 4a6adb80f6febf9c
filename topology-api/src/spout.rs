//! The trait of spouts.

use std::future::{Future, ready};

use crate::context::TopologyContext;
use crate::error::Result;
use crate::failure::Failure;
use crate::fields::Streams;
use crate::spout_emitter::SpoutEmitter;

/// What a call of [`Spout::next`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Something was emitted: ask again at once.
    Emitted,
    /// Nothing for now: ask again when [`Spout::ready`] says so.
    Idle,
    /// The input has ended: ask again only if a tuple fails.
    Exhausted,
}

/// A source of tuples.
///
/// A reliable spout emits with a message id and later gets `ack` or `fail` with that id, once; it
/// emits again what failed ([`RetryBuffer`](crate::RetryBuffer) does the book-keeping). After
/// [`Next::Exhausted`] the run ends as soon as all its tuples are acked.
///
/// Methods are written as `async fn`. One task's methods never run at the same time.
pub trait Spout: Send + 'static {
    /// What identifies a tuple towards the outside: an offset, a file position.
    type MessageId: Send + 'static;

    /// Whether the engine may drop a waiting call of [`next`](Self::next) that has emitted nothing, to follow
    /// an order to drain, move, deactivate or exit. Set it to `true` for a `next` that waits for data and
    /// loses none when dropped, such as the `recv` of a channel. If `false`, such an order waits until the
    /// call returns; after 5 s the engine lists an error that names the task.
    const NEXT_IS_CANCEL_SAFE: bool = false;

    /// The streams that it emits on. Called once, after construction, before anything runs.
    fn output(&self) -> Streams;

    /// Before the first tuple, on the worker that runs the task.
    fn open(&mut self, context: &TopologyContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// Emits the next tuple or a few, or says that there is none.
    ///
    /// While it waits, acks and time-outs of earlier tuples go on, and the calls to `ack` and
    /// `fail` queue. The engine drops a waiting call only when the task is stopped without draining, or as
    /// [`NEXT_IS_CANCEL_SAFE`](Self::NEXT_IS_CANCEL_SAFE) allows. An `Err` is listed and withdraws the rows
    /// of the call; the engine calls `next` again after a back-off.
    fn next(&mut self, out: &mut SpoutEmitter<'_, Self::MessageId>) -> impl Future<Output = Result<Next>> + Send;

    /// After [`Next::Idle`]: waits until it is worth calling `next` again. The default waits from
    /// 1 ms, twice as long each time, up to 10 ms. A call of `fail` and an activation end the wait too.
    ///
    /// # Cancel safety
    /// The engine may drop `ready` at any time, so `ready` must consume nothing. The engine drops `ready` to
    /// call `ack`, and then calls `ready` again: a wait by [`TopologyContext::sleep`] continues, any other
    /// timer starts over.
    fn ready(&mut self, context: &TopologyContext) -> impl Future<Output = ()> + Send {
        context.back_off()
    }

    /// The tuple with this id was processed, with everything that came of it.
    fn ack(&mut self, id: Self::MessageId, context: &TopologyContext) -> impl Future<Output = Result<()>> + Send {
        let _ = (id, context);
        ready(Ok(()))
    }

    /// The tuple with this id failed: emit it again, or give it up. [`Failure`] says whether a component failed
    /// it, whether it timed out, or whether a worker was lost.
    fn fail(
        &mut self,
        id: Self::MessageId,
        failure: &Failure,
        context: &TopologyContext,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (id, failure, context);
        ready(Ok(()))
    }

    /// The topology became active: `next` is called again.
    fn activate(&mut self, context: &TopologyContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// The topology is no longer active: `next` is not called.
    fn deactivate(&mut self, context: &TopologyContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// Before the task ends in good order; a worker that is killed never gets here.
    fn close(&mut self, context: &TopologyContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        ready(Ok(()))
    }
}
