//! The one place that decides what a worker does: compares the plan it was told with what runs, and
//! does what is missing. It hears of everything that matters through one queue, so that nothing
//! happens at the same time as something else.

mod change;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use galerna_protocol::{
    LinkHello, LinkRefusal, LinkWelcome, LocateRequest, Order, WorkerId, WorkerPlan, WorkerReport, WorkerState,
};
use galerna_topology_api::TaskId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::incoming::{Accepted, Inbound};
use super::lanes::Lanes;
use super::outgoing::{Outgoing, Place};
use super::report::Tallies;
use super::view::{View, receivers_of, spouts_upstream};
use crate::crew::{Crew, Inbox, sources_of};
use crate::edges::Ending;
use crate::link::{Frame, Link};
use crate::message::{Control, Message};
use crate::run::RunEvent;
use crate::watchdog;
use crate::wire::WIRE_VERSION;
use moves::Moves;

/// How often a report is made when nothing changes.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long news may wait for more.
const SOON: Duration = Duration::from_millis(5);
/// How long tasks may take to clean up when the worker is told to exit.
const EXIT_PATIENCE: Duration = Duration::from_secs(3);

/// What a peer that wants to link is told; with it, if it may, where its frames go.
pub(super) type Greeting = Result<Accepted, LinkWelcome>;

/// What the steward hears of.
#[derive(Debug)]
pub(super) enum Event {
    /// The supervisor, or a peer, knows a plan.
    Plan(WorkerPlan),
    /// A peer follows a plan, and says so before anything that it sends by it.
    Told { plan: WorkerPlan, done: oneshot::Sender<()> },
    /// A peer wants to link.
    Hello { hello: Box<LinkHello>, reply: oneshot::Sender<Greeting> },
    /// A peer answered as this launch.
    PeerSeen { peer: WorkerId, incarnation: u64, done: oneshot::Sender<()> },
    /// A peer tells something about moving tasks.
    Notice { from: WorkerId, frame: Frame },
    /// This worker was replaced.
    Fenced(String),
    /// End in good order, soon.
    Stop,
}

/// The way to the steward.
#[derive(Clone, Debug)]
pub(super) struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    // Unbounded in itself: a few for each change of plan, and each attempt to link.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells the steward, unless it is gone.
    pub(super) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// Who a worker is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) topology: String,
    pub(super) id: WorkerId,
    pub(super) incarnation: u64,
    /// `host:port` where it accepts links.
    pub(super) address: String,
    /// SHA-256 of the executable.
    pub(super) artifact: String,
}

/// Why a worker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It was told to.
    Told,
    /// It was replaced.
    Fenced(String),
    /// It cannot go on.
    Failed(String),
}

/// Another worker of the topology.
struct Peer {
    incarnation: Option<u64>,
    outgoing: Arc<Outgoing>,
    inbound: Arc<Inbound>,
    link: AbortHandle,
}

/// A task that runs here.
struct Running {
    launch: u32,
    inbox: Inbox,
    started_unix_ms: i64,
    parked: Option<Ending>,
    abort: AbortHandle,
}

/// See the module.
pub(super) struct Steward {
    pub(super) me: Identity,
    pub(super) crew: Crew,
    pub(super) events: Events,
    view: Option<View>,
    /// The newest plan, for links.
    plan: Arc<Mutex<WorkerPlan>>,
    lanes: Lanes,
    links: JoinSet<()>,
    peers: BTreeMap<WorkerId, Peer>,
    running: BTreeMap<TaskId, Running>,
    /// Where each door leads; nothing for those that are held.
    ways: BTreeMap<TaskId, WorkerId>,
    moves: Moves,
    tallies: Tallies,
    order: Order,
    refused: u64,
}

impl Steward {
    pub(super) fn new(me: Identity, crew: Crew, events: Events) -> Self {
        Self {
            me,
            crew,
            events,
            view: None,
            plan: Arc::default(),
            lanes: Lanes::default(),
            links: JoinSet::new(),
            peers: BTreeMap::new(),
            running: BTreeMap::new(),
            ways: BTreeMap::new(),
            moves: Moves::default(),
            tallies: Tallies::default(),
            order: Order::Run,
            refused: 0,
        }
    }

    /// Runs until the worker is to end. What it reports last stands in `reports` then.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut tasks: mpsc::UnboundedReceiver<RunEvent>,
        reports: watch::Sender<WorkerReport>,
    ) -> Leave {
        let mut report = interval(REPORT_INTERVAL);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watchdog = watchdog::watch(self.crew.run.clone(), self.tallies.watched());
        let mut watchdog = pin!(watchdog);
        let mut due: Option<Instant> = None;
        let leave = loop {
            let outcome = tokio::select! {
                biased;
                Some(event) = events.recv() => self.hear(event),
                Some(event) = tasks.recv() => self.hear_task(event),
                message = self.lanes.next_panic() => Err(Leave::Failed(format!("the engine itself panicked: {message}"))),
                // Many things may happen at once: they are told together.
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    reports.send_replace(self.report());
                    continue;
                }
                _ = report.tick() => Ok(()),
                () = &mut watchdog => Ok(()),
            };
            due.get_or_insert_with(|| Instant::now() + SOON);
            match outcome {
                Ok(()) if self.order == Order::Exit => break Leave::Told,
                Ok(()) => {}
                Err(leave) => break leave,
            }
        };
        self.leave(&leave, &mut tasks).await;
        reports.send_replace(self.report());
        leave
    }

    fn hear(&mut self, event: Event) -> Result<(), Leave> {
        match event {
            Event::Plan(plan) => self.follow(plan)?,
            Event::Told { plan, done } => {
                self.follow(plan)?;
                let _ = done.send(());
            }
            Event::Hello { hello, reply } => {
                let answer = self.greet(&hello)?;
                let _ = reply.send(answer);
            }
            Event::PeerSeen { peer, incarnation, done } => {
                self.peer_seen(&peer, incarnation);
                let _ = done.send(());
            }
            Event::Notice { from, frame } => match frame {
                Frame::Hold { task, generation } => {
                    self.moves.held(task, generation, from);
                    self.go_on_moving()?;
                }
                Frame::Released { task, generation } => {
                    self.released(task, generation)?;
                }
                _ => {}
            },
            Event::Fenced(reason) => return Err(Leave::Fenced(reason)),
            Event::Stop => self.order = Order::Exit,
        }
        Ok(())
    }

    fn hear_task(&mut self, event: RunEvent) -> Result<(), Leave> {
        match event {
            RunEvent::Failed(failure) => return Err(Leave::Failed(failure.message)),
            RunEvent::Parked(task, ending) => {
                if let Some(running) = self.running.get_mut(&task) {
                    running.parked = Some(ending);
                }
            }
            RunEvent::Resumed(task) => {
                if let Some(running) = self.running.get_mut(&task) {
                    running.parked = None;
                }
            }
            // Of a launch that was ended hard meanwhile, it is too late to hear.
            RunEvent::Ended(task, launch) if self.running.get(&task).is_none_or(|running| running.launch != launch) => {
            }
            RunEvent::Ended(task, _) => {
                self.lanes.ended(task);
                self.running.remove(&task);
                self.tallies.ended(task);
                self.moves.ended(task);
                self.crew.exchange.forget_marks_of(task);
                if self.is_leaving(task) {
                    self.announce_release(task)?;
                } else {
                    self.start_again(task)?;
                }
            }
        }
        Ok(())
    }

    /// Has all tasks clean up, for a bounded time.
    async fn leave(&mut self, leave: &Leave, tasks: &mut mpsc::UnboundedReceiver<RunEvent>) {
        if *leave != Leave::Told {
            return;
        }
        for running in self.running.values() {
            let _ = running.inbox.send(Message::Control(Control::Exit));
        }
        let deadline = Instant::now() + EXIT_PATIENCE;
        while !self.running.is_empty() {
            tokio::select! {
                biased;
                Some(event) = tasks.recv() => if let RunEvent::Ended(task, _) = event {
                    self.running.remove(&task);
                    self.tallies.ended(task);
                },
                () = sleep_until(deadline) => {
                    tracing::warn!(tasks = ?self.running.keys().collect::<Vec<_>>(), "tasks did not clean up in time");
                    return;
                }
            }
        }
    }

    fn send(&self, task: TaskId, control: Control) {
        if let Some(running) = self.running.get(&task) {
            let _ = running.inbox.send(Message::Control(control));
        }
    }

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
    fn add_peer(&mut self, id: &WorkerId) {
        let Some(worker) = self.view.as_ref().and_then(|view| view.workers.get(id)) else { return };
        let place = Place {
            address: format!("{}:{}", worker.host, id.slot),
            supervisor: worker.supervisor_address.clone(),
            request: LocateRequest { topology_id: self.me.topology.clone(), slot: id.slot },
        };
        let outgoing = Arc::new(Outgoing::new(id.clone()));
        let back: Arc<dyn Link> = outgoing.clone();
        let sources = sources_of(&self.crew.topology);
        let inbound = Arc::new(Inbound::new(id.clone(), self.crew.exchange.clone(), sources, back));
        let link = self.links.spawn(outgoing.clone().run(self.hello_to(id), place, self.events.clone()));
        self.peers.insert(id.clone(), Peer { incarnation: None, outgoing, inbound, link });
    }

    /// Decides about a peer that wants to link.
    fn greet(&mut self, hello: &LinkHello) -> Result<Greeting, Leave> {
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
            self.refused += u64::from(refusal.is_fenced);
            tracing::warn!(peer = %id, incarnation = hello.incarnation, "link refused: {}", refusal.message);
            welcome.refusal = Some(refusal);
            return Ok(Err(welcome));
        }
        self.peer_seen(&id, hello.incarnation);
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
    fn peer_seen(&mut self, id: &WorkerId, incarnation: u64) {
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
        let lost: BTreeSet<TaskId> =
            self.ways.iter().filter(|(_, worker)| *worker == id).map(|(task, _)| *task).collect();
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
        self.note_lost(&lost);
    }

    /// Tasks are lost with all that was in them: edges from them are void, and the trees that may have
    /// passed through them fail.
    fn note_lost(&self, lost: &BTreeSet<TaskId>) {
        for (receiver, sources) in receivers_of(&self.crew.topology, lost) {
            sources.into_iter().for_each(|source| self.send(receiver, Control::Reopen(source)));
        }
        for spout in spouts_upstream(&self.crew.topology, lost) {
            if !lost.contains(&spout) {
                self.send(spout, Control::FailOpen);
            }
        }
    }

    fn report(&self) -> WorkerReport {
        let tasks: Vec<(TaskId, i64)> =
            self.running.iter().map(|(task, running)| (*task, running.started_unix_ms)).collect();
        let mut report = self.tallies.report(&self.crew, &tasks);
        report.topology_id = self.me.topology.clone();
        report.id = Some(self.me.id.clone());
        report.incarnation = self.me.incarnation;
        report.pid = std::process::id();
        report.address = self.me.address.clone();
        report.fenced_batches = self.refused;
        report.ended_tasks = self.running.values().filter(|running| running.parked.is_some()).count() as u32;
        let view = self.view.as_ref();
        report.generation = view.map_or(0, View::generation);
        report.settled_generation = if self.is_settled() { report.generation } else { 0 };
        let own = view.and_then(|view| view.workers.get(&self.me.id));
        report.executors = own.map(|worker| worker.executors.clone()).unwrap_or_default();
        report.set_state(self.state());
        report
    }

    fn state(&self) -> WorkerState {
        if self.view.is_none() || !self.is_settled() {
            return WorkerState::Running;
        }
        let mut parked = self.running.values().map(|running| running.parked);
        if parked.clone().any(|parked| parked.is_none()) {
            return WorkerState::Running;
        }
        if parked.any(|parked| parked == Some(Ending::Stopped)) || self.order == Order::Drain {
            return WorkerState::Drained;
        }
        WorkerState::Finished
    }
}
