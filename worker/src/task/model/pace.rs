//! Two receivers by shuffle that are through with each batch before their sender goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use galerna_topology_api::*;
use tokio::sync::mpsc;

use super::{crew, runtime};
use crate::credit::Progress;
use crate::crew::Launch;
use crate::inbox::Arrivals;
use crate::message::Message;
use crate::runtimes::OwnThread;

const ROWS: usize = 200_000;

/// Emits all rows in one call.
struct OneCall;

impl Spout for OneCall {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        (0..ROWS as i64).for_each(|n| out.emit_untracked(values![n]));
        Ok(Next::Exhausted)
    }
}

struct Quick;

impl Bolt for Quick {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

/// Plays a bolt task. It is the waker of its own inbox, and takes each batch while the sender still sends.
struct Receiver {
    inbox: Mutex<(Arrivals, usize)>,
}

impl Receiver {
    /// Gives back the credit of all that has come, and answers to the next message if `keeps_pace`.
    fn drain(self: &Arc<Self>, keeps_pace: bool) {
        let waker = if keeps_pace { Waker::from(self.clone()) } else { Waker::noop().clone() };
        let (arrivals, rows) = &mut *self.inbox.lock().expect("not poisoned");
        while let Poll::Ready(message) = arrivals.poll_next(&mut Context::from_waker(&waker)) {
            if let Message::Data(delivery) = message {
                *rows += delivery.batch.rows;
                delivery.credit.give_back(delivery.weight, Progress::default());
            }
        }
    }

    fn rows(&self) -> usize {
        self.inbox.lock().expect("not poisoned").1
    }
}

impl Wake for Receiver {
    fn wake(self: Arc<Self>) {
        self.drain(true);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn receivers_that_keep_pace_with_their_sender_get_everything() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut builder = TopologyBuilder::new("pace");
    builder.config("topology.emit.limit", ROWS as i64);
    let _ = builder.spout("source", || OneCall);
    let _ = builder.bolt("quick", || Quick).parallelism(2).shuffle("source");
    let crew = crew(builder.build().expect("valid"), 1, mpsc::unbounded_channel().0);
    let [source, quick] = crew.topology.components() else { unreachable!("two components") };
    let (_, arrivals) = crew.admit(source.tasks.start);
    let receivers: Vec<_> = quick.tasks.clone().map(|task| crew.admit(task).1).collect();
    let receivers: Vec<_> =
        receivers.into_iter().map(|arrivals| Arc::new(Receiver { inbox: Mutex::new((arrivals, 0)) })).collect();
    let mut sender = crew.task(source, source.tasks.start, Launch::ONLY, OwnThread::new(false), arrivals).future;
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let received = || receivers.iter().map(|receiver| receiver.rows()).sum::<usize>();
    while flag.0.swap(false, Ordering::Relaxed) && received() < ROWS {
        let _ = sender.as_mut().poll(&mut Context::from_waker(&waker));
        // First each allowance grows, beyond several batches; then the receivers keep pace.
        receivers.iter().for_each(|receiver| receiver.drain(received() > 16_000));
    }
    assert_eq!(received(), ROWS, "the sender waits for ever");
}
