//! Dealing staged rows to the buffers of those who receive them.

use std::sync::Arc;
use std::vec::Drain;

use galerna_topology_api::engine::{Batch, HeldTable, RowAnchors, Staged, StagedRow};
use galerna_topology_api::{TaskHook, Value};

use super::buffer::Ties;
use super::{FULL, Outbox, Trees};
use crate::credit::weigh;
use crate::panics::{Panic, guarded};
use crate::routing::{Choice, Stray};

impl Outbox {
    /// Deals all staged rows to buffers and empties the staging area of them. `input` is the batch
    /// that they may be anchored to, `held` the tuples that the task holds, `trees` opens a tree for
    /// each row with a message id. `made` gets, for each input row from `first` on, the XOR of the
    /// edges made for it. Rows that were meant for a task that does not receive their stream are
    /// dropped; the first one of each call is answered, with the input row that the call was for, unless
    /// none of them was anchored to it.
    pub(crate) fn route(
        &mut self,
        staged: &mut Staged,
        input: Option<(&Batch, usize)>,
        held: &mut HeldTable,
        hooks: &[Arc<dyn TaskHook>],
        trees: &mut impl Trees,
        made: &mut [u64],
    ) -> Vec<(Option<usize>, Stray)> {
        self.has_emitted = true;
        let mut strays: Vec<(Option<usize>, Stray)> = Vec::new();
        let mut has_stray = false;
        if !self.is_observed && hooks.is_empty() && self.route_run(staged, input, trees, made) {
            return strays;
        }
        let Staged { rows, values, held_anchors } = staged;
        let mut values = values.drain(..);
        for row in rows.drain(..) {
            has_stray &= !row.begins_call();
            let stream = &self.streams[row.stream() as usize];
            let arity = stream.arity;
            if self.is_observed || !hooks.is_empty() {
                self.observe(row.stream(), &values.as_slice()[..arity], hooks);
            }
            let mut ties = match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, _))) => Ties::of_input(batch, at as usize),
                (RowAnchors::Held { start, len }, _) => {
                    Ties::Held(held, &held_anchors[start as usize..(start + len) as usize])
                }
                (RowAnchors::Tracked, _) => trees.open(row.stream()).map_or(Ties::None, Ties::Own),
                _ => Ties::None,
            };
            let mut row_made = 0;
            let dealt = self.deal(row, arity, &mut values, &mut ties, &mut row_made);
            let is_stray = dealt.is_err();
            if let Err(error) = dealt {
                let at = if let RowAnchors::Input(at) = row.anchors() { Some(at as usize) } else { None };
                match strays.last_mut() {
                    Some((known, _)) if has_stray => *known = known.or(at),
                    _ => strays.push((at, error)),
                }
                has_stray = true;
            }
            match (ties, row.anchors(), input) {
                (Ties::Own(root), ..) => trees.started(root, row_made, is_stray),
                (Ties::Input { .. }, RowAnchors::Input(at), Some((_, first))) => made[at as usize - first] ^= row_made,
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
        if !staged.held_anchors.is_empty() || staged.rows.iter().any(|row| row.stream() != stream) {
            return false;
        }
        let Ok(extra) = weigh(&staged.values) else { return false };
        let Some(target) = consumer.router.route_run(staged.rows.len()) else { return false };
        let place = consumer.first_buffer + target;
        let buffer = &mut self.buffers[place];
        if buffer.batch.rows == 0 {
            self.dirty.push(place);
        }
        for row in staged.rows.drain(..) {
            match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, first))) => {
                    made[at as usize - first] ^=
                        Ties::of_input(batch, at as usize).tie(&mut buffer.batch, &mut self.edges);
                }
                (RowAnchors::Tracked, _) => match trees.open(stream) {
                    Some(root) => {
                        let edge = Ties::Own(root).tie(&mut buffer.batch, &mut self.edges);
                        trees.started(root, edge, false);
                    }
                    None => {
                        Ties::None.tie(&mut buffer.batch, &mut self.edges);
                    }
                },
                _ => {
                    Ties::None.tie(&mut buffer.batch, &mut self.edges);
                }
            }
            buffer.batch.rows += 1;
        }
        buffer.extra += extra;
        buffer.batch.is_final |= self.is_final;
        buffer.batch.values.append(&mut staged.values);
        if buffer.batch.rows >= FULL {
            self.send_full(place);
        }
        true
    }

    /// Deals one row, whose values are the next `arity` ones, and takes these out.
    #[inline]
    fn deal(
        &mut self,
        row: StagedRow,
        arity: usize,
        values: &mut Drain<'_, Value>,
        ties: &mut Ties<'_>,
        made: &mut u64,
    ) -> Result<(), Stray> {
        let Self { streams, buffers, dirty, edges, is_final, .. } = self;
        let consumers = &mut streams[row.stream() as usize].consumers;
        let mut outcome = Ok(());
        let extra = match weigh(&values.as_slice()[..arity]) {
            Ok(extra) => extra,
            Err(stray) => {
                values.by_ref().take(arity).for_each(drop);
                return Err(stray);
            }
        };
        let mut full = None;
        let mut push = |place: usize, values: &mut Drain<'_, Value>, takes: bool| {
            let buffer = &mut buffers[place];
            if buffer.batch.rows == 0 {
                dirty.push(place);
            }
            *made ^= ties.tie(&mut buffer.batch, edges);
            buffer.push(values, arity, takes, extra, *is_final);
            if buffer.batch.rows >= FULL {
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
        // At most the last one is noted when several are full: the others are found by `flush`.
        if let Some(place) = full {
            self.send_full(place);
        }
        outcome
    }

    #[cold]
    fn observe(&self, stream: u16, values: &[Value], hooks: &[Arc<dyn TaskHook>]) {
        let source = &self.streams[stream as usize].source;
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
