//! Rows that a running call hands over, because it waits for room.

use galerna_topology_api::engine::{HandedOver, Root, RowAnchors, Staged, StagedRow, Staging};

use super::Host;
use crate::acks::AckKind;
use crate::routing::Stray;

/// The result of dealing rows that the running call has handed over.
#[derive(Default)]
pub(super) struct Early {
    /// The XOR of the new edges of each input, from the first input of the call on; may end early.
    pub(super) made: Vec<u64>,
    /// The slot of each held tuple with new edges, and the XOR of these edges.
    pub(super) held: Vec<(u32, u64)>,
    /// Rows without a receiver, each with its input.
    pub(super) strays: Vec<(Option<usize>, Stray)>,
}

impl Host<'_> {
    /// Starts the time-outs of trees again.
    pub(super) fn reset_timeouts(&mut self, trees: Vec<Root>) {
        trees.into_iter().for_each(|root| self.outbox.say(root, AckKind::Reset));
    }

    /// Deals the rows that the running call has handed over, and handles the rest of its mail. `first` is the
    /// first row of the call. Returns whether there were rows.
    pub(super) fn take_mail(&mut self, first: Option<usize>) -> bool {
        let (parts, resets) = self.room.take();
        self.reset_timeouts(resets);
        let has_rows = !parts.is_empty();
        for HandedOver { mut staged, mut held, origins } in parts {
            let mut made = std::mem::take(&mut self.early.made);
            let inputs = first.map_or(0, |first| inputs_of(&staged, first));
            made.resize(inputs.max(made.len()), 0);
            let strays = self.deal(&mut staged, &mut held, first, &mut made);
            self.early.made = made;
            self.early.strays.extend(strays);
            for (place, origin) in origins.into_iter().enumerate() {
                let made = held.entry(place as u32).map_or(0, |entry| entry.emitted);
                self.early.held.push((origin, made));
            }
        }
        has_rows
    }

    /// Ends the running call: returns the result of the rows that it has handed over, and adds the edges of
    /// held tuples to the table.
    pub(super) fn take_early(&mut self, staging: &mut Staging, first: Option<usize>) -> Early {
        if self.room.has_mail() {
            self.take_mail(first);
            self.room.made();
        }
        staging.take_handed_over();
        let mut early = std::mem::take(&mut self.early);
        for (slot, made) in early.held.drain(..) {
            if let Some(entry) = staging.held.entry(slot) {
                entry.emitted ^= made;
            }
        }
        early
    }
}

/// The number of inputs from row `first` to the last input that a row was emitted for.
fn inputs_of(staged: &Staged, first: usize) -> usize {
    let input = |row: &StagedRow| match row.anchors() {
        RowAnchors::Input(at) => (at as usize + 1).checked_sub(first),
        _ => None,
    };
    staged.rows.iter().filter_map(input).max().unwrap_or(0)
}
