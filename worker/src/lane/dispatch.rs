//! Brings what has come for a lane to its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use galerna_topology_api::{Failure, TaskId};

use crate::acks::AckDelta;
use crate::edges::{InputState, LaneEdges};
use crate::exchange::Exchange;
use crate::graph::{Graph, Place};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::parcel::{Acks, Delivery, Item, Origin, Packet, Parcel, Run};

/// As many rows for one task are passed on as they came; fewer are put together with others.
const LONG: usize = 128;

/// Statements about trees are sorted by spout task where there are this many for each task of the lane.
const SOME: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Dispatcher {
    graph: Arc<Graph>,
    exchange: Arc<Exchange>,
    /// The inboxes of the tasks of the lane, by task.
    inboxes: Vec<Option<Inbox>>,
    /// The tasks of the lane, by component.
    tasks: BTreeMap<Place, BTreeSet<TaskId>>,
    /// Whether tasks are on their way to another worker, and by which generation of the assignment. Such a task hears
    /// nothing of its edges any more.
    leaving: BTreeMap<TaskId, (u64, bool)>,
    edges: LaneEdges,
    /// What the tasks of each component have heard of their input last.
    told: BTreeMap<Place, InputState>,
    /// Empty memory for what comes next.
    pub(super) spare: Packet,
}

impl Dispatcher {
    pub(super) fn new(graph: Arc<Graph>, exchange: Arc<Exchange>) -> Self {
        Self {
            edges: LaneEdges::new(graph.clone()),
            graph,
            exchange,
            inboxes: Vec::new(),
            tasks: BTreeMap::new(),
            leaving: BTreeMap::new(),
            told: BTreeMap::new(),
            spare: Packet::default(),
        }
    }

    /// Gives back memory that only a busy lane needs.
    pub(super) fn shrink(&mut self) {
        self.spare = Packet::default();
        self.inboxes.iter().flatten().for_each(Inbox::shrink);
    }

    fn inbox(&self, task: TaskId) -> Option<&Inbox> {
        self.inboxes.get(task as usize)?.as_ref()
    }

    /// Takes a packet apart.
    pub(super) fn take(&mut self, packet: &mut Packet) {
        let mut spare = None;
        for item in packet.items.drain(..) {
            match item {
                Item::Rows(parcel) => spare = self.take_rows(parcel, None),
                Item::RowsFrom(parcel, origin) => {
                    self.take_rows(parcel, Some(&origin));
                }
                Item::Mark(mark) => {
                    let changed = self.edges.mark(mark);
                    self.tell_receivers(changed);
                }
                Item::Control(task, control) => {
                    if let Some(inbox) = self.inbox(task) {
                        inbox.send(Message::Control(control));
                    }
                }
                Item::Reopen(tasks) => {
                    for task in tasks.iter() {
                        let changed = self.edges.reopen(*task);
                        self.tell_receivers(changed);
                    }
                }
                Item::Admit(task, inbox) => self.admit(task, inbox),
                Item::Leaving(task, generation, is_leaving) => self.set_leaving(task, generation, is_leaving),
                Item::Dismiss(task) => self.dismiss(task),
            }
        }
        // A spout task that has just come gets its acks.
        if !packet.acks.deltas.is_empty() {
            self.take_acks(&mut packet.acks);
        }
        if let Some(parcel) = spare {
            packet.recycle(parcel);
        }
        packet.shrink();
    }

    fn admit(&mut self, task: TaskId, inbox: Inbox) {
        let Some(place) = self.graph.place_of(task) else { return };
        let state = self.edges.state_of(place);
        let is_known = self.inbox(task).is_some();
        if (is_known || state != InputState::default()) && !self.graph.node(place).inputs.is_empty() {
            inbox.send(Message::Input(state));
        }
        self.told.insert(place, state);
        self.inboxes.resize(self.inboxes.len().max(task as usize + 1), None);
        self.inboxes[task as usize] = Some(inbox);
        self.tasks.entry(place).or_default().insert(task);
        self.leaving.remove(&task);
    }

    fn dismiss(&mut self, task: TaskId) {
        if let Some(inbox) = self.inboxes.get_mut(task as usize) {
            *inbox = None;
        }
        self.leaving.remove(&task);
        for tasks in self.tasks.values_mut() {
            tasks.remove(&task);
        }
    }

    fn set_leaving(&mut self, task: TaskId, generation: u64, is_leaving: bool) {
        let before = self.leaving.get(&task).copied().unwrap_or_default();
        if generation < before.0 {
            return;
        }
        self.leaving.insert(task, (generation, is_leaving));
        if before.1
            && !is_leaving
            && let (Some(inbox), Some(place)) = (self.inbox(task), self.graph.place_of(task))
        {
            inbox.send(Message::Input(self.edges.state_of(place)));
        }
    }

    /// Tells the tasks that receive from a component how their input stands, if that has changed.
    fn tell_receivers(&mut self, of: Option<Place>) {
        let Some(of) = of else { return };
        for receiver in &self.graph.node(of).receivers {
            let Some(tasks) = self.tasks.get(receiver).filter(|tasks| !tasks.is_empty()) else { continue };
            let state = self.edges.state_of(*receiver);
            if self.told.insert(*receiver, state) == Some(state) {
                continue;
            }
            let is_leaving = |task: &&TaskId| self.leaving.get(*task).is_some_and(|(_, is_leaving)| *is_leaving);
            for task in tasks.iter().filter(|task| !is_leaving(task)) {
                if let Some(inbox) = self.inbox(*task) {
                    inbox.send(Message::Input(state));
                }
            }
        }
    }

    /// Takes rows in: from `origin`, or from the lanes that the runs name. Returns the empty parcel, if its memory is
    /// not passed on.
    fn take_rows(&mut self, mut parcel: Box<Parcel>, origin: Option<&Origin>) -> Option<Box<Parcel>> {
        for (_, sender) in parcel.batch.senders.runs(parcel.batch.rows) {
            let changed = self.edges.data(sender);
            self.tell_receivers(changed);
        }
        let origin_of = |run: &Run| origin.cloned().unwrap_or(Origin::Lane(run.lane));
        if let [run] = parcel.runs[..]
            && parcel.batch.rows >= LONG
        {
            let (weight, origin) = (parcel.batch.rows as u32 + run.extra, origin_of(&run));
            match self.inbox(run.target) {
                Some(inbox) => inbox.send(Message::Data(Delivery::whole(parcel.batch, weight, origin))),
                None => self.exchange.take_stray(run.target, *parcel, &origin),
            }
            return None;
        }
        parcel.scatter(|rows, run| match self.inbox(run.target) {
            Some(inbox) => {
                let weight = rows.len() as u32 + run.extra;
                inbox.append(rows, weight, origin_of(run));
            }
            None => {
                let mut stray = Parcel::new(rows.source.clone());
                rows.append_to(&mut stray.batch);
                stray.note(run.lane, run.target, run.extra as usize, 0);
                self.exchange.take_stray(run.target, stray, &origin_of(run));
            }
        });
        Some(parcel)
    }

    fn take_acks(&mut self, acks: &mut Acks) {
        let Acks { deltas, failures } = acks;
        let first = deltas[0];
        if deltas.iter().all(|delta| delta.is_for_launch_of(&first)) {
            let (deltas, failures) = (mem::take(deltas), mem::take(failures));
            return self.pass_acks(first.spout, &deltas, &failures);
        }
        if deltas.len() >= SOME * self.tasks.values().map(BTreeSet::len).sum::<usize>() {
            // Fewer and longer parts cost less. The order of what is said of one spout task stays.
            deltas.sort_by_key(|delta| delta.spout);
        }
        let mut rest = deltas.as_slice();
        while let [first, ..] = rest {
            let len = rest.iter().take_while(|delta| delta.is_for_launch_of(first)).count();
            let (of_one, others) = rest.split_at(len);
            rest = others;
            self.pass_acks(first.spout, of_one, failures);
        }
        deltas.clear();
        failures.clear();
    }

    fn pass_acks(&self, spout: TaskId, deltas: &[AckDelta], failures: &[Arc<Failure>]) {
        match self.inbox(spout) {
            Some(inbox) => inbox.append_acks(deltas, failures),
            None => self.exchange.take_stray_acks(spout, deltas, failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use galerna_topology_api::engine::Sender;

    use super::super::{Budget, Lane};
    use super::*;
    use crate::clock::Clock;
    use crate::edges::{Ending, Mark, Marker};
    use crate::exchange::To;
    use crate::graph::example;
    use crate::inbox::Arrivals;

    /// A lane with task 2, a bolt that receives from task 1.
    fn lane() -> (Arc<Exchange>, Arc<Lane>, Arrivals) {
        let graph = Arc::new(example::graph(1, 1));
        let exchange = Arc::new(Exchange::new(graph.clone(), 1, Budget::DEFAULT));
        let lane = Arc::new(Lane::new(exchange.add_lane(), &graph, &exchange, Clock::start()));
        let inbox = Inbox::new();
        let arrivals = inbox.arrivals(lane.clone());
        exchange.open(2, To::Lane(lane.port.clone(), inbox), Vec::new());
        (exchange, lane, arrivals)
    }

    fn end() -> Mark {
        let from = Sender { task: 1, launch: 1, is_final: false };
        Mark { from, marker: Marker::End(Ending::Finished) }
    }

    /// What the task hears of its input.
    fn heard(arrivals: &mut Arrivals) -> Vec<Option<Ending>> {
        let messages = std::iter::from_fn(|| arrivals.try_next());
        messages
            .filter_map(|message| if let Message::Input(state) = message { Some(state.ending) } else { None })
            .collect()
    }

    #[test]
    fn task_on_its_way_hears_of_its_input_only_if_its_move_is_called_off() {
        let (exchange, _lane, mut arrivals) = lane();
        exchange.tell(2, Item::Leaving(2, 7, true));
        exchange.mark(end());
        assert_eq!(heard(&mut arrivals), [], "it ends at its new place");
        exchange.tell(2, Item::Leaving(2, 8, false));
        assert_eq!(heard(&mut arrivals), [Some(Ending::Finished)]);
        // What a worker says late of the earlier assignment is void.
        exchange.tell(2, Item::Leaving(2, 7, true));
        exchange.reopen(&[1].into());
        assert_eq!(heard(&mut arrivals), [None]);
    }

    #[test]
    fn task_that_comes_later_hears_how_its_input_stands() {
        let (exchange, lane, mut arrivals) = lane();
        exchange.mark(end());
        assert_eq!(heard(&mut arrivals), [Some(Ending::Finished)]);
        exchange.detach(2);
        let inbox = Inbox::new();
        let mut successor = inbox.arrivals(lane.clone());
        exchange.open(2, To::Lane(lane.port.clone(), inbox), Vec::new());
        assert_eq!(heard(&mut successor), [Some(Ending::Finished)]);
    }

    #[test]
    fn lane_that_comes_later_hears_what_other_workers_said_before() {
        let (exchange, _lane, _) = lane();
        exchange.mark(end());
        let graph = Arc::new(example::graph(1, 1));
        let later = Arc::new(Lane::new(exchange.add_lane(), &graph, &exchange, Clock::start()));
        let inbox = Inbox::new();
        let mut arrivals = inbox.arrivals(later.clone());
        exchange.open(2, To::Lane(later.port.clone(), inbox), Vec::new());
        assert_eq!(heard(&mut arrivals), [Some(Ending::Finished)]);
        exchange.reopen(&[1].into());
        assert_eq!(heard(&mut arrivals), [None]);
        let last = Arc::new(Lane::new(exchange.add_lane(), &graph, &exchange, Clock::start()));
        let inbox = Inbox::new();
        let mut arrivals = inbox.arrivals(last.clone());
        exchange.open(2, To::Lane(last.port.clone(), inbox), Vec::new());
        assert_eq!(heard(&mut arrivals), [], "it is lost");
    }

    #[tokio::test(start_paused = true)]
    async fn driver_brings_what_comes_while_all_tasks_sleep() {
        let (exchange, lane, mut arrivals) = lane();
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(lane.drive());
        tokio::time::sleep(Duration::from_millis(1)).await;
        exchange.mark(end());
        let message = std::future::poll_fn(|cx| arrivals.poll_next(cx)).await;
        assert!(matches!(message, Message::Input(_)), "{message:?}");
    }
}
