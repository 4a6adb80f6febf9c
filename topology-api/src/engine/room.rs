//! How a call that is still running reaches the engine: `room` hands over what it has staged,
//! `reset_timeout` names trees that need more time.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Root, Staging};

/// A mailbox between one task's running call and the engine that polls it.
#[derive(Debug, Default)]
pub struct Room {
    has_mail: AtomicBool,
    mail: Mutex<Mail>,
}

/// What a running call has handed over.
#[derive(Debug, Default)]
struct Mail {
    staged: Option<Staging>,
    resets: Vec<Root>,
}

impl Room {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call waits for room or has asked for something. No lock.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Takes what the call handed over. The call goes on once [`Room::made`] was called.
    pub fn take(&self) -> (Option<Staging>, Vec<Root>) {
        let mut mail = self.mail();
        if mail.staged.is_none() {
            self.has_mail.store(false, Ordering::Release);
        }
        (mail.staged.take(), mem::take(&mut mail.resets))
    }

    /// Forgets what a call handed over that will not go on.
    pub fn discard(&self) {
        *self.mail() = Mail::default();
        self.made();
    }

    /// Says that what the call handed over has left: the call may go on.
    pub fn made(&self) {
        self.has_mail.store(false, Ordering::Release);
    }

    pub(crate) fn hand_over(&self, staged: Staging) {
        self.mail().staged = Some(staged);
        self.has_mail.store(true, Ordering::Release);
    }

    pub(crate) fn reset_timeouts(&self, roots: impl IntoIterator<Item = Root>) {
        self.mail().resets.extend(roots);
        self.has_mail.store(true, Ordering::Release);
    }
}
