//! Tasks have come, gone or moved: what is on its way finds its new destination.

use std::mem;

use galerna_topology_api::TaskId;

use super::*;

impl LaneOut {
    /// Follows the ways as they are now.
    #[cold]
    pub(super) fn refresh(&mut self) {
        let before = mem::replace(&mut self.ways, Arc::from([]));
        let count;
        (self.version, self.ways, count) = self.exchange.ways();
        self.last_spout = (0, HELD);
        for dest in self.dests.len()..count {
            let port = self.exchange.port(dest as DestId);
            self.dests.push(Destination { port, ..Destination::default() });
        }
        if before.is_empty() {
            return;
        }
        let mut loads = Vec::new();
        for dest in 0..self.dests.len() as DestId {
            self.seal_loads(dest);
            loads.push(mem::take(&mut self.dests[dest as usize].packet.items));
        }
        for (dest, items) in loads.into_iter().enumerate() {
            for item in items {
                self.send_again(dest as DestId, item);
            }
        }
        self.send_acks_again();
        self.relocate_shuffles();
        self.tell_marks_again();
    }

    /// Puts an item on its way, which was on the way to `dest` before.
    fn send_again(&mut self, dest: DestId, item: Item) {
        let mut parcel = match item {
            Item::Rows(parcel) if parcel.runs.iter().any(|run| self.ways[run.target as usize] != dest) => parcel,
            item => {
                self.dests[dest as usize].packet.items.push(item);
                return self.list_dest(dest);
            }
        };
        let mut parts: Vec<(DestId, Parcel)> = Vec::new();
        parcel.scatter(|rows, run| {
            let to = self.ways[run.target as usize];
            let bytes = rows.len() * row_bytes(rows.source.fields.len());
            if parts.last().is_none_or(|(last, _)| *last != to) {
                parts.push((to, Parcel::new(rows.source.clone())));
            }
            if let Some((_, part)) = parts.last_mut() {
                rows.append_to(&mut part.batch);
                part.note(run.lane, run.target, run.extra as usize, bytes);
            }
        });
        for (to, part) in parts {
            self.dests[to as usize].packet.items.push(Item::Rows(Box::new(part)));
            self.list_dest(to);
        }
    }

    fn send_acks_again(&mut self) {
        for dest in 0..self.dests.len() {
            let acks = mem::take(&mut self.dests[dest].packet.acks);
            for delta in &acks.deltas {
                let to = self.ways.get(delta.spout as usize).copied().unwrap_or(HELD);
                let one = Acks { deltas: vec![*delta], failures: Vec::new() };
                let destination = &mut self.dests[to as usize];
                if delta.kind == AckKind::Fail {
                    let root = Root {
                        spout: delta.spout,
                        incarnation: delta.incarnation,
                        slot: delta.slot,
                        generation: delta.generation,
                    };
                    let reason = acks.failures.get(delta.xor as usize).cloned();
                    destination.packet.acks.fail(root, &reason.unwrap_or_else(|| Arc::new(Failure::Lost)));
                } else {
                    destination.packet.acks.append(&one);
                }
                self.list_dest(to);
            }
        }
    }

    fn relocate_shuffles(&mut self) {
        for outlet in &mut self.outlets {
            let first = outlet.first;
            if let Some(shared) = &mut outlet.shared {
                shared.shuffle.relocate(|target| self.exchange.is_local(first + target as TaskId));
            }
        }
    }

    /// Whoever runs the receiving tasks now may not have heard what was said of the edges.
    fn tell_marks_again(&mut self) {
        for member in 0..self.members.len() {
            let Some(of) = self.members[member].as_ref().filter(|of| of.mark.is_some()) else { continue };
            let dests = self.dests_of_receivers(of.place);
            self.member(member).unmarked = dests;
            self.send_marks(member);
        }
    }
}
