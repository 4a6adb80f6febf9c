//! The loop that brings the slots nearer to what is wanted: it owns everything that runs here.

mod adopt;
mod exits;
mod launch;
mod listen;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::Beat;
use galerna_protocol::{EndCause, LaunchFailure, TopologySpec, WorkerHello, WorkerId, WorkerPlan};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

use crate::decide::{Facts, Step, Wish, next_step};
use crate::launcher::Exit;
use crate::liveness::LOOK_INTERVAL;
use crate::memory::Guarded;
use crate::records::Records;
use crate::shared::Shared;
use crate::view::{View, Wanted};
use listen::end_for;
use slot::{Slot, Standing};

/// How long killed processes may take to be gone when the daemon stops.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Longest time between two looks at the slots, without workers. Others see by the looks that the keeper lives.
const LOOK: Duration = Beat::PATIENCE.checked_div(4).expect("it is not zero");

/// What the keeper is asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// A worker says that it was launched here.
    Attach { hello: WorkerHello, answer: oneshot::Sender<Result<Attached, Status>> },
    /// A worker is ended at once, for this reason: memory is short.
    End { slot: u32, incarnation: u64, why: String },
    /// The daemon stops.
    Stop { done: oneshot::Sender<()> },
}

/// What an attached worker gets.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) spec: Arc<TopologySpec>,
    /// The newest plan.
    pub(crate) plans: watch::Receiver<WorkerPlan>,
}

/// An executable that is ready, or not to be had.
#[derive(Debug)]
struct Prepared {
    slot: u32,
    topology: String,
    program: Result<PathBuf, String>,
}

/// The owner of all slots.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    views: watch::Receiver<Arc<View>>,
    commands: mpsc::Receiver<Command>,
    records: Records,
    slots: BTreeMap<u32, Slot>,
    wanted: BTreeMap<u32, Wanted>,
    /// Time of the last check of heartbeats.
    looked_at: Instant,
    preparations: JoinSet<Prepared>,
    /// Slot and incarnation of what has ended.
    exits: JoinSet<(u32, u64, Exit)>,
}

impl Keeper {
    /// Runs until it is told to stop, or nobody could tell it any more.
    pub(crate) async fn run(mut self) {
        let mut registered = self.shared.registered.subscribe();
        loop {
            self.look_at_pulses();
            let wake = self.settle();
            self.tell_failures();
            self.shared.health.keeping.note();
            self.tell_workers();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Attach { hello, answer }) => {
                        // Whoever asked may be gone.
                        let _ = answer.send(self.attach(&hello));
                    }
                    Some(Command::End { slot, incarnation, why }) => self.end(slot, incarnation, why),
                    Some(Command::Stop { done }) => {
                        self.stop_workers().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                Some(ended) = self.exits.join_next() => {
                    if let Ok((slot, incarnation, exit)) = ended {
                        self.note_exit(slot, incarnation, exit);
                    }
                }
                Some(prepared) = self.preparations.join_next() => {
                    // One that was given up has nothing to say.
                    if let Ok(prepared) = prepared {
                        self.note_prepared(prepared).await;
                    }
                }
                changed = self.views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_view();
                }
                _ = registered.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Takes steps until there is none left; when to look again at the latest.
    fn settle(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake = now + if self.has_workers() { LOOK_INTERVAL } else { LOOK };
        for number in self.slots.keys().copied().collect::<Vec<_>>() {
            // Each step changes what stands there; a few lead from anything to rest.
            for _ in 0..4 {
                match self.step_of(number, now) {
                    Step::Nothing => break,
                    Step::WaitUntil(at) => {
                        wake = wake.min(at);
                        break;
                    }
                    step => self.take_step(number, step, now),
                }
            }
        }
        self.slots.retain(|number, slot| slot.matters() || self.wanted.contains_key(number));
        let steady = self.slots.values().filter_map(Slot::steady_at).filter(|at| *at > now).min();
        steady.map_or(wake, |at| wake.min(at))
    }

    fn step_of(&self, number: u32, now: Instant) -> Step {
        let Some(slot) = self.slots.get(&number) else { return Step::Nothing };
        // Incarnations of a new disk begin with the store's revision, which is known once registered.
        let can_count = self.records.has_counted() || *self.shared.registered.borrow() > 0;
        let wanted = self.wanted.get(&number).map(|wanted| Wish {
            topology: &wanted.topology,
            order: wanted.order,
            can_launch: can_count && wanted.artifact().is_some() && slot.fenced_at != Some(wanted.modified),
        });
        next_step(&Facts {
            now,
            wanted,
            is_certain: self.views.borrow().is_live,
            standing: slot.facts(),
            retry_at: slot.restarts.retry_at,
            ended: slot.ended.as_deref(),
            attach_within: self.shared.options.attach_within,
            worker_timeout: self.shared.options.worker_timeout,
        })
    }

    fn take_step(&mut self, number: u32, step: Step, now: Instant) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        match (step, &mut slot.standing) {
            (Step::Prepare, _) => self.prepare(number),
            (Step::Abandon, Standing::Preparing { task, .. }) => {
                task.abort();
                slot.standing = Standing::Empty;
            }
            (Step::Ask, Standing::Running(worker)) => worker.ask(now),
            (Step::Kill(fault), Standing::Running(worker)) => end_for(worker, fault, &self.shared.options),
            _ => {}
        }
    }

    /// Sees what is wanted now, and tells workers.
    fn take_view(&mut self) {
        let view = Arc::clone(&self.views.borrow_and_update());
        self.wanted = view.wanted(&self.shared.options.id);
        for (number, wanted) in &self.wanted {
            let slot = self.slots.entry(*number).or_default();
            if slot.topology != wanted.topology {
                slot.topology.clone_from(&wanted.topology);
                slot.restarts = Default::default();
            }
            if let Standing::Running(worker) = &slot.standing
                && worker.record.topology == wanted.topology
            {
                worker.plan.send_if_modified(|plan| {
                    let differs = *plan != wanted.plan;
                    if differs {
                        plan.clone_from(&wanted.plan);
                    }
                    differs
                });
            }
        }
        for (number, slot) in &mut self.slots {
            let wanted = self.wanted.get(number).map(|wanted| &wanted.topology);
            if slot.ended.is_some() && slot.ended.as_ref() != wanted {
                slot.ended = None;
                self.records.remove(*number);
            }
        }
        let needed = self.wanted.values().filter_map(|wanted| Some(wanted.artifact()?.sha256.clone()));
        self.shared.artifacts.evict(&needed.collect::<BTreeSet<_>>());
    }

    fn attach(&mut self, hello: &WorkerHello) -> Result<Attached, Status> {
        let refusal = || {
            let WorkerHello { topology_id, slot, incarnation, .. } = hello;
            Status::permission_denied(format!(
                "incarnation {incarnation} of the worker of {topology_id:.200} in slot {slot} was not launched here, \
                 or was replaced"
            ))
        };
        let slot = self.slots.get_mut(&hello.slot).ok_or_else(refusal)?;
        let Standing::Running(worker) = &mut slot.standing else { return Err(refusal()) };
        if worker.record.topology != hello.topology_id || worker.record.incarnation != hello.incarnation {
            return Err(refusal());
        }
        // It is alive, whatever the store says of its topology.
        worker.pulse.attached();
        let view = self.views.borrow();
        let spec = view.topologies.get(&hello.topology_id).and_then(|seen| seen.spec.clone());
        let spec = spec.ok_or_else(|| Status::unavailable(format!("{} is not in the store", hello.topology_id)))?;
        worker.unattached_since = None;
        if !worker.record.has_attached {
            worker.record.has_attached = true;
            if let Err(error) = self.records.save(&worker.record) {
                tracing::warn!("what runs in slot {} cannot be written down: {error}", hello.slot);
            }
        }
        self.shared.reports().note_address(&worker.record.key(), &hello.address);
        self.shared.news.notify_one();
        Ok(Attached { spec, plans: worker.plan.subscribe() })
    }

    fn tell_failures(&self) {
        let now = Instant::now();
        let failing = self.slots.iter().filter(|(_, slot)| slot.restarts.is_reported(slot.up(now)));
        let failures = failing.map(|(number, slot)| LaunchFailure {
            topology_id: slot.topology.clone(),
            slot: *number,
            attempts: slot.restarts.failed,
            message: slot.restarts.message.clone(),
            last_unix_ms: slot.restarts.last_unix_ms,
        });
        self.shared.set_failures(failures.collect());
    }

    /// Says what runs, to whoever watches over it or waits for its end.
    fn tell_workers(&mut self) {
        let mut now = Vec::with_capacity(self.slots.len());
        for (number, slot) in &mut self.slots {
            let Standing::Running(worker) = &mut slot.standing else { continue };
            let id = WorkerId::new(self.shared.options.id.clone(), *number);
            let wanted = self.wanted.get(number).filter(|wanted| wanted.topology == worker.record.topology);
            let share = self.shared.shares.of(wanted.and_then(|it| it.spec.as_deref()), &worker.plan.borrow(), &id);
            // It never shrinks: what a process has had for tasks that have left, it gives back late or never.
            if share.as_ref().map(|share| share.bytes) > worker.share.as_ref().map(|share| share.bytes) {
                worker.share = share;
            }
            now.push(Guarded {
                topology: worker.record.topology.clone(),
                share: worker.share.clone(),
                id,
                incarnation: worker.record.incarnation,
                pid: worker.record.identity.as_ref().map_or(0, |identity| identity.pid),
            });
        }
        self.shared.workers.send_if_modified(|known| {
            let differs = *known != now;
            *known = now;
            differs
        });
    }

    fn end(&mut self, number: u32, incarnation: u64, why: String) {
        let Some(worker) = self.slots.get_mut(&number).and_then(Slot::worker) else { return };
        if worker.record.incarnation == incarnation && !worker.is_killed {
            worker.kill_for(EndCause::OutOfMemory, why);
        }
    }

    fn worker_id(&self, slot: u32) -> WorkerId {
        WorkerId::new(self.shared.options.id.clone(), slot)
    }

    /// Ends all workers, in a bounded time, unless they are to run on.
    async fn stop_workers(&mut self) {
        if self.shared.options.keep_workers {
            return;
        }
        self.preparations.abort_all();
        // What ends now is not launched again.
        self.wanted.clear();
        let now = Instant::now();
        for worker in self.slots.values_mut().filter_map(Slot::worker) {
            worker.ask(now);
        }
        for wait in [crate::decide::GRACE, LAST_WAIT] {
            let until = Instant::now() + wait;
            while let Ok(Some(ended)) = tokio::time::timeout_at(until, self.exits.join_next()).await {
                if let Ok((slot, incarnation, exit)) = ended {
                    self.note_exit(slot, incarnation, exit);
                }
            }
            for worker in self.slots.values_mut().filter_map(Slot::worker) {
                worker.kill();
            }
        }
    }
}
