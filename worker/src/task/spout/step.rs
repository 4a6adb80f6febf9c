//! The next step of a spout task, as a pure function of its state.
//!
//! The loop in `spout.rs` computes the next step before each action, and while it waits, again after each
//! event that may change the state. So a task never waits while there is work.

/// The latest answer of `next`, updated by later events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `next` may be called.
    Willing,
    /// The spout has no tuple: `next` is called when `ready` returns, a tuple fails, or on activation.
    Idle,
    /// The input has ended: `next` is called only if a tuple fails.
    Exhausted,
}

/// Everything that the next step depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) source: Source,
    pub(super) is_active: bool,
    pub(super) is_draining: bool,
    pub(super) must_exit: bool,
    /// Calls of `ack` or `fail` are due.
    pub(super) has_settled: bool,
    pub(super) has_orders: bool,
    /// More trees may be opened.
    pub(super) may_open: bool,
    /// Rows wait for room.
    pub(super) is_blocked: bool,
    /// All rows have left.
    pub(super) has_left: bool,
    pub(super) has_open_trees: bool,
    /// `Flush` was sent behind the latest row.
    pub(super) has_flushed: bool,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Call `ack` and `fail`.
    Settle,
    /// Follow an order.
    Follow,
    /// End, as ordered.
    Exit,
    /// Call `next`.
    Emit,
    /// Send the rows that wait for more.
    Send,
    /// Send `Flush`: no row follows for now.
    Flush,
    /// Send `End`: the input has ended and all trees are settled.
    End,
    /// Wait until another step is due, or, with `for_ready`, until the spout's `ready` returns.
    Wait {
        /// Whether the spout's `ready` may end the wait.
        for_ready: bool,
    },
}

impl State {
    /// The next step in this state.
    pub(super) fn step(self) -> Step {
        let may_emit = self.is_active && !self.is_draining && !self.is_blocked && self.may_open;
        let has_ended = self.is_draining || self.source == Source::Exhausted;
        if self.has_settled {
            Step::Settle
        } else if self.has_orders {
            Step::Follow
        } else if self.must_exit {
            Step::Exit
        } else if may_emit && self.source == Source::Willing {
            Step::Emit
        } else if !self.has_left && !self.is_blocked {
            Step::Send
        } else if has_ended && self.has_left && !self.has_flushed {
            Step::Flush
        } else if has_ended && self.has_left && !self.has_open_trees {
            Step::End
        } else {
            Step::Wait { for_ready: may_emit && self.source == Source::Idle }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All states.
    fn states() -> impl Iterator<Item = State> {
        let sources = [Source::Willing, Source::Idle, Source::Exhausted];
        (0..3 * 1024u32).map(move |n| {
            let is = |bit: u32| ((n / 3) >> bit) & 1 == 1;
            State {
                source: sources[n as usize % 3],
                is_active: is(0),
                is_draining: is(1),
                must_exit: is(2),
                has_settled: is(3),
                has_orders: is(4),
                may_open: is(5),
                is_blocked: is(6),
                has_left: is(7),
                has_open_trees: is(8),
                has_flushed: is(9),
            }
        })
    }

    /// Something outside the task that can change a state while the task waits, or `None` where the
    /// state does not allow it.
    type Event = fn(State) -> Option<State>;

    const EVENTS: [(&str, Event); 5] = [
        ("room", |state| state.is_blocked.then_some(State { is_blocked: false, has_left: true, ..state })),
        ("an ack or a time-out", |state| {
            state.has_open_trees.then_some(State { has_settled: true, may_open: true, has_open_trees: false, ..state })
        }),
        ("a bolt holds a tuple", |state| state.has_open_trees.then_some(State { may_open: true, ..state })),
        ("an order", |state| Some(State { has_orders: true, ..state })),
        ("ready", |state| match state.step() {
            Step::Wait { for_ready: true } => Some(State { source: Source::Willing, ..state }),
            _ => None,
        }),
    ];

    /// The states that can be: rows that wait for room have not left.
    fn is_possible(state: &State) -> bool {
        !(state.is_blocked && state.has_left)
    }

    #[test]
    fn a_task_waits_only_for_what_can_still_happen() {
        for state in states().filter(is_possible) {
            let Step::Wait { for_ready } = state.step() else { continue };
            // An inactive task without open trees waits for orders alone; any other for something else.
            let is_paused = !state.is_active && !state.is_draining && state.source != Source::Exhausted;
            let has_prospect = for_ready || state.is_blocked || state.has_open_trees;
            // No room to open trees means that some are open.
            let is_real = state.may_open || state.has_open_trees;
            assert!(has_prospect || is_paused || !is_real, "hangs: {state:?}");
        }
    }

    /// Each event while the task waits ends the wait, or leads to a state without work.
    #[test]
    fn every_event_that_enables_a_step_ends_the_wait() {
        for state in states().filter(is_possible) {
            let Step::Wait { .. } = state.step() else { continue };
            for (name, event) in EVENTS {
                let Some(after) = event(state).filter(is_possible) else { continue };
                if after.has_settled || after.has_orders {
                    assert!(!matches!(after.step(), Step::Wait { .. }), "{name} is missed: {state:?}");
                }
                let may_emit = after.is_active && !after.is_draining && !after.is_blocked && after.may_open;
                if may_emit && after.source == Source::Willing {
                    assert!(!matches!(after.step(), Step::Wait { .. }), "{name} is missed: {state:?}");
                }
                let has_ended = after.is_draining || after.source == Source::Exhausted;
                if has_ended && after.has_left && !after.has_open_trees {
                    assert!(!matches!(after.step(), Step::Wait { .. }), "{name} is missed: {state:?}");
                }
            }
        }
    }

    #[test]
    fn next_is_called_after_idle_only_when_something_happened() {
        for state in states().filter(|state| state.source != Source::Willing) {
            assert_ne!(state.step(), Step::Emit, "{state:?}");
        }
    }

    #[test]
    fn the_end_comes_after_all_is_sent_flushed_and_settled() {
        for state in states().filter(|state| state.step() == Step::End) {
            assert!(state.has_left && state.has_flushed && !state.has_open_trees && !state.has_settled, "{state:?}");
        }
    }
}
