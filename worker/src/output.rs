//! The queue for output of spawned work, from handles to their task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use galerna_topology_api::engine::OutputCommand;
use galerna_topology_api::{OutputClosed, TaskId};
use tokio::sync::{mpsc, oneshot};

/// The capacity of a task's queue of submissions.
pub(crate) const QUEUE: usize = 256;
/// Submissions that the task takes in while a call is running. If a call waits for spawned work, and that work
/// waits for room in the queue, the backlog prevents a deadlock.
const MOST_BACKLOG: usize = 1 << 16;

/// Commands that were submitted together.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) commands: Vec<OutputCommand>,
    /// The recipient of the receiving tasks of each row, if the sender asked for them.
    pub(crate) asker: Option<Arc<RowTasks>>,
}

/// The receiving tasks of the rows of a command. Each waiting row holds a reference, so the drop after the
/// last row has left sends the answer.
#[derive(Debug)]
pub(crate) struct RowTasks {
    rows: Mutex<Vec<Vec<TaskId>>>,
    reply: Mutex<Option<oneshot::Sender<Vec<Vec<TaskId>>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RowTasks {
    fn new(rows: usize, reply: oneshot::Sender<Vec<Vec<TaskId>>>) -> Self {
        Self { rows: Mutex::new(vec![Vec::new(); rows]), reply: Mutex::new(Some(reply)) }
    }

    /// Notes that a row leaves to a task.
    pub(crate) fn note(&self, row: usize, task: TaskId) {
        if let Some(tasks) = lock(&self.rows).get_mut(row) {
            tasks.push(task);
        }
    }

    /// A row will not leave: the sender gets no answer.
    pub(crate) fn give_up(&self) {
        lock(&self.reply).take();
    }
}

impl Drop for RowTasks {
    fn drop(&mut self) {
        if let Some(reply) = lock(&self.reply).take() {
            let _ = reply.send(std::mem::take(&mut lock(&self.rows)));
        }
    }
}

/// The sending end, for all handles of one task.
#[derive(Debug)]
pub(crate) struct OutputGate(Mutex<Gate>);

#[derive(Debug)]
struct Gate {
    /// `None` while the gate is closed.
    sender: Option<mpsc::Sender<Submission>>,
    guards: usize,
    /// The waker of the task, for the drop of the last guard.
    waker: Option<Waker>,
}

/// The receiving end, for the task.
#[derive(Debug)]
pub(crate) struct Submissions {
    gate: Arc<OutputGate>,
    queue: mpsc::Receiver<Submission>,
    /// Submissions taken in while a call was running.
    backlog: VecDeque<Submission>,
}

/// The two ends of a task's queue for output of spawned work, with room for `capacity` submissions.
pub(crate) fn output_queue(capacity: usize) -> (Arc<OutputGate>, Submissions) {
    let (sender, queue) = mpsc::channel(capacity);
    let gate = Arc::new(OutputGate(Mutex::new(Gate { sender: Some(sender), guards: 0, waker: None })));
    (gate.clone(), Submissions { gate, queue, backlog: VecDeque::new() })
}

impl OutputGate {
    async fn send(&self, submission: Submission) -> Result<(), OutputClosed> {
        let sender = lock(&self.0).sender.clone().ok_or(OutputClosed)?;
        sender.send(submission).await.map_err(|_| OutputClosed)
    }

    /// Sends commands to the task.
    pub(crate) async fn submit(&self, commands: Vec<OutputCommand>) -> Result<(), OutputClosed> {
        self.send(Submission { commands, asker: None }).await
    }

    /// Sends a command to the task, and returns the receiving tasks of its rows.
    pub(crate) async fn submit_for_tasks(&self, command: OutputCommand) -> Result<Vec<Vec<TaskId>>, OutputClosed> {
        let (reply, answer) = oneshot::channel();
        let asker = Arc::new(RowTasks::new(command.row_count(), reply));
        self.send(Submission { commands: vec![command], asker: Some(asker) }).await?;
        answer.await.map_err(|_| OutputClosed)
    }

    /// Takes a guard: the task waits for its release before closing the gate, within the message time-out.
    pub(crate) fn hold(&self) -> Result<(), OutputClosed> {
        let mut gate = lock(&self.0);
        if gate.sender.is_none() {
            return Err(OutputClosed);
        }
        gate.guards += 1;
        Ok(())
    }

    /// Releases a guard.
    pub(crate) fn release(&self) {
        let waker = {
            let mut gate = lock(&self.0);
            gate.guards = gate.guards.saturating_sub(1);
            if gate.guards == 0 { gate.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Submissions {
    /// The next submission.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Submission> {
        if let Some(submission) = self.backlog.pop_front() {
            return Poll::Ready(submission);
        }
        match self.queue.poll_recv(cx) {
            Poll::Ready(Some(submission)) => Poll::Ready(submission),
            // A closed queue stays empty.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The next submission, if there is one.
    #[cfg(feature = "testing")]
    pub(crate) fn try_next(&mut self) -> Option<Submission> {
        self.queue.try_recv().ok()
    }

    /// Takes submissions in while a call is running, so that spawned work continues if the call waits for it.
    pub(crate) fn poll_backlog(&mut self, cx: &mut Context<'_>) {
        while self.backlog.len() < MOST_BACKLOG
            && let Poll::Ready(Some(submission)) = self.queue.poll_recv(cx)
        {
            self.backlog.push_back(submission);
        }
    }

    /// Whether submissions were taken in while a call was running.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The submissions that were taken in while a call was running.
    pub(crate) fn take_backlog(&mut self) -> VecDeque<Submission> {
        std::mem::take(&mut self.backlog)
    }

    /// The number of guards. Wakes the waker of `cx` when the last guard is dropped.
    pub(crate) fn poll_guards(&self, cx: &mut Context<'_>) -> usize {
        let mut gate = lock(&self.gate.0);
        if gate.guards > 0 {
            gate.waker = Some(cx.waker().clone());
        }
        gate.guards
    }

    /// The number of guards.
    pub(crate) fn guards(&self) -> usize {
        lock(&self.gate.0).guards
    }

    /// Closes the gate: handles return [`OutputClosed`] from now on. Accepted submissions come by
    /// [`next_accepted`](Self::next_accepted).
    pub(crate) fn close(&mut self) {
        lock(&self.gate.0).sender = None;
        self.queue.close();
    }

    /// The next submission that was accepted before the close.
    pub(crate) async fn next_accepted(&mut self) -> Option<Submission> {
        match self.backlog.pop_front() {
            Some(submission) => Some(submission),
            None => poll_fn(|cx| self.queue.poll_recv(cx)).await,
        }
    }

    /// Opens the gate again after a close.
    pub(crate) fn open(&mut self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        self.queue = queue;
        lock(&self.gate.0).sender = Some(sender);
    }
}

/// The task is gone, so no submission can be processed.
impl Drop for Submissions {
    fn drop(&mut self) {
        self.close();
    }
}
