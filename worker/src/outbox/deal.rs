//! Dealing staged rows to the buffers of those who receive them.

use std::sync::Arc;
use std::vec::Drain;

use galerna_topology_api::engine::{Anchor, Batch, HeldTable, RowAnchors, Staged, StagedRow, TupleSource};
use galerna_topology_api::{TaskHook, Value};

use super::buffer::{Receivers, Ties};
use super::{Outbox, StreamOut, Trees};
use crate::credit::weigh;
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
    /// Deals all staged rows to buffers and empties the staging area of them. `input` is the batch
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
        self.has_emitted |= !staged.is_empty();
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
            let outcome = self.deal(row, &mut values, &mut ties, &mut dealt);
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
        let [consumer] = self.streams[stream as usize].consumers.as_mut_slice() else { return false };
        if !consumer.router.is_blind() || self.asker.is_some() {
            return false;
        }
        if !staged.held_anchors.is_empty() || staged.rows.iter().any(|row| row.stream() != stream) {
            return false;
        }
        let Ok(extra) = weigh(&staged.values) else { return false };
        let place = consumer.first_buffer;
        let buffer = &mut self.buffers[place];
        if buffer.waiting() == 0 {
            self.dirty.push(place);
        }
        for row in staged.rows.drain(..) {
            match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, first))) => {
                    made[at as usize - first] ^= buffer.tie(&mut Ties::of_input(batch, at as usize), &mut self.edges);
                }
                (RowAnchors::Tracked, _) => {
                    let edge = self.edges.next();
                    let root = trees.open_started(stream, edge);
                    buffer.anchor(root.map_or(Anchor::NONE, |root| Anchor { root, edge }));
                }
                _ => buffer.anchor(Anchor::NONE),
            }
            buffer.count_row();
        }
        buffer.append(&mut staged.values, extra, self.is_final);
        if buffer.is_full() {
            self.send_full(place);
        }
        true
    }

    /// Deals one row, and takes its values from the front of `values`.
    #[inline]
    fn deal(
        &mut self,
        row: StagedRow,
        values: &mut Drain<'_, Value>,
        ties: &mut Ties<'_>,
        dealt: &mut Dealt,
    ) -> Result<(), Stray> {
        let Self { streams, buffers, peers, dirty, edges, is_final, asker, .. } = self;
        let StreamOut { consumers, arity, .. } = &mut streams[row.stream() as usize];
        let arity = *arity;
        let mut outcome = Ok(());
        let extra = match weigh(&values.as_slice()[..arity]) {
            Ok(extra) => extra,
            Err(stray) => {
                values.by_ref().take(arity).for_each(drop);
                if let Some((_, row)) = asker {
                    *row += 1;
                }
                return Err(stray);
            }
        };
        let mut full = None;
        let mut push = |place: usize, values: &mut Drain<'_, Value>, takes: bool| {
            let buffer = &mut buffers[place];
            if buffer.waiting() == 0 {
                dirty.push(place);
            }
            dealt.edges ^= buffer.tie(ties, edges);
            dealt.rows += 1;
            if let Some((asker, row)) = asker {
                match buffer.receivers {
                    Receivers::One(peer) => asker.note(*row, peers[peer].task),
                    Receivers::Shared(_) => buffer.watch(asker.clone(), *row),
                }
            }
            buffer.push(values, arity, takes, extra, *is_final);
            if buffer.is_full() {
                full = Some(place);
            }
        };
        let mut is_taken = false;
        let mut has_target = false;
        let count = consumers.len();
        for (number, consumer) in consumers.iter_mut().enumerate() {
            let is_last = number + 1 == count;
            let first = consumer.first_buffer;
            match consumer.router.route(&values.as_slice()[..arity], row.direct()) {
                Ok(Choice::One(target)) => {
                    is_taken = is_last;
                    push(first + target, values, is_last);
                }
                Ok(Choice::All) => (first..first + consumer.peers.len()).for_each(|place| push(place, values, false)),
                Ok(Choice::Chosen) => {
                    consumer.router.chosen().iter().for_each(|target| push(first + target, values, false));
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
        // At most the last one is noted when several are full: the others are found by `flush`.
        if let Some(place) = full {
            self.send_full(place);
        }
        outcome
    }

    /// Shows rows to the tap, the debug log and the hooks. Watching does not change where rows go.
    #[cold]
    fn observe(&self, staged: &Staged, hooks: &[Arc<dyn TaskHook>]) {
        let mut values = staged.values.as_slice();
        for row in &staged.rows {
            let StreamOut { source, arity, .. } = &self.streams[row.stream() as usize];
            let (of_row, rest) = values.split_at(*arity);
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
