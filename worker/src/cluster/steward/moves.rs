//! Tasks that move while everything is healthy, without losing or replaying anything.
//!
//! A task moves once its new worker is there. Spouts go first: they stop emitting and are released
//! when their trees are settled. Then every worker holds back what it has for the bolts that move,
//! and says so over its links, behind everything it has sent before. When a bolt's worker has heard
//! that of all workers, nothing more can come: the bolt settles what it has, and is released. Its
//! worker tells all others, and what was held back goes to the new place.

use std::collections::{BTreeMap, BTreeSet};

use galerna_protocol::WorkerId;
use galerna_topology_api::TaskId;

use super::{Leave, Steward};
use crate::cluster::view::View;
use crate::crew::component_of;
use crate::link::{Frame, Link};
use crate::message::Control;
use crate::parcel::Item;

/// What is known of tasks that move.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Who sends nothing more to a task, and since which generation.
    holders: BTreeMap<TaskId, (u64, BTreeSet<WorkerId>)>,
    /// In which generation a task was released last.
    released: BTreeMap<TaskId, u64>,
    /// In which generation this worker holds back what it has for a task.
    held_here: BTreeMap<TaskId, u64>,
    /// In which generation a task of this worker was told to let go.
    ordered: BTreeMap<TaskId, u64>,
}

impl Moves {
    /// A worker sends nothing more to a task.
    pub(super) fn held(&mut self, task: TaskId, generation: u64, by: WorkerId) {
        let known = self.holders.entry(task).or_insert_with(|| (generation, BTreeSet::new()));
        if generation > known.0 {
            *known = (generation, BTreeSet::new());
        }
        if generation == known.0 {
            known.1.insert(by);
        }
    }

    pub(super) fn is_released(&self, task: TaskId, generation: u64) -> bool {
        self.released.get(&task) == Some(&generation)
    }

    /// Whether a task of this worker was told to let go: it ends, whatever is planned since.
    pub(super) fn is_letting_go(&self, task: TaskId) -> bool {
        self.ordered.contains_key(&task)
    }

    /// A task of this worker has ended.
    pub(super) fn ended(&mut self, task: TaskId) {
        self.ordered.remove(&task);
    }

    /// A task's door was opened.
    pub(super) fn opened(&mut self, task: TaskId) {
        self.held_here.remove(&task);
    }

    /// Whether what this worker has for a task is held back.
    pub(super) fn is_held(&self, task: TaskId) -> bool {
        self.held_here.contains_key(&task)
    }

    /// A worker is gone.
    pub(super) fn forget(&mut self, worker: &WorkerId) {
        for (_, holders) in self.holders.values_mut() {
            holders.remove(worker);
        }
    }

    fn are_all_holding<'a>(
        &self,
        task: TaskId,
        generation: u64,
        mut workers: impl Iterator<Item = &'a WorkerId>,
    ) -> bool {
        let holders = self.holders.get(&task).filter(|(of, _)| *of == generation);
        workers.all(|worker| holders.is_some_and(|(_, holders)| holders.contains(worker)))
    }
}

impl Steward {
    /// Whether this worker is to release a task.
    pub(super) fn is_leaving(&self, task: TaskId) -> bool {
        let Some(view) = &self.view else { return false };
        view.leaver(task) == Some(&self.me.id) && !self.moves.is_released(task, view.generation())
    }

    /// Whether everything runs where the assignment says.
    pub(super) fn is_settled(&self) -> bool {
        let Some(view) = &self.view else { return false };
        let generation = view.generation();
        let own = view.workers.get(&self.me.id).map(|worker| worker.executors.as_slice()).unwrap_or_default();
        view.moving().all(|(task, _)| self.moves.is_released(task, generation))
            && own.iter().flat_map(|executor| executor.tasks()).all(|task| self.running.contains_key(&task))
    }

    /// Does what can be done now for tasks that move.
    pub(super) fn go_on_moving(&mut self) -> Result<(), Leave> {
        let Some(view) = self.view.clone() else { return Ok(()) };
        let generation = view.generation();
        let topology = &self.crew.topology;
        let is_spout = |task| component_of(topology, task).is_some_and(|component| component.is_spout());
        let open: Vec<(TaskId, WorkerId, bool)> = view
            .moving()
            .filter(|(task, _)| !self.moves.is_released(*task, generation))
            .map(|(task, from)| (task, from.clone(), is_spout(task)))
            .collect();
        let has_spouts = open.iter().any(|(_, _, is_spout)| *is_spout);
        for (task, from, is_spout) in open {
            // Until whoever takes it over is there, it runs on as if nothing were to happen.
            if is_spout != has_spouts || !self.is_there(view.owner(task)) {
                continue;
            }
            if !is_spout {
                self.hold(task, &from, generation);
            }
            if from != self.me.id {
                continue;
            }
            if !self.running.contains_key(&task) {
                self.announce_release(task)?;
            } else if (is_spout || self.moves.are_all_holding(task, generation, view.workers.keys()))
                && self.moves.ordered.insert(task, generation) != Some(generation)
            {
                // Behind everything that has come for the task.
                self.crew.exchange.tell(task, Item::Control(task, Control::Release));
                // A spout needs its acks until it has ended.
                if !is_spout {
                    self.crew.exchange.detach(task);
                }
            }
        }
        Ok(())
    }

    /// Whether a worker is this one, or has linked with it.
    fn is_there(&self, worker: Option<&WorkerId>) -> bool {
        let is_linked = |worker| self.peers.get(worker).is_some_and(|peer| peer.incarnation.is_some());
        worker.is_none_or(|worker| *worker == self.me.id || is_linked(worker))
    }

    /// Holds back what this worker has for a task, and tells the worker that runs it.
    fn hold(&mut self, task: TaskId, from: &WorkerId, generation: u64) {
        if self.moves.held_here.insert(task, generation) == Some(generation) {
            return;
        }
        if *from == self.me.id {
            // What is said of edges from now on concerns the task at its new place.
            self.crew.exchange.tell(task, Item::Leaving(task, generation, true));
        }
        let peer = self.peers.get(from);
        self.crew.exchange.hold(task, || {
            if let Some(peer) = peer {
                peer.outgoing.send(Frame::Hold { task, generation });
            }
        });
        if *from == self.me.id {
            self.moves.held(task, generation, self.me.id.clone());
        }
    }

    /// A task of this worker has let go: tells everyone.
    pub(super) fn announce_release(&mut self, task: TaskId) -> Result<(), Leave> {
        let Some(generation) = self.view.as_ref().map(View::generation) else { return Ok(()) };
        for peer in self.peers.values() {
            peer.outgoing.send(Frame::Released { task, generation });
        }
        self.released(task, generation)
    }

    /// Tells a launch of a peer that has just come what was released before.
    pub(super) fn tell_releases_to(&self, id: &WorkerId) {
        let (Some(view), Some(peer)) = (&self.view, self.peers.get(id)) else { return };
        let generation = view.generation();
        for (task, from) in view.moving() {
            if *from == self.me.id && self.moves.is_released(task, generation) {
                peer.outgoing.send(Frame::Released { task, generation });
            }
        }
    }

    /// Tells a launch of a peer that has just come what is held back here for the tasks that it is to
    /// release: what its predecessor has heard of that died with it.
    pub(super) fn tell_holds_to(&self, id: &WorkerId) {
        let (Some(view), Some(peer)) = (&self.view, self.peers.get(id)) else { return };
        let generation = view.generation();
        for (task, from) in view.moving() {
            if from == id && self.moves.held_here.get(&task) == Some(&generation) {
                self.crew.exchange.hold(task, || {
                    peer.outgoing.send(Frame::Hold { task, generation });
                });
            }
        }
    }

    /// A task was released: it goes on at its new place.
    pub(super) fn released(&mut self, task: TaskId, generation: u64) -> Result<(), Leave> {
        let known = self.moves.released.entry(task).or_default();
        *known = generation.max(*known);
        let Some(view) = self.view.clone() else { return Ok(()) };
        if generation == view.generation()
            && view.leaver(task).is_some()
            && let Some(owner) = view.owner(task)
        {
            if *owner == self.me.id && !self.running.contains_key(&task) {
                self.open_edges_of(task);
            }
            self.redirect(&view, BTreeMap::from([(task, owner.clone())]), BTreeMap::new())?;
        }
        self.go_on_moving()
    }
}
