//! Parcels, statements about trees and markers leave for their destinations.

use super::*;

impl LaneOut {
    pub(super) fn list_load(&mut self, outlet: usize, dest: DestId) {
        self.dests[dest as usize].loads.push(outlet);
        self.list_dest(dest);
    }

    pub(super) fn list_dest(&mut self, dest: DestId) {
        let destination = &mut self.dests[dest as usize];
        if !destination.is_listed {
            destination.is_listed = true;
            self.dirty.push(dest);
        }
    }

    pub(super) fn list_waiting(&mut self, outlet: usize) {
        if !mem::replace(&mut self.outlets[outlet].is_listed, true) {
            self.waiting.push(outlet);
        }
    }

    /// The parcels for a destination are complete: they follow what was complete before.
    pub(super) fn seal_loads(&mut self, dest: DestId) {
        let destination = &mut self.dests[dest as usize];
        for outlet in destination.loads.drain(..) {
            let outlet = &mut self.outlets[outlet];
            // The receiver may give back the credit immediately: it must have been taken.
            outlet.settle(&self.port.credits);
            if let Some(load) = &mut outlet.loads[dest as usize] {
                destination.packet.push_rows(load);
            }
        }
    }

    /// Sends everything that is on its way to a destination. Without `must`, another lane that is sending to it comes
    /// first. Returns whether everything is sent.
    pub(super) fn hand_over(&mut self, dest: DestId, must: bool) -> bool {
        let Self { exchange, outlets, port, version, .. } = self;
        let destination = &mut self.dests[dest as usize];
        if destination.loads.is_empty() && destination.packet.is_empty() {
            return true;
        }
        let acks = destination.packet.acks.deltas.len();
        let offered = match &destination.port {
            Some(to) => {
                let to = to.clone();
                for outlet in &destination.loads {
                    // The receiver may give back the credit immediately: it must have been taken.
                    outlets[*outlet].settle(&port.credits);
                }
                let may = || exchange.version() == *version;
                let Destination { loads, packet, sent_at, .. } = destination;
                to.offer(must, may, |incoming| {
                    *sent_at = to.takes();
                    incoming.append(packet);
                    for outlet in loads.drain(..) {
                        if let Some(load) = &mut outlets[outlet].loads[dest as usize] {
                            incoming.push_rows(load);
                        }
                    }
                })
            }
            None => {
                self.seal_loads(dest);
                match self.exchange.send(dest, &mut self.dests[dest as usize].packet, self.version) {
                    true => Offered::Sent,
                    false => Offered::Refused,
                }
            }
        };
        match offered {
            Offered::Sent => self.acks -= acks,
            Offered::Busy => return false,
            Offered::Refused => {
                // Tasks have moved since: what is on its way finds another one.
                self.list_dest(dest);
                self.refresh();
                return self.hand_over(dest, must);
            }
        }
        true
    }

    /// Sends to those destinations that have taken what was sent before.
    pub(in crate::lane) fn offer(&mut self) {
        self.send_dirty(false, Destination::has_taken);
    }

    /// Sends to the destinations of full parcels.
    pub(super) fn send_full(&mut self) {
        self.send_dirty(true, |destination| !destination.packet.items.is_empty());
    }

    /// Sends everything that has room.
    pub(in crate::lane) fn send_all(&mut self) {
        // When the ways change meanwhile, there is more to send.
        while !self.dirty.is_empty() {
            self.send_dirty(true, |_| true);
        }
    }

    pub(super) fn send_dirty(&mut self, must: bool, may_send: impl Fn(&Destination) -> bool) {
        if self.dirty.is_empty() {
            return;
        }
        let mut dests = mem::replace(&mut self.dirty, mem::take(&mut self.spare));
        for dest in dests.drain(..) {
            self.dests[dest as usize].is_listed = false;
            if !may_send(&self.dests[dest as usize]) || !self.hand_over(dest, must) {
                self.list_dest(dest);
            }
        }
        self.spare = dests;
    }
}
