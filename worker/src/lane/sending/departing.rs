//! Rows that have waited leave, as far as there is room.

use std::mem;

use galerna_topology_api::engine::Sender;

use super::super::waiting::Buffer;
use super::*;

impl LaneOut {
    /// Sends the rows that wait, as far as there is room.
    pub(super) fn send_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for outlet in mem::take(&mut self.waiting) {
            self.outlets[outlet].is_listed = false;
            // Rows that wait for a certain task are older than those that all share.
            self.send_parked(outlet);
            self.share(outlet);
            if self.outlets[outlet].has_waiting() {
                self.list_waiting(outlet);
            }
        }
        for member in 0..self.members.len() {
            self.send_marks(member);
        }
    }

    /// Sends rows that wait for the room of certain tasks.
    pub(super) fn send_parked(&mut self, outlet: usize) {
        if self.outlets[outlet].waiting.is_empty() {
            return;
        }
        self.outlets[outlet].settle(&self.port.credits);
        let targets: Vec<usize> = self.outlets[outlet].waiting.keys().copied().collect();
        for target in targets {
            let task = self.outlets[outlet].task(target);
            let Some(mut waiting) = self.outlets[outlet].waiting.remove(&target) else { continue };
            loop {
                let rows = waiting.buffer.part();
                if rows == 0 {
                    let credit = self.port.credits.towards(task);
                    if self.clock.now() - waiting.since < FAST && credit.is_short(FAST) {
                        credit.grow();
                    }
                    break;
                }
                if self.port.credits.has_room(task) {
                    self.depart(&mut waiting.buffer, outlet, target, rows, true);
                    continue;
                }
                // First register, then look: credit that comes back in between wakes the driver.
                self.port.credits.wait_for(task);
                if !self.port.credits.has_room(task) {
                    self.outlets[outlet].waiting.insert(target, waiting);
                    break;
                }
            }
        }
    }

    /// Shares the rows of an outlet among its receivers, as far as they have room.
    pub(super) fn share(&mut self, outlet: usize) {
        let Some(mut shared) = self.outlets[outlet].shared.take() else { return };
        self.outlets[outlet].settle(&self.port.credits);
        while self.outlets[outlet].waiting.is_empty() {
            self.share_once(outlet, &mut shared);
            let waiting = shared.buffer.waiting();
            if waiting == 0 || !self.wait_for_receivers(outlet, &shared.shuffle) {
                break;
            }
        }
        let waiting = shared.buffer.waiting();
        shared.is_blocked = waiting > 0;
        shared.full_at = waiting + FULL;
        if shared.buffer.waiting() == 0 {
            shared.buffer.shrink();
        }
        self.outlets[outlet].shared = Some(shared);
    }

    /// Has the driver woken when receivers of shared rows have room. Returns whether one has room already.
    fn wait_for_receivers(&self, outlet: usize, shuffle: &Shuffle) -> bool {
        // First register, then look: credit that comes back in between wakes the driver.
        let (first, credits) = (self.outlets[outlet].first, &self.port.credits);
        if let Some(target) = shuffle.only() {
            credits.wait_for(first + target as TaskId);
            return credits.has_room(first + target as TaskId);
        }
        let mut has_room = false;
        for (receiver, under_way) in shuffle.thresholds() {
            let task = first + receiver as TaskId;
            let credit = credits.towards(task);
            let above = credit.above(under_way);
            credit.wait_above(above);
            if credit.left() > above {
                // Without budget, only credit that comes back makes room.
                credits.wait_for(task);
                has_room |= credits.has_room(task);
            }
        }
        has_room
    }

    fn share_once(&mut self, outlet: usize, shared: &mut super::super::outlet::Shared) {
        let first = self.outlets[outlet].first;
        if let Some(target) = shared.shuffle.only() {
            while shared.buffer.waiting() > 0 && self.port.credits.has_room(first + target as TaskId) {
                let rows = shared.buffer.part();
                self.depart(&mut shared.buffer, outlet, target, rows, false);
            }
            return;
        }
        let mut shares = mem::take(&mut self.shares);
        let credits = self.port.credits.clone();
        let load = |receiver: usize| -> (u32, Progress) {
            let credit = credits.towards(first + receiver as TaskId);
            (credit.under_way(), credit.take_progress())
        };
        shared.shuffle.share(shared.buffer.waiting(), load, || self.clock.now(), &mut shares);
        for (receiver, mut rows) in shares.drain(..) {
            let task = first + receiver as TaskId;
            while rows > 0 && credits.has_room(task) {
                let sent = rows.min(FULL);
                self.depart(&mut shared.buffer, outlet, receiver, sent, false);
                rows -= sent;
                let credit = credits.towards(task);
                shared.shuffle.sent(receiver, credit.under_way());
                if shared.shuffle.allowance_of(receiver) > credit.limit() {
                    credit.grow();
                }
            }
            if rows > 0 {
                shared.shuffle.kept(receiver, rows);
            }
        }
        self.shares = shares;
    }

    /// Moves the first waiting rows of a buffer into the parcel for a target's destination.
    fn depart(&mut self, buffer: &mut Buffer, outlet_id: usize, target: usize, rows: usize, is_parked: bool) {
        let (extra, bytes) = buffer.measure(rows);
        let (now, lane) = (self.clock.now(), self.port.dest);
        let outlet = &mut self.outlets[outlet_id];
        let task = outlet.task(target);
        let dest = self.ways[task as usize];
        let (by_task, members) = (&self.by_task, &mut self.members);
        let load = outlet.load(dest);
        buffer.take(rows, task, &mut load.batch, |leaving| {
            leaving.by_sender(|Sender { task, launch, .. }, rows| {
                let member = by_task.get(&task).and_then(|member| members[*member].as_mut());
                let Some(member) = member.filter(|member| member.launch == launch) else { return };
                member.waiting -= rows.len();
                if is_parked {
                    member.parked -= rows.len();
                }
                if member.is_spout {
                    // Only the rows of a spout begin trees.
                    member.departed.trees.extend(rows.map(|row| leaving.anchor(row).root));
                    member.departed.seal(now);
                }
            });
        });
        let is_new = load.batch.rows == rows;
        load.note(lane, task, extra, bytes);
        let is_full = load.is_full();
        self.port.credits.take(task, rows + extra, bytes);
        if is_new {
            self.list_load(outlet_id, dest);
        }
        if is_full {
            // It is handed over later: that may change the ways, and the outlet is in hand.
            self.seal_loads(dest);
        }
    }
}
