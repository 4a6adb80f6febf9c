//! Dealing staged rows to those who receive them.

use std::sync::Arc;
use std::vec::Drain;

use galerna_topology_api::engine::{Anchor, Batch, HeldTable, RowAnchors, Sender, Staged, StagedRow, TupleSource};
use galerna_topology_api::{TaskHook, Value};

use super::ties::{Ties, anchor};
use super::{Consumer, Outbox, StreamOut};
use crate::credit::{extra_of, heap_of};
use crate::lane::{LaneOut, Slot, Trees};
use crate::panics::{Panic, guarded};
use crate::routing::{Choice, Stray};

/// The result of dealing one staged row.
#[derive(Default)]
struct Dealt {
    /// The XOR of the new edges.
    edges: u64,
    /// The number of receivers.
    rows: u32,
}

impl Outbox {
    /// Deals all staged rows and empties the staging area of them. `input` is the batch
    /// that they may be anchored to, `held` the tuples that the task holds, `trees` opens a tree for
    /// each row with a message id. `made` gets, for each input row from `first` on, the XOR of the
    /// edges made for it. Rows that were meant for a task that does not receive their stream are
    /// dropped. Returns the first such row of each call, with the input row of the call if one of the
    /// dropped rows was anchored to it.
    pub(crate) fn route(
        &mut self,
        staged: &mut Staged,
        input: Option<(&Batch, usize)>,
        held: &mut HeldTable,
        hooks: &[Arc<dyn TaskHook>],
        trees: &mut impl Trees,
        made: &mut [u64],
    ) -> Vec<(Option<usize>, Stray)> {
        if staged.is_empty() {
            return Vec::new();
        }
        if !std::mem::replace(&mut self.has_emitted, true) {
            self.home.lane.out().unmark(self.home.member);
        }
        self.is_dirty = true;
        if self.tap.is_some() || self.is_debug || !hooks.is_empty() {
            self.observe(staged, hooks);
        }
        let mut strays: Vec<(Option<usize>, Stray)> = Vec::new();
        let mut has_stray = false;
        if self.route_run(staged, input, trees, made) {
            return strays;
        }
        let Staged { rows, values, held_anchors } = staged;
        let mut values = values.drain(..);
        let lane = self.home.lane.clone();
        let mut out = lane.out();
        out.begin();
        for row in rows.drain(..) {
            has_stray &= !row.begins_call();
            let mut ties = match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, _))) => Ties::of_input(batch, at as usize),
                (RowAnchors::Held { start, len }, _) => {
                    Ties::Held(held, &held_anchors[start as usize..(start + len) as usize])
                }
                (RowAnchors::Tracked, _) => trees.open(row.stream()).map_or(Ties::None, Ties::Own),
                _ => Ties::None,
            };
            let mut dealt = Dealt::default();
            let outcome = self.deal(&mut out, row, &mut values, &mut ties, &mut dealt);
            let is_stray = outcome.is_err();
            if let Err(error) = outcome {
                let at = if let RowAnchors::Input(at) = row.anchors() { Some(at as usize) } else { None };
                match strays.last_mut() {
                    Some((known, _)) if has_stray && known.zip(at).is_none_or(|(known, at)| known == at) => {
                        *known = known.or(at);
                    }
                    _ => strays.push((at, error)),
                }
                has_stray = true;
            }
            match (ties, row.anchors(), input) {
                (Ties::Own(root), ..) => trees.started(root, dealt.edges, dealt.rows, is_stray),
                (Ties::Input { .. }, RowAnchors::Input(at), Some((_, first))) => {
                    made[at as usize - first] ^= dealt.edges;
                }
                _ => {}
            }
        }
        out.settle(self.home.member);
        self.may_wait |= out.waiting_rows(self.home.member) > 0;
        held_anchors.clear();
        strays
    }

    /// Deals all rows at once, if they go the same way whatever is in them: rows of one stream, with
    /// one consumer, by a grouping that does not look at them. Answers whether it did.
    fn route_run(
        &mut self,
        staged: &mut Staged,
        input: Option<(&Batch, usize)>,
        trees: &mut impl Trees,
        made: &mut [u64],
    ) -> bool {
        let Some(stream) = staged.rows.first().map(StagedRow::stream) else { return true };
        let StreamOut { source, consumers } = &self.streams[stream as usize];
        let [consumer] = consumers.as_slice() else { return false };
        let arity = source.fields.len();
        if !consumer.router.is_blind() || self.asker.is_some() {
            return false;
        }
        if !staged.held_anchors.is_empty() || staged.rows.iter().any(|row| row.stream() != stream) {
            return false;
        }
        let Ok(heap) = heap_of(&staged.values) else { return false };
        // Where some row may weigh more than one, each is weighed by itself.
        let extra = if extra_of(heap) == 0 {
            0
        } else {
            staged.values.chunks(arity).map(|row| extra_of(heap_of(row).unwrap_or_default())).sum()
        };
        let outlet = consumer.outlet;
        let sender = Sender { task: self.task, launch: self.launch, is_final: self.is_final };
        let count = staged.rows.len();
        let mut out = self.home.lane.out();
        out.begin();
        let slot = out.slot_of_run(outlet, count, heap);
        let is_tracked = matches!(staged.rows[0].anchors(), RowAnchors::Tracked);
        let mut departing = is_tracked.then(|| out.departing(self.home.member, slot)).flatten();
        let batch = out.batch(outlet, slot);
        batch.senders.begin(batch.rows, sender);
        for row in staged.rows.drain(..) {
            match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((from, first))) => {
                    made[at as usize - first] ^= Ties::of_input(from, at as usize).tie(batch, &mut self.edges);
                }
                (RowAnchors::Tracked, _) => {
                    let edge = self.edges.next();
                    let root = trees.open_started(stream, edge);
                    if let (Some(departing), Some(root)) = (&mut departing, root) {
                        departing.push(root);
                    }
                    anchor(batch, root.map_or(Anchor::NONE, |root| Anchor { root, edge }));
                }
                _ => anchor(batch, Anchor::NONE),
            }
            batch.rows += 1;
        }
        batch.values.append(&mut staged.values);
        if let Some(departing) = departing {
            out.departed(self.home.member, departing);
        }
        out.pushed(self.home.member, outlet, slot, 0, count, heap, extra);
        out.settle(self.home.member);
        self.may_wait |= out.waiting_rows(self.home.member) > 0;
        true
    }

    /// Deals one row, and takes its values from the front of `values`.
    #[inline]
    fn deal(
        &mut self,
        out: &mut LaneOut,
        row: StagedRow,
        values: &mut Drain<'_, Value>,
        ties: &mut Ties<'_>,
        dealt: &mut Dealt,
    ) -> Result<(), Stray> {
        let sender = self.sender();
        let Self { streams, home, edges, asker, .. } = self;
        let member = home.member;
        let StreamOut { consumers, source } = &mut streams[row.stream() as usize];
        let arity = source.fields.len();
        let mut outcome = Ok(());
        let heap = match heap_of(&values.as_slice()[..arity]) {
            Ok(heap) => heap,
            Err(stray) => {
                values.by_ref().take(arity).for_each(drop);
                if let Some((_, row)) = asker {
                    *row += 1;
                }
                return Err(stray);
            }
        };
        let extra = extra_of(heap);
        let mut push = |consumer: &Consumer, target: usize, values: &mut Drain<'_, Value>, takes: bool| {
            let slot = out.slot(consumer.outlet, target);
            if let Some((asker, row)) = asker {
                match slot {
                    Slot::Shared => out.watch(consumer.outlet, asker.clone(), *row),
                    Slot::Load(_) | Slot::Waiting(_) => {
                        let target = out.chosen(consumer.outlet, target);
                        asker.note(*row, consumer.first + target as u32);
                    }
                }
            }
            let batch = out.batch(consumer.outlet, slot);
            batch.senders.begin(batch.rows, sender);
            dealt.edges ^= ties.tie(batch, edges);
            dealt.rows += 1;
            if takes {
                batch.values.extend(values.take(arity));
            } else {
                batch.values.extend_from_slice(&values.as_slice()[..arity]);
            }
            batch.rows += 1;
            if let (Ties::Own(root), Slot::Load(_)) = (&*ties, slot) {
                out.depart_one(member, *root);
            }
            out.pushed(member, consumer.outlet, slot, target, 1, heap, extra);
        };
        let mut is_taken = false;
        let mut has_target = false;
        let count = consumers.len();
        for (number, consumer) in consumers.iter_mut().enumerate() {
            let is_last = number + 1 == count;
            match consumer.router.route(&values.as_slice()[..arity], row.direct()) {
                Ok(Choice::One(target)) => {
                    is_taken = is_last;
                    push(consumer, target, values, is_last);
                }
                Ok(Choice::All) => (0..consumer.targets).for_each(|target| push(consumer, target, values, false)),
                Ok(Choice::Chosen) => {
                    consumer.router.chosen().iter().for_each(|target| push(consumer, *target, values, false));
                }
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            }
            has_target = true;
        }
        // The task that a direct emit names is one of one consumer's, and a stranger to the others.
        if row.direct().is_some() && has_target {
            outcome = Ok(());
        }
        if !is_taken {
            values.by_ref().take(arity).for_each(drop);
        }
        if let Some((_, row)) = asker {
            *row += 1;
        }
        outcome
    }

    /// Shows rows to the tap, the debug log and the hooks. Watching does not change where rows go.
    #[cold]
    fn observe(&self, staged: &Staged, hooks: &[Arc<dyn TaskHook>]) {
        let mut values = staged.values.as_slice();
        for row in &staged.rows {
            let source = &self.streams[row.stream() as usize].source;
            let (of_row, rest) = values.split_at(source.fields.len());
            values = rest;
            self.observe_row(source, of_row, hooks);
        }
    }

    fn observe_row(&self, source: &TupleSource, values: &[Value], hooks: &[Arc<dyn TaskHook>]) {
        if let Some(tap) = &self.tap {
            tap.emitted(&source.component, &source.stream, values);
        }
        if self.is_debug {
            tracing::info!(component = %source.component, task = self.task, stream = %source.stream, ?values, "emitted");
        }
        for hook in hooks {
            if let Err(Panic(message)) = guarded(|| hook.emit(self.task, &source.stream, values)) {
                tracing::error!(component = %source.component, task = self.task, "a task hook {message}");
            }
        }
    }
}
