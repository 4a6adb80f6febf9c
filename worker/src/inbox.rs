//! The queue in front of a task. It knows how many tuples wait in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::message::Message;

/// The way into a task of this worker. Unbounded in itself: tuples are bounded by credits, acks by
/// open trees, markers by edges.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    messages: mpsc::UnboundedSender<Message>,
    queued: Arc<AtomicU64>,
}

/// What comes out of it, for the task alone.
#[derive(Debug)]
pub(crate) struct Arrivals {
    messages: mpsc::UnboundedReceiver<Message>,
    queued: Arc<AtomicU64>,
}

/// A new queue.
pub(crate) fn queue() -> (Inbox, Arrivals) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicU64::new(0));
    (Inbox { messages: sender, queued: queued.clone() }, Arrivals { messages: receiver, queued })
}

impl Inbox {
    /// Puts a message in. A task that has ended needs none.
    pub(crate) fn send(&self, message: Message) {
        if let Message::Data(delivery) = &message {
            // Before it can be taken out, so that the count never falls below zero.
            self.queued.fetch_add(delivery.batch.rows as u64, Ordering::Relaxed);
        }
        let _ = self.messages.send(message);
    }
}

impl Arrivals {
    /// The next message, if there is one.
    pub(crate) fn try_next(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// The next message. Pending also when nobody can send any more: the run is over then, and the
    /// task with it.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        match self.messages.poll_recv(cx) {
            Poll::Ready(Some(message)) => Poll::Ready(message),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Tuples that were taken out have been executed.
    pub(crate) fn executed(&self, tuples: usize) {
        self.queued.fetch_sub(tuples as u64, Ordering::Relaxed);
    }

    /// Whether no tuple waits and all tuples that were taken out are executed.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.load(Ordering::Relaxed) == 0
    }

    /// How many tuples wait, those included that were taken out and are not executed yet.
    pub(crate) fn queued(&self) -> Arc<AtomicU64> {
        self.queued.clone()
    }
}
