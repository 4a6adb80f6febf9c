//! Sending the rows that wait in buffers, as far as there is room.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep_until;

use super::buffer::Receivers;
use super::{FULL, Outbox};
use crate::message::{CreditReturn, Delivery, Message};

/// A receiver that makes room within this time counts as fast and gets more credit.
const FAST: Duration = Duration::from_millis(2);

impl Outbox {
    /// Sends a buffer that is full, as far as there is room.
    #[cold]
    pub(super) fn send_full(&mut self, place: usize) {
        let has_left = self.send(place);
        self.buffers[place].refill();
        if has_left {
            self.dirty.retain(|dirty| *dirty != place);
            if self.dirty.is_empty() {
                self.blocked_since = None;
            }
        } else {
            self.note_blocked();
        }
    }

    fn note_blocked(&mut self) {
        self.blocked_since.get_or_insert_with(|| self.clock.now());
    }

    /// Sends the rows of a buffer as far as there is room. Returns whether all rows have left.
    fn send(&mut self, place: usize) -> bool {
        let buffer = &self.buffers[place];
        let only = match &buffer.receivers {
            Receivers::One(peer) => Some(*peer),
            Receivers::Shared(shuffle) => shuffle.only(),
        };
        match only {
            Some(peer) => self.send_to(place, peer),
            None => self.send_shared(place),
        }
    }

    /// Sends the rows of a buffer to one peer, in batches. Returns whether all rows have left.
    fn send_to(&mut self, place: usize, peer: usize) -> bool {
        loop {
            let waiting = self.buffers[place].waiting();
            // Taking the whole buffer as a batch costs less than cutting a batch off.
            let rows = if waiting < 2 * FULL { waiting } else { FULL };
            if rows == 0 || !self.send_rows(place, peer, rows) {
                return rows == 0;
            }
        }
    }

    /// Sends the first `rows` rows of a buffer to a peer, if any credit is left. Returns whether it sent them.
    fn send_rows(&mut self, place: usize, peer: usize, rows: usize) -> bool {
        let peer = &self.peers[peer];
        if !peer.credit.has_any() {
            return false;
        }
        let (batch, weight) = self.buffers[place].take(rows, peer.task);
        peer.credit.take(weight);
        if self.is_spout && !batch.anchors.is_empty() {
            self.departed.note(&batch, self.clock.now());
        }
        let credit = CreditReturn::Local(peer.credit.clone());
        peer.sink.send(Message::Data(Delivery { batch, weight, credit }));
        true
    }

    /// Shares the rows of a buffer among its receivers. Returns whether all rows have left.
    fn send_shared(&mut self, place: usize) -> bool {
        let mut shares = std::mem::take(&mut self.shares);
        let waiting = self.buffers[place].waiting();
        let peers = &self.peers;
        if let Receivers::Shared(shuffle) = &mut self.buffers[place].receivers {
            let load = |peer: usize| (peers[peer].credit.under_way(), peers[peer].credit.take_progress());
            shuffle.share(waiting, load, || self.clock.now(), &mut shares);
        }
        for (receiver, mut rows) in shares.drain(..) {
            let Receivers::Shared(shuffle) = &self.buffers[place].receivers else { continue };
            let peer = shuffle.peer_of(receiver);
            while rows > 0 && self.send_rows(place, peer, rows.min(FULL)) {
                let sent = rows.min(FULL);
                rows -= sent;
                let credit = &self.peers[peer].credit;
                if let Receivers::Shared(shuffle) = &mut self.buffers[place].receivers {
                    shuffle.sent(receiver, credit.under_way());
                    if shuffle.allowance_of(receiver) > credit.limit() {
                        credit.grow();
                    }
                }
            }
            if rows > 0
                && let Receivers::Shared(shuffle) = &mut self.buffers[place].receivers
            {
                shuffle.kept(receiver, rows);
            }
        }
        self.shares = shares;
        self.buffers[place].waiting() == 0
    }

    /// Sends all acks, and all rows that there is room for.
    pub(crate) fn flush(&mut self) {
        self.flush_acks();
        let locality = self.exchange.locality();
        if locality != self.locality {
            self.relocate(locality);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|place| {
            let has_left = self.send(*place);
            self.buffers[*place].refill();
            !has_left
        });
        self.dirty = dirty;
        if self.dirty.is_empty() {
            self.blocked_since = None;
        } else {
            self.note_blocked();
        }
    }

    /// Tells each shuffle which tasks run in this worker now.
    #[cold]
    fn relocate(&mut self, locality: u64) {
        self.locality = locality;
        for buffer in &mut self.buffers {
            if let Receivers::Shared(shuffle) = &mut buffer.receivers {
                shuffle.relocate(|peer| self.exchange.is_local(self.peers[peer].task));
            }
        }
    }

    /// Ready when all rows have left. A receiver that makes room fast gets more credit.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = self.blocked_since;
        let mut waited_for = self.waited_for();
        loop {
            // Register before sending: credit that is given back in between wakes the task.
            for (peer, above) in &waited_for {
                self.peers[*peer].credit.register(cx.waker(), *above);
            }
            self.flush();
            if self.dirty.is_empty() {
                break;
            }
            // What has left, and allowances that have changed, change what to wait for. A receiver that
            // keeps pace with the sending may have room again without ever having been short of it since
            // it was registered: then nobody would wake.
            let still = self.waited_for();
            let has_room = |(peer, above): &(usize, i64)| self.peers[*peer].credit.is_above(*above);
            if still == waited_for && !still.iter().any(has_room) && self.poll_held(cx).is_pending() {
                return Poll::Pending;
            }
            waited_for = still;
        }
        if since.is_some_and(|since| self.clock.now() - since < FAST) {
            // The allowances of receivers that share rows grow by the progress of these receivers instead.
            let whole = waited_for.iter().filter(|(_, above)| *above == 0);
            whole.for_each(|(peer, _)| self.peers[*peer].credit.grow());
        }
        Poll::Ready(())
    }

    /// Ready when rows need no longer be held back from receivers that lead by too many.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let holds_until = |place: &usize| match &self.buffers[*place].receivers {
            Receivers::Shared(shuffle) => shuffle.holds_until(),
            Receivers::One(_) => None,
        };
        let Some(until) = self.dirty.iter().filter_map(holds_until).min() else { return Poll::Pending };
        let at = self.clock.at(until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        timer.as_mut().reset(at);
        timer.as_mut().poll(cx)
    }

    /// The peers that waiting rows could leave to, each once with the credit that must be exceeded.
    fn waited_for(&self) -> Vec<(usize, i64)> {
        let mut waited_for = Vec::new();
        for place in &self.dirty {
            match &self.buffers[*place].receivers {
                Receivers::One(peer) => waited_for.push((*peer, 0)),
                Receivers::Shared(shuffle) => match shuffle.only() {
                    Some(peer) => waited_for.push((peer, 0)),
                    None => waited_for
                        .extend(shuffle.thresholds().map(|(peer, rows)| (peer, self.peers[peer].credit.above(rows)))),
                },
            }
        }
        // For each peer the lowest threshold comes first and is kept.
        waited_for.sort_unstable();
        waited_for.dedup_by_key(|(peer, _)| *peer);
        waited_for
    }
}
