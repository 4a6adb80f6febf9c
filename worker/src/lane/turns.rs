//! Whose turn it is to emit among the tasks of one component in a lane, where their rows wait for room that they share.
//! Pure.

use std::collections::VecDeque;

use super::MemberId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The tasks that wait, those that wait for longest first.
    queue: VecDeque<MemberId>,
    /// The task that may emit while others wait.
    turn: Option<MemberId>,
}

impl Turns {
    /// Whether a task must wait although there is room, because others wait.
    pub(super) fn block(&self, member: MemberId) -> bool {
        self.turn != Some(member) && (self.turn.is_some() || !self.queue.is_empty())
    }

    /// A task waits until it may emit.
    pub(super) fn wait(&mut self, member: MemberId) {
        if self.turn != Some(member) && !self.queue.contains(&member) {
            self.queue.push_back(member);
        }
    }

    /// A task has used its turn, or waits no longer.
    pub(super) fn leave(&mut self, member: MemberId) {
        self.turn.take_if(|turn| *turn == member);
        self.queue.retain(|waiting| *waiting != member);
    }

    /// There is room: the task that waits for longest may emit. `waits` says whether the one before waits still; then
    /// it waits for something else, too. Returns whether it is the turn of a task.
    pub(super) fn pass(&mut self, waits: impl Fn(MemberId) -> bool) -> bool {
        let before = self.turn.take();
        self.turn = self.queue.pop_front();
        self.queue.extend(before.filter(|before| waits(*before)));
        self.turn.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_wait_take_turns_and_newcomers_wait_behind_them() {
        let mut turns = Turns::default();
        assert!(!turns.block(7), "nobody waits");
        (0..3).for_each(|member| turns.wait(member));
        let mut served = Vec::new();
        for _ in 0..6 {
            assert!(turns.pass(|_| false));
            let allowed: Vec<MemberId> = (0..4).filter(|member| !turns.block(*member)).collect();
            let [member] = allowed[..] else { panic!("{allowed:?}") };
            turns.leave(member);
            turns.wait(member);
            served.push(member);
        }
        assert_eq!(served, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn turn_that_is_not_used_passes_on() {
        let mut turns = Turns::default();
        turns.wait(0);
        turns.wait(1);
        assert!(turns.pass(|_| true) && !turns.block(0));
        assert!(turns.pass(|_| true) && !turns.block(1) && turns.block(0));
        turns.leave(1);
        assert!(turns.pass(|_| true) && !turns.block(0), "it waits still");
        assert!(!turns.pass(|_| false));
        assert!(!turns.block(5), "nobody waits");
    }
}
