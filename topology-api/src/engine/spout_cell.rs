//! A spout behind an object-safe trait that asks it for many tuples in one virtual call, and keeps
//! the message ids of its open trees.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::{BoxFuture, Flow, SpoutHost, Staged, Staging};
use crate::context::TopologyContext;
use crate::error::Result;
use crate::failure::Failure;
use crate::fields::Streams;
use crate::spout::{Next, Spout};
use crate::spout_emitter::SpoutEmitter;

/// A tree that is decided, by its slot in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The slot.
    pub slot: u32,
    /// Why the tree failed; nothing if it was acked.
    pub failure: Option<Arc<Failure>>,
}

/// What the engine lends a spout while it asks for tuples.
pub struct SpoutCall<'a> {
    /// Where a call stages what it emits.
    pub staging: &'a mut Staging,
    /// What calls have emitted that is not settled yet.
    pub done: &'a mut Staged,
    /// Slots of trees that were opened and whose ids are not bound yet; empty between calls.
    pub slots: &'a mut Vec<u32>,
    /// Who takes up what they staged.
    pub host: &'a mut dyn SpoutHost,
    /// The task's context.
    pub context: &'a TopologyContext,
    /// Rows with a message id that may be emitted, but for the rest of the call that reaches it.
    pub room: usize,
    /// How many rows are settled together.
    pub chunk: usize,
}

/// Calls without a settled row, at most, before the engine looks after other things.
const MOST_CALLS: usize = 256;

/// A task's spout, its type erased.
pub trait ErasedSpout: Send {
    /// The streams that the spout declares.
    fn output(&self) -> Streams;

    /// Drops the instance and makes a new one. The message ids of open trees stay.
    ///
    /// # Errors
    /// When the factory fails; there is no instance then, until a later call succeeds.
    fn rebuild(&mut self) -> Result<()>;

    /// After a call that did not return: binds the ids of the trees in `slots`, which are open
    /// because the call waited for room, and drops those of withdrawn rows.
    fn bind(&mut self, slots: &mut Vec<u32>);

    /// No tree is open: gives back the memory for their message ids. Slots begin at 0 again.
    fn shrink(&mut self);

    /// Calls `open`.
    fn open<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>>;

    /// Calls `next` until the host says otherwise or there is nothing to emit; the last outcome.
    fn next_batch<'a>(&'a mut self, call: SpoutCall<'a>) -> BoxFuture<'a, Result<Next>>;

    /// Waits as `ready` does. May be dropped at any time.
    fn ready<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, ()>;

    /// Calls `ack` and `fail` for all of `settled`, removing each from the front before its call;
    /// an error of one does not keep the others from being called.
    fn settle<'a>(&'a mut self, settled: &'a mut VecDeque<Settled>, context: &'a TopologyContext) -> BoxFuture<'a, ()>;

    /// Calls `activate` or `deactivate`.
    fn set_active<'a>(&'a mut self, is_active: bool, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>>;

    /// Calls `close`.
    fn close<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>>;
}

/// Makes the cells of a component's tasks.
pub type SpoutFactory = Arc<dyn Fn() -> Result<Box<dyn ErasedSpout>> + Send + Sync>;

/// A spout, the factory that makes it anew, and the ids of its open trees.
pub struct SpoutCell<S: Spout> {
    make: Arc<dyn Fn() -> Result<S> + Send + Sync>,
    spout: Option<S>,
    /// The message ids of open trees, by slot.
    ids: Vec<Option<S::MessageId>>,
    /// The ids of the current call's tracked rows, in order.
    staged: Vec<S::MessageId>,
    /// Whether a call has emitted more than there was room for.
    has_exceeded: bool,
}

impl<S: Spout> SpoutCell<S> {
    /// A factory of cells around what `make` makes.
    pub fn factory(make: impl Fn() -> Result<S> + Send + Sync + 'static) -> SpoutFactory {
        let make: Arc<dyn Fn() -> Result<S> + Send + Sync> = Arc::new(make);
        Arc::new(move || {
            let spout = Some(make()?);
            let cell = Self { make: make.clone(), spout, ids: Vec::new(), staged: Vec::new(), has_exceeded: false };
            Ok(Box::new(cell) as Box<dyn ErasedSpout>)
        })
    }

    fn spout(&mut self) -> Result<&mut S> {
        self.spout.as_mut().ok_or_else(|| "the spout could not be made".into())
    }

    fn bind_staged(ids: &mut Vec<Option<S::MessageId>>, staged: &mut Vec<S::MessageId>, slots: &mut Vec<u32>) {
        for (slot, id) in slots.drain(..).zip(staged.drain(..)) {
            let slot = slot as usize;
            if slot >= ids.len() {
                ids.resize_with(slot + 1, || None);
            }
            ids[slot] = Some(id);
        }
        staged.clear();
    }
}

impl<S: Spout> ErasedSpout for SpoutCell<S> {
    fn output(&self) -> Streams {
        self.spout.as_ref().map(Spout::output).unwrap_or_default()
    }

    fn rebuild(&mut self) -> Result<()> {
        self.spout = None;
        self.spout = Some((self.make)()?);
        Ok(())
    }

    fn shrink(&mut self) {
        self.ids = Vec::new();
    }

    fn bind(&mut self, slots: &mut Vec<u32>) {
        Self::bind_staged(&mut self.ids, &mut self.staged, slots);
    }

    fn open<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.spout()?.open(context).await })
    }

    fn next_batch<'a>(&'a mut self, call: SpoutCall<'a>) -> BoxFuture<'a, Result<Next>> {
        Box::pin(async move {
            let SpoutCall { staging, done, slots, host, context, mut room, chunk } = call;
            let Self { spout, ids, staged, has_exceeded, .. } = self;
            let spout = spout.as_mut().ok_or("the spout could not be made")?;
            let mailbox = staging.room();
            let mut calls = 0;
            loop {
                if calls == 0 {
                    host.time_call(true);
                }
                let before = staged.len();
                if S::NEXT_IS_CANCEL_SAFE {
                    staging.watch_first_emit();
                }
                let may_drop = || S::NEXT_IS_CANCEL_SAFE && !mailbox.has_emitted();
                let mut was_pending = false;
                let outcome = {
                    let mut out = SpoutEmitter::new(staging, staged, context, room);
                    let call = pin!(spout.next(&mut out));
                    watched(call, may_drop, done, slots, host, &mut was_pending).await
                };
                // Only a call that has emitted nothing is dropped.
                let outcome = outcome.unwrap_or(Ok(Next::Idle));
                // Acks and orders may have waited for a call that took long: settle it immediately.
                let took_long = (calls == 0 && host.time_call(false)) || was_pending;
                calls += 1;
                if staging.take_handed_over() {
                    // What the call handed over stands, whatever became of it, behind what was done
                    // before and in front of what it emitted since.
                    host.settle(done, slots);
                }
                let is_fine = outcome.is_ok() && staging.is_plain();
                if is_fine {
                    done.append(&mut staging.staged);
                } else {
                    // What the call handed over when it waited for room has slots and stays.
                    staging.withdraw();
                    staged.truncate(before.max(slots.len()));
                }
                if staged.len() > room && !*has_exceeded {
                    *has_exceeded = note_excess(staged.len() - before, room.saturating_sub(before), context);
                }
                let goes_on = is_fine && matches!(outcome, Ok(Next::Emitted));
                let is_full = staged.len() >= room || done.rows.len() >= chunk || calls % MOST_CALLS == 0;
                if goes_on && !took_long && !is_full {
                    continue;
                }
                let settled = host.settle(done, slots);
                room = room.saturating_sub(staged.len());
                if settled.is_tracking {
                    Self::bind_staged(ids, staged, slots);
                } else {
                    for id in staged.drain(..) {
                        if let Err(error) = spout.ack(id, context).await {
                            context.report_error(error);
                        }
                    }
                }
                if !goes_on || room == 0 || settled.flow == Flow::Stop || calls % MOST_CALLS == 0 {
                    return outcome;
                }
            }
        })
    }

    fn ready<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Ok(spout) = self.spout() {
                spout.ready(context).await;
            }
        })
    }

    fn settle<'a>(&'a mut self, settled: &'a mut VecDeque<Settled>, context: &'a TopologyContext) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Self { spout, ids, .. } = self;
            let Some(spout) = spout.as_mut() else { return };
            while let Some(Settled { slot, failure }) = settled.pop_front() {
                let Some(id) = ids.get_mut(slot as usize).and_then(Option::take) else { continue };
                let outcome = match failure {
                    None => spout.ack(id, context).await,
                    Some(failure) => spout.fail(id, &failure, context).await,
                };
                if let Err(error) = outcome {
                    context.report_error(error);
                }
            }
        })
    }

    fn set_active<'a>(&'a mut self, is_active: bool, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let spout = self.spout()?;
            if is_active { spout.activate(context).await } else { spout.deactivate(context).await }
        })
    }

    fn close<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.spout()?.close(context).await })
    }
}

/// Lists that a call has emitted more tuples than a limit of open tuples left room for. Returns whether there is a
/// limit that was set: the one that the engine finds by itself may be exceeded.
#[cold]
fn note_excess(emitted: usize, room: usize, context: &TopologyContext) -> bool {
    let limit = context.config().max_spout_pending();
    if let Some(limit) = limit {
        context.report_error(format!(
            "a call of `next` emitted {emitted} tuples, but topology.max.spout.pending ({limit}) left room for {room}: \
             emit no more than `room_left()` in one call"
        ));
    }
    limit.is_some()
}

/// Runs one call of user code; whenever it stays pending, the host sends what stands ready. It takes
/// the call where it was made: moving it costs more than running it. Returns `None` if the host had the
/// call dropped.
#[inline]
async fn watched<T>(
    mut call: Pin<&mut impl Future<Output = T>>,
    may_drop: impl Fn() -> bool,
    done: &mut Staged,
    slots: &mut Vec<u32>,
    host: &mut dyn SpoutHost,
    was_pending: &mut bool,
) -> Option<T> {
    poll_fn(|cx| {
        loop {
            let outcome = call.as_mut().poll(cx);
            *was_pending |= outcome.is_pending();
            match outcome {
                Poll::Ready(outcome) => return Poll::Ready(Some(outcome)),
                Poll::Pending if host.poll_pending(done, slots, cx).is_ready() => {}
                Poll::Pending if host.calls_off(may_drop()) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
