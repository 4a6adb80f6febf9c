//! Writes and syncs in the background, so that the task goes on taking tuples meanwhile.
//!
//! Two tasks beside the bolt: one writes what comes in groups and syncs each, the other acks what
//! was synced. They are apart because an ack may wait until the bolt's call returns, and the call
//! for the writer: neither of the two ever waits for the other through the writer.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use galerna_topology_api::{BoltResult, Error, HeldTuple, ManualEmitter, OutputHandle, TopologyContext};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};

use super::Sync;
use super::part::Part;

/// Tuples that may wait to be taken up by the writer: then the bolt waits.
const QUEUED: usize = 1024;

/// Lines that are written and synced as one group end at this size, so that memory stays bounded.
const LARGEST_GROUP: usize = 4 << 20;

/// What the bolt asks of the writer.
enum Command {
    Write(Vec<u8>, HeldTuple),
    /// Sync at once, and finish the file if nothing more is to come.
    Sync {
        finish: bool,
        done: oneshot::Sender<()>,
    },
}

/// What writer, acker and bolt share.
#[derive(Default)]
struct Synced {
    tuples: Mutex<VecDeque<HeldTuple>>,
    is_any: AtomicBool,
    added: Notify,
    failure: OnceLock<String>,
    is_failure_told: AtomicBool,
}

impl Synced {
    fn tuples(&self) -> MutexGuard<'_, VecDeque<HeldTuple>> {
        self.tuples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bolt's end.
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
    synced: Arc<Synced>,
}

impl Handle {
    /// Has a line written, and the tuple acked when it is safe.
    pub(super) async fn write(&self, line: Vec<u8>, tuple: HeldTuple) -> BoltResult {
        self.commands.send(Command::Write(line, tuple)).await.map_err(|_| self.failure())
    }

    /// Waits until all lines are safe; if asked, the file is finished.
    pub(super) async fn sync(&self, finish: bool) -> BoltResult {
        let (done, wait) = oneshot::channel();
        self.commands.send(Command::Sync { finish, done }).await.map_err(|_| self.failure())?;
        wait.await.map_err(|_| self.failure())
    }

    /// Acks what is safe, from within a call: faster than the acker, which is for idle times.
    pub(super) fn ack_synced(&self, out: &mut ManualEmitter<'_>) {
        if self.synced.is_any.swap(false, Ordering::AcqRel) {
            let tuples = std::mem::take(&mut *self.synced.tuples());
            tuples.into_iter().for_each(|tuple| out.ack(tuple));
        }
    }

    /// As the last call: waits until all lines are safe, and finishes the file; unless it was told that
    /// they never will be.
    pub(super) async fn close(&self) -> BoltResult {
        if self.synced.is_failure_told.load(Ordering::Relaxed) { Ok(()) } else { self.sync(true).await }
    }

    fn failure(&self) -> Error {
        self.synced.is_failure_told.store(true, Ordering::Relaxed);
        let failure = self.synced.failure.get().map_or("the writer has ended", String::as_str);
        Error::fatal(failure.to_owned())
    }
}

/// Lines that are written and synced together.
#[derive(Default)]
struct Group {
    lines: Vec<u8>,
    tuples: Vec<HeldTuple>,
    finish: bool,
    done: Option<oneshot::Sender<()>>,
}

pub(super) struct Writer {
    part: Part,
    sync: Sync,
    commands: mpsc::Receiver<Command>,
    synced: Arc<Synced>,
    context: TopologyContext,
}

impl Writer {
    /// Starts both tasks in `tasks`.
    pub(super) fn start(part: Part, sync: Sync, context: &TopologyContext, tasks: &mut JoinSet<()>) -> Handle {
        let (sender, commands) = mpsc::channel(QUEUED);
        let synced = Arc::new(Synced::default());
        tasks.spawn(ack_when_idle(synced.clone(), context.output_handle()));
        let writer = Self { part, sync, commands, synced: synced.clone(), context: context.clone() };
        tasks.spawn(async move {
            let synced = writer.synced.clone();
            if let Err(failure) = writer.run().await {
                // Told by the bolt's next call, which finds the writer gone.
                let _ = synced.failure.set(failure);
            }
        });
        Handle { commands: sender, synced }
    }

    async fn run(mut self) -> Result<(), String> {
        loop {
            let time_to_roll = self.part.time_to_roll(self.context.elapsed());
            let roll = self.context.sleep(time_to_roll.unwrap_or(Duration::ZERO));
            let group = tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(first) => self.gather(first).await,
                    None => return Ok(()),
                },
                () = roll, if time_to_roll.is_some() => Group::default(),
            };
            self = self.commit(group).await?;
        }
    }

    /// Gathers what comes until there is enough or the first of it has waited long enough.
    async fn gather(&mut self, first: Command) -> Group {
        let mut group = Group::default();
        let mut deadline = pin!(self.context.sleep(self.sync.interval.0));
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(line, tuple) => {
                    group.lines.extend_from_slice(&line);
                    group.tuples.push(tuple);
                }
                Command::Sync { finish, done } => {
                    group.finish = finish;
                    group.done = Some(done);
                    break;
                }
            }
            if group.tuples.len() >= self.sync.tuples || group.lines.len() >= LARGEST_GROUP {
                break;
            }
            next = tokio::select! {
                biased;
                command = self.commands.recv() => command,
                () = &mut deadline => None,
            };
        }
        group
    }

    /// Writes and syncs a group on a thread for blocking calls. If that fails, its tuples are dropped
    /// undecided, which fails them.
    async fn commit(mut self, group: Group) -> Result<Self, String> {
        let now = self.context.elapsed();
        let mut part = self.part;
        let (lines, finish) = (group.lines, group.finish);
        let write = move || {
            part.write(&lines, now)?;
            part.sync()?;
            if finish {
                part.finish()?
            } else {
                part.roll_if_due(now)?
            }
            Ok::<_, String>(part)
        };
        self.part = spawn_blocking(write).await.map_err(|error| format!("the writer has ended: {error}"))??;
        self.synced.tuples().extend(group.tuples);
        self.synced.is_any.store(true, Ordering::Release);
        self.synced.added.notify_one();
        if let Some(done) = group.done {
            // Whoever no longer waits needs no answer.
            let _ = done.send(());
        }
        Ok(self)
    }
}

/// Acks what is safe while the bolt gets no calls.
async fn ack_when_idle(synced: Arc<Synced>, output: OutputHandle) {
    loop {
        synced.added.notified().await;
        loop {
            let Some(tuple) = synced.tuples().pop_front() else { break };
            if output.ack(tuple).await.is_err() {
                return;
            }
        }
    }
}
