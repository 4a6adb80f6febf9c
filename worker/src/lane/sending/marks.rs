//! What tasks say of their edges, behind their rows.

use super::*;

impl LaneOut {
    /// A task says something of its edges, behind its rows. A destination that rows of the task wait for hears it
    /// behind these.
    pub(crate) fn mark(&mut self, member: MemberId, marker: Marker) {
        self.activity.0 += 1;
        let place = self.member(member).place;
        let dests = match marker {
            // A destination that has no receivers for now may have heard an end before.
            Marker::Open => (HELD + 1..self.dests.len() as DestId).collect(),
            Marker::Flush(_) | Marker::End(_) => self.dests_of_receivers(place),
        };
        let member_of = self.member(member);
        member_of.mark = Some(marker);
        member_of.unmarked = dests;
        self.send_marks(member);
        self.flush();
    }

    /// A task emits again: what it said of its edges is void.
    pub(crate) fn unmark(&mut self, member: MemberId) {
        let member = self.member(member);
        member.mark = None;
        member.unmarked.clear();
    }

    pub(super) fn dests_of_receivers(&self, place: Place) -> BTreeSet<DestId> {
        let mut dests = BTreeSet::new();
        let mut last = None;
        for task in self.graph.receiving_tasks(place) {
            let dest = self.ways.get(task as usize).copied().unwrap_or(HELD);
            if dest == HELD {
                // Rows for the task wait. The mark must not overtake them, wherever the task goes: it follows when all
                // have a way.
                return BTreeSet::new();
            }
            if last.replace(dest) != Some(dest) {
                dests.insert(dest);
            }
        }
        dests
    }

    /// Sends the mark of a task to the destinations that none of its rows wait for.
    pub(super) fn send_marks(&mut self, member: MemberId) {
        let Some(of) = &self.members[member] else { return };
        let Some(marker) = of.mark.filter(|_| !of.unmarked.is_empty()) else { return };
        let mark = Mark { from: Sender { task: of.task, launch: of.launch, is_final: false }, marker };
        let later = if of.waiting == 0 { BTreeSet::new() } else { self.dests_waited_for(of) };
        let now: Vec<DestId> = of.unmarked.difference(&later).copied().collect();
        for dest in now {
            self.seal_loads(dest);
            self.dests[dest as usize].packet.items.push(Item::Mark(mark));
            self.list_dest(dest);
            self.member(member).unmarked.remove(&dest);
        }
    }

    /// The destinations that rows of a task wait for.
    pub(super) fn dests_waited_for(&self, member: &Member) -> BTreeSet<DestId> {
        let mut dests = BTreeSet::new();
        let is_of_member = |batch: &Batch| batch.senders.runs(batch.rows).any(|(_, sender)| sender.task == member.task);
        for outlet in member.outlets.iter().map(|outlet| &self.outlets[*outlet]) {
            let waiting = outlet.waiting.iter().filter(|(_, waiting)| is_of_member(&waiting.buffer.batch));
            dests.extend(waiting.map(|(target, _)| self.ways[outlet.task(*target) as usize]));
            if outlet.shared.as_ref().is_some_and(|shared| shared.buffer.waiting() > 0) {
                let tasks = self.graph.node(outlet.receiver).tasks.clone();
                dests.extend(tasks.map(|task| self.ways[task as usize]));
            }
        }
        dests
    }
}
