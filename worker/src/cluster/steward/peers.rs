//! The other workers of the topology: linking to them, letting them in or refusing them, and what
//! follows when one of them turns out to be a new launch.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use galerna_protocol::{LinkHello, LinkRefusal, LinkWelcome, LocateRequest, WorkerId, WorkerPlan};
use galerna_topology_api::TaskId;

use super::{Accepted, Greeting, Leave, Peer, Steward};
use crate::cluster::incoming::Inbound;
use crate::cluster::link_stream::LinkStream;
use crate::cluster::outgoing::{Outgoing, Place};
use crate::cluster::view::{View, spouts_upstream};
use crate::link::{Frame, Link};
use crate::message::Control;
use crate::wire::WIRE_VERSION;

impl Steward {
    /// Who it is to a peer. The link says which stream it opens.
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
            ..LinkHello::default()
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
        let fenced_batches = self.crew.exchange.fenced_batches.clone();
        let outgoing = Arc::new(Outgoing::new(id.clone(), fenced_batches, self.crew.run.clone()));
        let back: Arc<dyn Link> = outgoing.clone();
        let (graph, exchange, run) = (self.crew.graph.clone(), self.crew.exchange.clone(), self.crew.run.clone());
        let inbound = Arc::new(Inbound::new(id.clone(), exchange, graph, back, run));
        let link = self.links.spawn(outgoing.clone().run(self.hello_to(id), place, self.events.clone()));
        self.peers.insert(id.clone(), Peer { incarnation: None, outgoing, inbound, link });
    }

    /// Decides about a peer that wants to link. Its plan is read only if it is a current launch of a worker of this
    /// topology: a stranger decides nothing here, nor hears of the plan.
    pub(super) fn greet(&mut self, hello: &LinkHello) -> Result<Greeting, Leave> {
        let id = hello.from.clone().unwrap_or_default();
        let mut welcome = LinkWelcome { incarnation: self.me.incarnation, plan: None, refusal: None };
        let refused = |refusal: LinkRefusal, plan| {
            tracing::warn!(peer = %id, incarnation = hello.incarnation, "link refused: {}", refusal.message);
            Ok(Err(LinkWelcome { refusal: Some(refusal), plan, ..welcome.clone() }))
        };
        let stream = match self.recognized(hello, &id) {
            Ok(stream) => stream,
            Err(refusal) => return refused(refusal, None),
        };
        if let Some(plan) = hello.plan.as_ref().filter(|plan| names(plan, &id)) {
            self.follow(plan.clone())?;
        }
        let theirs = hello.plan.as_ref().map_or(0, |plan| plan.version);
        let known = self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let newer = (known.version > theirs).then_some(known);
        if !self.peers.contains_key(&id) {
            let generation = self.view.as_ref().map_or(0, View::generation);
            let theirs = hello.plan.as_ref().and_then(|plan| plan.assignment.as_ref());
            let is_behind = theirs.map_or(0, |assignment| assignment.generation) < generation;
            let message = format!("{id} is not part of generation {generation}");
            return refused(LinkRefusal { is_fenced: is_behind, message }, newer);
        }
        self.peer_seen(&id, hello.incarnation);
        self.go_on_moving()?;
        welcome.plan = newer;
        let Some(peer) = self.peers.get(&id) else { return Ok(Err(welcome)) };
        peer.outgoing.note_address(&hello.address);
        let (connection, last) = peer.inbound.connect(stream);
        Ok(Ok(Accepted { connection, last, welcome }))
    }

    /// Recognizes a worker of this topology that runs the same program, means this worker, and was not launched anew
    /// meanwhile. Answers which stream it opens.
    fn recognized(&self, hello: &LinkHello, id: &WorkerId) -> Result<LinkStream, LinkRefusal> {
        let refuse = |is_fenced, message| Err(LinkRefusal { is_fenced, message });
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
        // The first plan comes from the supervisor: a peer that is cut off may know an old one.
        if self.view.is_none() {
            return refuse(false, format!("{} has not been told a plan yet", me.id));
        }
        let met = self.peers.get(id).and_then(|peer| peer.incarnation);
        let newest = met.max(self.losses.get(id).copied());
        if let Some(newest) = newest.filter(|newest| hello.incarnation < *newest) {
            return refuse(true, format!("incarnation {} of {id} was replaced by {newest}", hello.incarnation));
        }
        LinkStream::try_from(hello.stream()).or_else(|message| refuse(false, message.to_owned()))
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
        self.crew.exchange.refill(&lost);
        for frame in self.decoded(&again) {
            self.crew.exchange.take_again(frame);
        }
        self.crew.exchange.tell_marks();
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
        let tasks: Arc<[TaskId]> = lost.iter().copied().collect();
        self.crew.exchange.reopen(&tasks);
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

/// Whether a plan gives tasks to a worker.
fn names(plan: &WorkerPlan, id: &WorkerId) -> bool {
    plan.assignment.iter().flat_map(|assignment| &assignment.workers).any(|worker| worker.id.as_ref() == Some(id))
}
