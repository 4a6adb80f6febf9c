//! The other workers of the topology: linking to them, letting them in or refusing them, and what
//! follows when one of them turns out to be a new launch.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use galerna_protocol::{LinkHello, LinkRefusal, LinkWelcome, LocateRequest, WorkerId};
use galerna_topology_api::TaskId;

use super::{Accepted, Greeting, Leave, Peer, Steward};
use crate::cluster::incoming::Inbound;
use crate::cluster::outgoing::{Outgoing, Place};
use crate::cluster::view::{View, receivers_of, spouts_upstream};
use crate::crew::sources_of;
use crate::link::{Frame, Link};
use crate::message::{Control, Message};
use crate::wire::WIRE_VERSION;

impl Steward {
    /// Who it is to a peer.
    fn hello_to(&self, peer: &WorkerId) -> impl Fn() -> LinkHello + use<> {
        let (me, peer, plan) = (self.me.clone(), peer.clone(), self.plan.clone());
        move || LinkHello {
            topology_id: me.topology.clone(),
            from: Some(me.id.clone()),
            incarnation: me.incarnation,
            to: Some(peer.clone()),
            artifact: me.artifact.clone(),
            wire_version: WIRE_VERSION,
            address: me.address.clone(),
            plan: Some(plan.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    /// Links to a worker, both ways.
    pub(super) fn add_peer(&mut self, id: &WorkerId) {
        let Some(worker) = self.view.as_ref().and_then(|view| view.workers.get(id)) else { return };
        let place = Place {
            address: galerna_protocol::host_port(&worker.host, id.slot),
            supervisor: worker.supervisor_address.clone(),
            request: LocateRequest { topology_id: self.me.topology.clone(), slot: id.slot },
        };
        let outgoing = Arc::new(Outgoing::new(id.clone(), self.crew.exchange.fenced_batches.clone()));
        let back: Arc<dyn Link> = outgoing.clone();
        let sources = sources_of(&self.crew.topology);
        let inbound = Arc::new(Inbound::new(id.clone(), self.crew.exchange.clone(), sources, back));
        let link = self.links.spawn(outgoing.clone().run(self.hello_to(id), place, self.events.clone()));
        self.peers.insert(id.clone(), Peer { incarnation: None, outgoing, inbound, link });
    }

    /// Decides about a peer that wants to link.
    pub(super) fn greet(&mut self, hello: &LinkHello) -> Result<Greeting, Leave> {
        let theirs = hello.plan.as_ref().map_or(0, |plan| plan.version);
        // The first plan comes from the supervisor: a peer that is cut off may know an old one.
        if let Some(plan) = hello.plan.clone()
            && self.view.is_some()
            && hello.topology_id == self.me.topology
        {
            self.follow(plan)?;
        }
        let known = self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = (known.version > theirs).then_some(known);
        let mut welcome = LinkWelcome { incarnation: self.me.incarnation, plan, refusal: None };
        let id = hello.from.clone().unwrap_or_default();
        if let Some(refusal) = self.refusal(hello, &id) {
            tracing::warn!(peer = %id, incarnation = hello.incarnation, "link refused: {}", refusal.message);
            welcome.refusal = Some(refusal);
            return Ok(Err(welcome));
        }
        self.peer_seen(&id, hello.incarnation);
        self.go_on_moving()?;
        let Some(peer) = self.peers.get(&id) else { return Ok(Err(welcome)) };
        peer.outgoing.note_address(&hello.address);
        let inbound = peer.inbound.clone();
        let (connection, last) = inbound.connect();
        Ok(Ok(Accepted { inbound, connection, last, welcome }))
    }

    fn refusal(&self, hello: &LinkHello, id: &WorkerId) -> Option<LinkRefusal> {
        let refuse = |is_fenced, message| Some(LinkRefusal { is_fenced, message });
        let me = &self.me;
        if hello.topology_id != me.topology || hello.to.as_ref() != Some(&me.id) {
            return refuse(false, format!("this is {} of topology {}", me.id, me.topology));
        }
        if hello.wire_version != WIRE_VERSION || hello.artifact != me.artifact {
            let (theirs, ours) = (hello.wire_version, WIRE_VERSION);
            let message = format!(
                "all workers run the same program: expected artifact {} with wire version {ours}, found {} with {theirs}",
                me.artifact, hello.artifact
            );
            return refuse(false, message);
        }
        if self.view.is_none() {
            return refuse(false, format!("{} has not been told a plan yet", me.id));
        }
        match self.peers.get(id) {
            None => {
                let generation = self.view.as_ref().map_or(0, View::generation);
                let theirs = hello.plan.as_ref().and_then(|plan| plan.assignment.as_ref());
                let is_behind = theirs.map_or(0, |assignment| assignment.generation) < generation;
                refuse(is_behind, format!("{id} is not part of generation {generation}"))
            }
            Some(peer) if peer.incarnation.is_some_and(|known| hello.incarnation < known) => {
                let known = peer.incarnation.unwrap_or_default();
                refuse(true, format!("incarnation {} of {id} was replaced by {known}", hello.incarnation))
            }
            Some(_) => None,
        }
    }

    /// A peer has shown which launch it is. If an earlier one was known, that one is lost.
    pub(super) fn peer_seen(&mut self, id: &WorkerId, incarnation: u64) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match peer.incarnation {
            Some(known) if incarnation <= known => return,
            None => {
                peer.incarnation = Some(incarnation);
                peer.outgoing.begin_anew(incarnation);
                peer.inbound.begin_anew();
                self.tell_releases_to(id);
                return;
            }
            Some(known) => {
                tracing::warn!(peer = %id, lost = known, incarnation, "a worker was launched anew");
                peer.incarnation = Some(incarnation);
                peer.inbound.begin_anew();
                peer.outgoing.begin_anew(incarnation);
                // What its predecessor said of tasks that move does not bind this one.
                self.moves.forget(id);
            }
        }
        let lost = self.tasks_at(id);
        // What is sent again still counts against the credit.
        let again = self.peers[id].outgoing.unconfirmed(&lost);
        self.crew.exchange.refill(|task| lost.contains(&task));
        for frame in self.decoded(&again) {
            self.crew.exchange.take_again(&frame);
        }
        for task in &lost {
            if let Some(door) = self.crew.exchange.door(*task) {
                door.tell_marks();
            }
        }
        self.tell_releases_to(id);
        self.tell_holds_to(id);
        self.note_lost(&lost);
        self.losses.insert(id.clone(), incarnation);
        for peer in self.peers.values() {
            peer.outgoing.send(Frame::Lost { worker: id.clone(), incarnation });
        }
    }

    /// Another worker says that launches of a worker before this one are lost. Whoever never met them
    /// may still have trees that have passed through them by way of others.
    pub(super) fn heard_lost(&mut self, id: &WorkerId, incarnation: u64) {
        if *id == self.me.id || self.losses.get(id).is_some_and(|known| *known >= incarnation) {
            return;
        }
        self.losses.insert(id.clone(), incarnation);
        self.fail_trees_through(&self.tasks_at(id));
    }

    /// The tasks that a worker runs, as far as is known here.
    pub(super) fn tasks_at(&self, id: &WorkerId) -> BTreeSet<TaskId> {
        self.ways.iter().filter(|(_, worker)| *worker == id).map(|(task, _)| *task).collect()
    }

    /// Tasks are lost with all that was in them: edges from them are void, and the trees that may have
    /// passed through them fail.
    pub(super) fn note_lost(&self, lost: &BTreeSet<TaskId>) {
        for receivers in receivers_of(&self.crew.topology, lost) {
            for (_, running) in self.running.range(receivers.tasks) {
                running.inbox.send(Message::Reopen(receivers.sources.clone()));
            }
        }
        self.fail_trees_through(lost);
    }

    fn fail_trees_through(&self, lost: &BTreeSet<TaskId>) {
        for spout in spouts_upstream(&self.crew.topology, lost) {
            if !lost.contains(&spout) {
                self.send(spout, Control::FailOpen);
            }
        }
    }
}
