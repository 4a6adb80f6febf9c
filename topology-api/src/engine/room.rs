//! How a call that is still running reaches the engine: `room` hands over what it has staged,
//! `reset_timeout` names trees that need more time.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Root, Staged};
use crate::held::HeldTable;

/// A mailbox between one task's running call and the engine that polls it.
#[derive(Debug, Default)]
pub struct Room {
    has_mail: AtomicBool,
    /// Whether the running call has emitted, if its first emit is watched.
    has_emitted: AtomicBool,
    mail: Mutex<Mail>,
}

/// Rows that a running call has handed over.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// The rows.
    pub staged: Staged,
    /// The held tuples that they are anchored to: an excerpt of the task's table.
    pub held: HeldTable,
    /// For each slot of the excerpt, the slot of the task's table.
    pub origins: Vec<u32>,
}

/// What a running call has handed over.
#[derive(Debug, Default)]
struct Mail {
    parts: Vec<HandedOver>,
    resets: Vec<Root>,
    /// Who waits for room.
    waker: Option<Waker>,
}

impl Room {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call waits for room or has asked for something. No lock.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Whether the running call has emitted a row, if its first emit is watched.
    pub fn has_emitted(&self) -> bool {
        self.has_emitted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_emitted(&self, has_emitted: bool) {
        self.has_emitted.store(has_emitted, Ordering::Relaxed);
    }

    /// Takes what the call handed over. If that were rows, the call goes on once [`Room::made`] was
    /// called.
    pub fn take(&self) -> (Vec<HandedOver>, Vec<Root>) {
        let mut mail = self.mail();
        if mail.parts.is_empty() && mail.waker.is_none() {
            self.has_mail.store(false, Ordering::Release);
        }
        (mem::take(&mut mail.parts), mem::take(&mut mail.resets))
    }

    /// Takes only the trees that need more time. Rows stay: they belong to the running call.
    pub fn take_resets(&self) -> Vec<Root> {
        let mut mail = self.mail();
        if mail.parts.is_empty() && mail.waker.is_none() {
            self.has_mail.store(false, Ordering::Release);
        }
        mem::take(&mut mail.resets)
    }

    /// Forgets what a call handed over that will not go on.
    pub fn discard(&self) {
        *self.mail() = Mail::default();
        self.made();
    }

    /// Says that what the call handed over has left: the call may go on.
    pub fn made(&self) {
        let waker = self.mail().waker.take();
        self.has_mail.store(false, Ordering::Release);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn hand_over(&self, part: HandedOver) {
        self.mail().parts.push(part);
        self.has_mail.store(true, Ordering::Release);
    }

    /// Has `waker` woken when there is room.
    pub(crate) fn register(&self, waker: &Waker) {
        self.mail().waker = Some(waker.clone());
    }

    pub(crate) fn reset_timeouts(&self, roots: impl IntoIterator<Item = Root>) {
        self.mail().resets.extend(roots);
        self.has_mail.store(true, Ordering::Release);
    }
}
