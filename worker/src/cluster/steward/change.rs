//! Following a new plan: which workers come and go, which tasks start here, which doors lead elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use galerna_protocol::{LinkRefusal, Order, WorkerId, WorkerPlan};
use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Sender;

use super::{Leave, Running, Steward};
use crate::cluster::lanes::Seat;
use crate::cluster::view::View;
use crate::crew::{Launch, component_of, spout_tasks_of, tasks_of};
use crate::edges::{Mark, Marker};
use crate::exchange::To;
use crate::inbox::Inbox;
use crate::link::{Frame, Link};
use crate::message::{Control, Message};
use crate::panics::{Panic, guarded};
use crate::parcel::Item;
use crate::wire;

/// Frames that may not have arrived, by the task that they are for.
type Again = BTreeMap<TaskId, Vec<Frame>>;

impl Steward {
    /// Follows a plan, if it is newer than the one that is followed.
    pub(super) fn follow(&mut self, plan: WorkerPlan) -> Result<(), Leave> {
        if self.view.as_ref().is_some_and(|view| plan.version <= view.plan.version) {
            return Ok(());
        }
        if plan.topology_id != self.me.topology {
            tracing::error!(
                found = plan.topology_id,
                expected = self.me.topology,
                "ignored the plan of another topology"
            );
            return Ok(());
        }
        let order = plan.order();
        let view = View::new(plan.clone());
        if !view.workers.contains_key(&self.me.id) {
            return Err(Leave::Fenced(format!("{} is not part of generation {}", self.me.id, view.generation())));
        }
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        let is_new = self.view.as_ref().is_none_or(|known| known.generation() != view.generation());
        if is_new {
            tracing::info!(generation = view.generation(), workers = view.workers.len(), "following a new assignment");
        }
        self.view = Some(view);
        if is_new {
            self.peers.values().for_each(|peer| peer.outgoing.announce_plan());
            self.apply()?;
        }
        self.obey(order);
        Ok(())
    }

    /// Obeys what is wanted of the topology.
    fn obey(&mut self, order: Order) {
        let before = std::mem::replace(&mut self.order, order);
        let control = match order {
            _ if before == order => return,
            Order::Run => Control::Activate,
            Order::Pause => Control::Deactivate,
            Order::Drain => Control::Drain,
            Order::Exit | Order::Unspecified => return,
        };
        spout_tasks_of(&self.crew.topology).for_each(|spout| self.send(spout, control));
    }

    /// Makes what runs be what the plan says.
    fn apply(&mut self) -> Result<(), Leave> {
        let Some(view) = self.view.clone() else { return Ok(()) };
        let new: Vec<&WorkerId> = view.workers.keys().filter(|id| **id != self.me.id).collect();
        for id in new {
            if !self.peers.contains_key(id) {
                self.add_peer(id);
            }
        }
        let (mut lost, mut targets) = (BTreeSet::new(), BTreeMap::new());
        for task in tasks_of(&self.crew.topology) {
            self.crew.exchange.expect(task, view.owner(task) == Some(&self.me.id));
            let Some(target) = self.place_of(&view, task) else { continue };
            let known = self.ways.get(&task);
            if known != Some(&target) {
                if known.is_some() {
                    lost.insert(task);
                }
                targets.insert(task, target);
            } else if self.moves.is_held(task) && view.leaver(task).is_none() {
                // Its move was called off: it goes on where it is.
                targets.insert(task, target);
            }
        }
        let generation = view.generation();
        for task in self.running.keys().filter(|task| view.leaver(**task).is_none()) {
            // A worker may have told this one already that the task moves, by an earlier assignment.
            self.crew.exchange.tell(*task, Item::Leaving(*task, generation, false));
        }
        // From here on nothing more goes the old way: it would be missing from what is sent again, and
        // from the credit.
        lost.iter().for_each(|task| self.crew.exchange.hold(*task, || {}));
        // Before the links to those that are gone are closed: what they have not confirmed is sent
        // elsewhere.
        let again = self.unconfirmed_by_task(&lost);
        self.crew.exchange.refill(&lost);
        self.drop_tasks(&targets);
        self.redirect(&view, targets, again)?;
        self.drop_peers(&view);
        self.note_lost(&lost);
        // Who heard of the loss of a task only now has dropped what the next launch has said already.
        self.crew.exchange.tell_marks();
        self.go_on_moving()
    }

    /// The worker that runs a task now; nothing if the assignment leaves it out.
    fn place_of(&self, view: &View, task: TaskId) -> Option<WorkerId> {
        let owner = view.owner(task)?;
        match view.leaver(task) {
            Some(leaver) if !self.moves.is_released(task, view.generation()) => {
                // Whoever took it over in an earlier generation keeps it.
                let is_there = match *owner == self.me.id {
                    true => self.running.contains_key(&task),
                    false => self.ways.get(&task) == Some(owner),
                };
                Some(if is_there { owner.clone() } else { leaver.clone() })
            }
            _ => Some(owner.clone()),
        }
    }

    fn unconfirmed_by_task(&self, lost: &BTreeSet<TaskId>) -> Again {
        let mut again = Again::new();
        for peer in self.peers.values() {
            for frame in self.decoded(&peer.outgoing.unconfirmed(lost)) {
                let Frame::Rows { lane, launch, limit, parcel } = frame else { continue };
                for (task, parcel) in parcel.split().into_iter().filter(|(task, _)| lost.contains(task)) {
                    again.entry(task).or_default().push(Frame::Rows { lane, launch, limit, parcel });
                }
            }
        }
        again
    }

    pub(super) fn decoded(&self, frames: &[Bytes]) -> Vec<Frame> {
        frames.iter().filter_map(|bytes| wire::decode(bytes, &self.crew.graph).ok()).collect()
    }

    /// Ends tasks that run here and should not, without waiting: their time to drain is over.
    fn drop_tasks(&mut self, targets: &BTreeMap<TaskId, WorkerId>) {
        for (task, target) in targets {
            if *target != self.me.id
                && let Some(running) = self.running.remove(task)
            {
                tracing::warn!(task, "ended without draining: it runs at {target} now");
                running.abort.abort();
                self.moves.ended(*task);
                self.lane_ended(*task);
                self.tallies.ended(*task);
            }
        }
    }

    /// Ends links to workers that are gone.
    fn drop_peers(&mut self, view: &View) {
        let gone: Vec<WorkerId> = self.peers.keys().filter(|id| !view.workers.contains_key(*id)).cloned().collect();
        for id in gone {
            if let Some(peer) = self.peers.remove(&id) {
                let message = format!("{id} is not part of generation {}", view.generation());
                peer.inbound.close(&LinkRefusal { is_fenced: true, message });
                // The tasks still at `id` have no new worker. Batches for other tasks were sent to theirs.
                peer.outgoing.close(&self.tasks_at(&id));
                peer.link.abort();
                self.moves.forget(&id);
            }
        }
    }

    /// Opens doors to where tasks run now, and starts those that run here.
    pub(super) fn redirect(
        &mut self,
        view: &View,
        targets: BTreeMap<TaskId, WorkerId>,
        mut again: Again,
    ) -> Result<(), Leave> {
        // All doors first: what starts finds its peers.
        let mut starting = Vec::new();
        for (task, target) in targets {
            let way = if target == self.me.id {
                match self.running.get(&task) {
                    // It lets go though its move was called off: it is started anew when it has ended.
                    Some(_) if self.moves.is_letting_go(task) => continue,
                    Some(running) => To::Lane(running.lane.port.clone(), running.inbox.clone()),
                    // It is to be released here, but this launch of the worker never ran it.
                    None if self.is_leaving(task) => continue,
                    None => {
                        let (seat, inbox) = (self.seat(view, task)?, Inbox::new());
                        let to = To::Lane(seat.lane.port.clone(), inbox.clone());
                        starting.push((task, seat, inbox));
                        to
                    }
                }
            } else {
                let Some(peer) = self.peers.get(&target) else { continue };
                let link: Arc<dyn Link> = peer.outgoing.clone();
                To::Link(link)
            };
            self.crew.exchange.open(task, way, again.remove(&task).unwrap_or_default());
            self.ways.insert(task, target);
            self.moves.opened(task);
        }
        for (task, seat, inbox) in starting {
            self.start(view, task, &seat, inbox)?;
        }
        Ok(())
    }

    /// A place for a task that is about to start here.
    fn seat(&mut self, view: &View, task: TaskId) -> Result<Seat, Leave> {
        let found = component_of(&self.crew.topology, task).zip(view.executor(task));
        let Some((component, executor)) = found else {
            return Err(Leave::Failed(format!("task {task} belongs to no executor")));
        };
        let name = format!("galerna-{}", component.id);
        let seat = self.lanes.seat(task, executor, component.is_blocking, &name, || self.crew.lane());
        seat.map_err(|error| Leave::Failed(format!("cannot start a thread: {error}")))
    }

    /// A task has let go for a move that was called off meanwhile: it belongs here as before.
    pub(super) fn start_again(&mut self, task: TaskId) -> Result<(), Leave> {
        let Some(view) = self.view.clone() else { return Ok(()) };
        if view.owner(task) != Some(&self.me.id) || self.running.contains_key(&task) {
            return Ok(());
        }
        self.open_edges_of(task);
        self.redirect(&view, BTreeMap::from([(task, self.me.id.clone())]), Again::new())
    }

    /// A task that was released is about to start here: what its predecessor said of its edges is void.
    pub(super) fn open_edges_of(&self, task: TaskId) {
        let Some(view) = &self.view else { return };
        let from = Sender { task, launch: self.launch(view).number, is_final: false };
        let mark = Mark { from, marker: Marker::Open };
        self.crew.exchange.mark(mark);
        for peer in self.peers.values() {
            peer.outgoing.send(Frame::Mark(mark));
        }
    }

    /// The launch of a task that starts now. It is unique for each launch of a task: a restart has another
    /// incarnation, a move another generation.
    fn launch(&self, view: &View) -> Launch {
        let (generation, incarnation) = (view.generation(), self.me.incarnation);
        Launch {
            number: ((generation as u32 & 0xffff) << 16) | (incarnation as u32 & 0xffff),
            incarnation: (generation << 32) | (incarnation & 0xffff_ffff),
        }
    }

    fn start(&mut self, view: &View, task: TaskId, seat: &Seat, inbox: Inbox) -> Result<(), Leave> {
        let Some(component) = component_of(&self.crew.topology, task).cloned() else { return Ok(()) };
        let launch = self.launch(view);
        let control = match view.plan.order() {
            Order::Pause => Some(Control::Deactivate),
            Order::Drain => Some(Control::Drain),
            _ => None,
        };
        if let Some(control) = control.filter(|_| component.is_spout()) {
            inbox.send(Message::Control(control));
        }
        let (lane, arrivals) = (seat.lane.clone(), inbox.arrivals(seat.lane.clone()));
        let own_thread = seat.own_thread.clone();
        let ready = guarded(|| self.crew.task(&component, task, launch, own_thread, &lane, arrivals))
            .map_err(|Panic(message)| Leave::Failed(format!("a custom grouping of `{}` {message}", component.id)))?;
        let abort = self.lanes.spawn(seat, ready.future);
        self.tallies.started(component.id.clone(), task, ready.stats);
        let started_unix_ms = self.crew.run.wall_clock.now().as_nanos() / 1_000_000;
        self.running.insert(task, Running { launch: launch.number, inbox, lane, started_unix_ms, parked: None, abort });
        Ok(())
    }
}
