//! The way into one task: an inbox, a link, or a queue while the task moves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_topology_api::TaskId;

use crate::edges::Marker;
use crate::inbox::Inbox;
use crate::link::{Frame, Link};
use crate::message::Message;

/// The way to a task.
#[derive(Debug)]
pub(crate) enum Way {
    /// Nowhere yet: messages wait, in order. Bounded as a task's inbox is.
    Held(VecDeque<Message>),
    /// Into the inbox of a task of this worker.
    Local(Inbox),
    /// Over a link to the worker that runs it.
    Link(Arc<dyn Link>),
}

/// The way into one task, for the tasks of this worker.
#[derive(Debug)]
pub(crate) struct Door {
    task: TaskId,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    way: Way,
    /// The task's inbox, if it runs in this worker.
    inbox: Option<Inbox>,
    /// What was said last about the edges from this worker's tasks, if nothing followed.
    marks: BTreeMap<TaskId, Marker>,
    /// What came over links before the task was here.
    early: VecDeque<Message>,
    /// Whether the task belongs here, though it may not be here yet.
    is_expected: bool,
}

impl Door {
    pub(super) fn new(task: TaskId) -> Self {
        let (way, marks, early) = (Way::Held(VecDeque::new()), BTreeMap::new(), VecDeque::new());
        Self { task, inner: Mutex::new(Inner { way, inbox: None, marks, early, is_expected: true }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message. A task that has ended needs none.
    pub(crate) fn send(&self, message: Message) {
        let mut inner = self.lock();
        match &message {
            Message::Marker { from, marker } => {
                inner.marks.insert(*from, *marker);
            }
            Message::Data(delivery) if !inner.marks.is_empty() => {
                inner.marks.remove(&delivery.batch.source.task);
            }
            _ => {}
        }
        inner.way.send(self.task, message);
    }

    /// Takes in what came over a link; it waits if the task is not here yet. Answers what is for a
    /// task that is here no more.
    pub(super) fn deliver(&self, message: Message) -> Option<Message> {
        let mut inner = self.lock();
        match (&inner.inbox, &message) {
            (Some(inbox), _) => {
                inbox.send(message);
            }
            // Whoever sent them had not heard that the spout has moved: they follow it. Those for a launch
            // that is gone count nowhere.
            (_, Message::Acks(_)) => inner.way.send(self.task, message),
            _ if inner.is_expected => inner.early.push_back(message),
            _ => return Some(message),
        }
        None
    }

    /// Notes whether the task belongs here. Answers what came for it and will find it elsewhere.
    pub(super) fn expect(&self, is_expected: bool) -> VecDeque<Message> {
        let mut inner = self.lock();
        inner.is_expected = is_expected;
        if is_expected { VecDeque::new() } else { std::mem::take(&mut inner.early) }
    }

    /// The task's inbox is closed to what comes over links from now on: its end stands in it.
    pub(super) fn detach(&self) {
        self.lock().inbox = None;
    }

    /// Holds back what is sent from now on; `then` runs before anything else can be sent.
    pub(crate) fn hold(&self, then: impl FnOnce()) {
        let mut inner = self.lock();
        if !matches!(inner.way, Way::Held(_)) {
            inner.way = Way::Held(VecDeque::new());
        }
        then();
    }

    /// Sends another way from now on: first what is in `again`, then what was held back, then what is
    /// known of the edges, since whoever is there now has not heard of it.
    pub(super) fn open(&self, way: Way, again: Vec<Message>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.inbox = match &way {
            Way::Local(inbox) => {
                for message in inner.early.drain(..) {
                    inbox.send(message);
                }
                Some(inbox.clone())
            }
            Way::Link(_) | Way::Held(_) => None,
        };
        let before = std::mem::replace(&mut inner.way, way);
        again.into_iter().for_each(|message| inner.way.send(self.task, message));
        if let Way::Held(held) = before {
            held.into_iter().for_each(|message| inner.way.send(self.task, message));
        }
        inner.tell_marks(self.task);
    }

    /// Tells what is known of the edges again: whoever is there now is new.
    pub(crate) fn tell_marks(&self) {
        self.lock().tell_marks(self.task);
    }

    /// A task of this worker has left: its successor says what there is to say about its edges.
    pub(super) fn forget_marks_of(&self, from: TaskId) {
        self.lock().marks.remove(&from);
    }

    /// Whether the task runs in this worker.
    pub(crate) fn is_local(&self) -> bool {
        self.lock().inbox.is_some()
    }

    /// Has what is sent to a task of this worker take a link all the same.
    pub(crate) fn detour(&self, link: Arc<dyn Link>) {
        self.lock().way = Way::Link(link);
    }
}

impl Inner {
    fn tell_marks(&mut self, to: TaskId) {
        for (from, marker) in &self.marks {
            self.way.send(to, Message::Marker { from: *from, marker: *marker });
        }
    }
}

impl Way {
    fn send(&mut self, to: TaskId, message: Message) {
        match self {
            Self::Held(held) => held.push_back(message),
            Self::Local(inbox) => {
                inbox.send(message);
            }
            Self::Link(link) => {
                if let Some(frame) = Frame::from_message(to, message) {
                    link.send(frame);
                }
            }
        }
    }
}
