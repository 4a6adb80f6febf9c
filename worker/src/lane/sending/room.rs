//! Tasks that wait for room, and take turns where they share it.

use super::*;

impl LaneOut {
    /// Where tasks of a component wait for shared room and there is some, the next one may emit. Returns whether there is
    /// one; its turn ends when the driver looks again.
    pub(super) fn pass_turns(&mut self) -> bool {
        let mut turns = mem::take(&mut self.turns);
        let mut is_somebodys_turn = false;
        for (place, turns) in &mut turns {
            let one = self.members.iter().flatten().find(|member| member.place == *place);
            if one.is_some_and(|one| !self.lacks_room(one)) {
                is_somebodys_turn |= turns.pass(|member| self.queue.contains(&member));
            }
        }
        self.turns = turns;
        is_somebodys_turn
    }

    /// Whether the rows of a task must wait, so that it should emit nothing more.
    pub(crate) fn is_blocked(&self, id: MemberId) -> bool {
        let Some(member) = &self.members[id] else { return false };
        member.parked > 0 || self.lacks_room(member) || self.is_turn_of_others(id, member)
    }

    /// Whether shared rows of a task's component wait for room.
    pub(super) fn lacks_room(&self, member: &Member) -> bool {
        let is_blocked = |outlet: &usize| self.outlets[*outlet].shared.as_ref().is_some_and(|shared| shared.is_blocked);
        member.outlets.iter().any(is_blocked)
    }

    /// Whether other tasks of a task's component wait for shared room and come first.
    pub(super) fn is_turn_of_others(&self, id: MemberId, member: &Member) -> bool {
        self.turns.get(&member.place).is_some_and(|turns| turns.block(id))
    }

    /// The rows of a task that have not left.
    pub(crate) fn waiting_rows(&self, member: MemberId) -> usize {
        self.members[member].as_ref().map_or(0, |member| member.waiting)
    }

    /// Has `waker` woken when the rows of a task have left and it may emit more.
    pub(crate) fn wait_for_room(&mut self, member: MemberId, waker: &Waker) {
        if !self.queue.contains(&member) {
            self.queue.push_back(member);
        }
        if let Some(of) = &self.members[member]
            && (self.lacks_room(of) || self.is_turn_of_others(member, of))
        {
            let place = of.place;
            self.turns.entry(place).or_default().wait(member);
            // Where there is room already, the driver passes the turn on.
            self.port.signal.wake();
        }
        let waiting = &mut self.member(member).waker;
        match waiting {
            Some(known) if known.will_wake(waker) => {}
            _ => *waiting = Some(waker.clone()),
        }
    }

    /// A task waits for room no longer.
    pub(crate) fn has_room(&mut self, member: MemberId) {
        if !self.queue.is_empty() {
            self.queue.retain(|waiting| *waiting != member);
            self.member(member).waker = None;
        }
    }

    /// Wakes the tasks that may emit again, those that wait for longest first, and spouts whose rows have departed.
    pub(super) fn wake_members(&mut self) {
        for at in 0..self.queue.len() {
            let member = self.queue[at];
            let has_left = !self.is_blocked(member) && self.waiting_rows(member) == 0;
            // A spout counts the time of its trees from their departure.
            if (has_left || !self.member(member).departed.parts.is_empty())
                && let Some(waker) = self.member(member).waker.take()
            {
                waker.wake();
            }
        }
    }
}
