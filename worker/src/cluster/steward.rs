//! The one place that decides what a worker does: compares the plan it was told with what runs, and
//! does what is missing. It hears of everything that matters through one queue, so that nothing
//! happens at the same time as something else.

mod change;
mod moves;
mod peers;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_protocol::{LinkHello, LinkRefusal, LinkWelcome, Order, WorkerId, WorkerPlan, WorkerReport, WorkerState};
use galerna_topology_api::TaskId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::incoming::{Accepted, Connection, Inbound};
use super::lanes::Lanes;
use super::outgoing::Outgoing;
use super::report::Tallies;
use super::view::View;
use crate::crew::Crew;
use crate::edges::Ending;
use crate::inbox::Inbox;
use crate::lane::Lane;
use crate::link::Frame;
use crate::message::{Control, Message};
use crate::run::RunEvent;
use crate::watchdog;
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
    /// A peer follows a plan, and says so on a connection before anything that it sends by it.
    Told { plan: WorkerPlan, by: Connection, done: oneshot::Sender<()> },
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
    lane: Arc<Lane>,
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
    /// Up to which launch of a worker losses have been dealt with.
    losses: BTreeMap<WorkerId, u64>,
}

/// Links may outlive it for a moment: nothing is confirmed any more that nobody would work on.
impl Drop for Steward {
    fn drop(&mut self) {
        for peer in self.peers.values() {
            let message = format!("{} is about to end", self.me.id);
            peer.inbound.close(&LinkRefusal { is_fenced: false, message });
        }
    }
}

impl Steward {
    pub(super) fn new(me: Identity, crew: Crew, events: Events) -> Self {
        let lanes = Lanes::new(crew.topology.config().worker_lanes());
        Self {
            me,
            crew,
            events,
            view: None,
            plan: Arc::default(),
            lanes,
            links: JoinSet::new(),
            peers: BTreeMap::new(),
            running: BTreeMap::new(),
            ways: BTreeMap::new(),
            moves: Moves::default(),
            tallies: Tallies::default(),
            order: Order::Run,
            losses: BTreeMap::new(),
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
            Event::Told { plan, by, done } => {
                // A launch that was replaced meanwhile has no say.
                if by.refusal().is_none() {
                    self.follow(plan)?;
                }
                let _ = done.send(());
            }
            Event::Hello { hello, reply } => {
                let answer = self.greet(&hello)?;
                let _ = reply.send(answer);
            }
            Event::PeerSeen { peer, incarnation, done } => {
                self.peer_seen(&peer, incarnation);
                self.go_on_moving()?;
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
                Frame::Lost { worker, incarnation } => self.heard_lost(&worker, incarnation),
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
                self.lane_ended(task);
                self.running.remove(&task);
                self.tallies.ended(task);
                self.moves.ended(task);
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
            running.inbox.send(Message::Control(Control::Exit));
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

    /// A task has ended; perhaps it was the last one of its lane.
    fn lane_ended(&mut self, task: TaskId) {
        if let Some(lane) = self.lanes.ended(task) {
            self.crew.exchange.remove_lane(&lane.port);
            self.crew.run.count_lane(false);
        }
    }

    fn send(&self, task: TaskId, control: Control) {
        if let Some(running) = self.running.get(&task) {
            running.inbox.send(Message::Control(control));
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
        report.fenced_batches = self.crew.exchange.fenced_batches.count();
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
