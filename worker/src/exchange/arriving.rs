//! What comes over links finds its lane; what is for nobody here is refused.

use std::sync::Arc;

use galerna_topology_api::{Failure, TaskId};

use super::*;
use crate::acks::AckDelta;
use crate::credit::Progress;
use crate::inbox::roots_of;
use crate::link::{Unsent, give_back_by};

impl Exchange {
    /// Takes in a frame that has come over a link; what goes back takes the link `back`.
    pub(crate) fn deliver(&self, frame: Frame, back: &Arc<dyn Link>) {
        match frame {
            Frame::Rows { lane, launch, limit, parcel } => {
                if let Some(first) = parcel.runs.first() {
                    let from = (Arc::as_ptr(back).cast::<()>() as usize, lane);
                    lock(&self.limits).entry(first.target).or_default().insert(from, limit);
                }
                self.deliver_rows(parcel, &Origin::Link { link: back.clone(), lane, launch });
            }
            Frame::Mark(mark) => self.mark(mark),
            Frame::Acks(acks) => self.deliver_acks(&acks),
            Frame::Credit { lane, launch, to, weight, progress } => {
                if let Some(Way::Lane(port)) = self.read().dests.get(lane as usize).filter(|_| launch == self.launch) {
                    port.credits.give_back(to, weight, progress);
                }
            }
            // They concern the worker as a whole.
            Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => {}
        }
    }

    fn deliver_rows(&self, parcel: Parcel, origin: &Origin) {
        let ways = self.read();
        let Some(first) = parcel.runs.first() else { return };
        if let Some(port) = ways.home(first.target) {
            let is_there = |task| ways.home(task).is_some_and(|other| Arc::ptr_eq(other, port));
            if parcel.runs.iter().all(|run| is_there(run.target)) {
                return port.tell(Item::RowsFrom(Box::new(parcel), origin.clone()));
            }
        }
        for (task, part) in parcel.split() {
            self.take_stray_by(&ways, task, part, origin);
        }
    }

    /// Takes in rows for a task that is not in the lane that they came to.
    pub(crate) fn take_stray(&self, task: TaskId, parcel: Parcel, origin: &Origin) {
        self.take_stray_by(&self.read(), task, parcel, origin);
    }

    fn take_stray_by(&self, ways: &Ways, task: TaskId, parcel: Parcel, origin: &Origin) {
        if let Some(port) = ways.home(task) {
            port.tell(Item::RowsFrom(Box::new(parcel), origin.clone()));
        } else if ways.strangers.contains(&task) {
            self.refuse(ways, task, &parcel, origin);
        } else {
            lock(&self.early).entry(task).or_default().push((parcel, origin.clone()));
        }
    }

    fn deliver_acks(&self, acks: &Acks) {
        for (spout, of_spout) in acks.by_spout() {
            self.pass_acks(&self.read(), spout, of_spout);
        }
    }

    /// Takes in statements about trees of a spout task that is not in the lane that they came to. Whoever sent them
    /// had not heard that the spout has moved: they follow it. Those for a launch that is gone count nowhere.
    pub(crate) fn take_stray_acks(&self, spout: TaskId, deltas: &[AckDelta], failures: &[Arc<Failure>]) {
        let ways = self.read();
        // The lane that they came to has no such task: they go on only to another place.
        if ways.home(spout).is_none() {
            self.pass_acks(&ways, spout, Acks { deltas: deltas.to_vec(), failures: failures.to_vec() });
        }
    }

    fn pass_acks(&self, ways: &Ways, spout: TaskId, mut acks: Acks) {
        match ways.home(spout) {
            Some(port) => port.push_acks(&mut acks),
            None => match ways.by_task.get(spout as usize).map(|dest| &ways.dests[*dest as usize]) {
                // Its lane has heard of its end already.
                Some(Way::Lane(_)) | None => {}
                Some(way) => self.pass_acks_by(way, &mut acks),
            },
        }
    }

    /// Tuples came for a task that is not here, from a worker that knew no better: they fail, and
    /// their sender gets its credit back.
    pub(super) fn refuse(&self, ways: &Ways, task: TaskId, parcel: &Parcel, origin: &Origin) {
        self.fenced_batches.add(1);
        let weight = parcel.batch.rows + parcel.runs.iter().map(|run| run.extra as usize).sum::<usize>();
        match origin {
            Origin::Lane(lane) => {
                if let Some(Way::Lane(port)) = ways.dests.get(*lane as usize) {
                    port.credits.give_back(task, weight, Progress::default());
                }
            }
            Origin::Link { link, lane, launch } => {
                give_back_by(&**link, (*lane, *launch), task, weight, Progress::default());
            }
        }
        self.fail_rows(ways, parcel, &Arc::new(Failure::Lost));
    }

    /// A link cannot carry rows of this worker: they fail, and their lane gets its credit back.
    pub(super) fn fail_unsent(&self, ways: &Ways, unsent: &Unsent) {
        let Unsent { lane, parcel, failure } = unsent;
        let mut first = 0;
        for run in &parcel.runs {
            if let Some(Way::Lane(port)) = ways.dests.get(*lane as usize) {
                port.credits.give_back(run.target, (run.end - first + run.extra) as usize, Progress::default());
            }
            first = run.end;
        }
        self.fail_rows(ways, parcel, failure);
    }

    fn fail_rows(&self, ways: &Ways, parcel: &Parcel, failure: &Arc<Failure>) {
        let mut fails = Acks::default();
        roots_of(&parcel.batch).for_each(|root| fails.fail(root, failure));
        for (spout, of_spout) in fails.by_spout() {
            self.pass_acks(ways, spout, of_spout);
        }
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::engine::{Anchor, Root, Sender};

    use super::*;
    use crate::graph::example;
    use crate::link::QueueLink;

    /// Rows of a parcel that nobody here takes, in which a row of several trees is at the end.
    #[test]
    fn rows_for_a_stranger_fail_and_their_sender_gets_its_credit_back() {
        let graph = Arc::new(example::graph(1, 1));
        let exchange = Exchange::new(graph.clone(), 1, Budget::DEFAULT);
        let (link, mut frames) = QueueLink::new();
        let back: Arc<dyn Link> = Arc::new(link);
        exchange.expect(2, false);
        exchange.open(1, To::Link(back.clone()), Vec::new());
        let mut parcel = example::parcel(&graph, Sender { task: 1, launch: 1, is_final: false }, 2, 3);
        let anchor = |slot| Anchor { root: Root { spout: 1, incarnation: 1, slot, generation: 0 }, edge: 1 };
        parcel.batch.anchors = vec![anchor(7), Anchor::NONE, anchor(8)];
        parcel.batch.more_anchors = vec![(2, anchor(9))];
        exchange.deliver(Frame::Rows { lane: 1, launch: 5, limit: 1024, parcel }, &back);
        assert_eq!(exchange.fenced_batches.count(), 1);
        let mut credit = None;
        let mut slots = Vec::new();
        while let Ok(frame) = frames.try_recv() {
            match frame {
                Frame::Credit { lane, launch, to, weight, .. } => credit = Some((lane, launch, to, weight)),
                Frame::Acks(acks) => slots.extend(acks.deltas.iter().map(|delta| delta.slot)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((credit, slots), (Some((1, 5, 2, 3)), vec![7, 8, 9]));
    }
}
