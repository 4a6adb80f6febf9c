//! What is to be done about one slot: facts in, the next step out.

use std::time::Duration;

use galerna_protocol::Order;
use tokio::time::Instant;

/// How long a process has to end after it was asked to, before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// All that matters about one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Instant,
    /// What the newest assignments want here.
    pub(crate) wanted: Option<Wish<'a>>,
    /// Whether the store itself has said so since the start; nothing is ended on less.
    pub(crate) is_certain: bool,
    /// What stands here.
    pub(crate) standing: Standing<'a>,
    /// Not to be launched before this.
    pub(crate) retry_at: Option<Instant>,
    /// The topology whose worker has ended here for good.
    pub(crate) ended: Option<&'a str>,
    /// How long a new worker may take to attach.
    pub(crate) attach_within: Duration,
    /// How long a worker may be silent, if that is bounded.
    pub(crate) worker_timeout: Option<Duration>,
}

/// A worker that an assignment wants in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) topology: &'a str,
    pub(crate) order: Order,
    /// Whether it can be launched: it is known what, and nobody has said that the assignment is
    /// outdated.
    pub(crate) can_launch: bool,
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing<'a> {
    /// Nothing.
    Empty,
    /// An artifact is on its way for a launch.
    Preparing { topology: &'a str },
    /// A process.
    Running {
        topology: &'a str,
        /// When it was launched or adopted, unless it has attached since.
        unattached_since: Option<Instant>,
        /// When it was asked to end.
        asked_at: Option<Instant>,
        is_killed: bool,
        /// How long it has sent no heartbeat though some are expected.
        silence: Duration,
    },
}

/// Why a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It did not end when it was asked to.
    Overdue,
    /// It did not attach after its launch.
    Unattached,
    /// It sent no heartbeat.
    Silent,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until something happens.
    Nothing,
    /// Nothing, until this moment or until something happens.
    WaitUntil(Instant),
    /// Get the artifact, then launch.
    Prepare,
    /// Give up getting an artifact.
    Abandon,
    /// Ask the process to end.
    Ask,
    /// End the process.
    Kill(Fault),
}

/// The next step for a slot.
pub(crate) fn next_step(facts: &Facts<'_>) -> Step {
    match facts.standing {
        Standing::Empty => step_when_empty(facts),
        Standing::Preparing { topology } if wants(facts, topology) && !is_over(facts.wanted) => Step::Nothing,
        Standing::Preparing { .. } => Step::Abandon,
        Standing::Running { is_killed: true, .. } => Step::Nothing,
        Standing::Running { asked_at: Some(asked), .. } => at_or(facts.now, asked + GRACE, Step::Kill(Fault::Overdue)),
        Standing::Running { topology, .. } if !wants(facts, topology) && facts.is_certain => Step::Ask,
        Standing::Running { unattached_since: Some(since), .. } => {
            at_or(facts.now, since + facts.attach_within, Step::Kill(Fault::Unattached))
        }
        Standing::Running { silence, .. } if facts.worker_timeout.is_some_and(|timeout| silence >= timeout) => {
            Step::Kill(Fault::Silent)
        }
        Standing::Running { .. } => Step::Nothing,
    }
}

fn step_when_empty(facts: &Facts<'_>) -> Step {
    match facts.wanted {
        Some(wish) if wish.can_launch && !is_over(facts.wanted) && facts.ended != Some(wish.topology) => {
            facts.retry_at.map_or(Step::Prepare, |at| at_or(facts.now, at, Step::Prepare))
        }
        _ => Step::Nothing,
    }
}

/// Whether everything has come to its end, so that nothing is launched any more.
fn is_over(wanted: Option<Wish<'_>>) -> bool {
    wanted.is_some_and(|wish| wish.order == Order::Exit)
}

fn wants(facts: &Facts<'_>, topology: &str) -> bool {
    facts.wanted.is_some_and(|wish| wish.topology == topology)
}

fn at_or(now: Instant, at: Instant, step: Step) -> Step {
    if now >= at { step } else { Step::WaitUntil(at) }
}

/// Whether a worker that ended so was meant to, and is not launched again.
pub(crate) fn is_final(order: Order, code: Option<i32>, is_known: bool, had_ended: bool) -> bool {
    match order {
        Order::Exit => true,
        // Nobody saw how an adopted process ended: its last report has to do.
        Order::Drain => code == Some(0) || (!is_known && had_ended),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACH: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn wish(topology: &str, order: Order) -> Option<Wish<'_>> {
        Some(Wish { topology, order, can_launch: true })
    }

    fn running<'a>(topology: &'a str, unattached: Option<Instant>, asked: Option<Instant>) -> Standing<'a> {
        let silence = Duration::ZERO;
        Standing::Running { topology, unattached_since: unattached, asked_at: asked, is_killed: false, silence }
    }

    #[test]
    fn each_slot_comes_nearer_to_what_is_wanted() {
        let now = Instant::now() + Duration::from_secs(1_000);
        let past = |secs| now - Duration::from_secs(secs);
        let soon = now + Duration::from_secs(1);
        let none = None;
        let unknown = Some(Wish { topology: "a", order: Order::Run, can_launch: false });
        let silence = Duration::ZERO;
        let killed =
            Standing::Running { topology: "a", unattached_since: none, asked_at: none, is_killed: true, silence };
        let table = [
            // wanted, standing, retry_at, ended, step
            (None, Standing::Empty, none, None, Step::Nothing),
            (wish("a", Order::Run), Standing::Empty, none, None, Step::Prepare),
            (wish("a", Order::Pause), Standing::Empty, none, Some("b"), Step::Prepare),
            (wish("a", Order::Drain), Standing::Empty, none, None, Step::Prepare),
            (wish("a", Order::Drain), Standing::Empty, none, Some("a"), Step::Nothing),
            (wish("a", Order::Exit), Standing::Empty, none, None, Step::Nothing),
            (unknown, Standing::Empty, none, None, Step::Nothing),
            (wish("a", Order::Run), Standing::Empty, Some(soon), None, Step::WaitUntil(soon)),
            (wish("a", Order::Run), Standing::Empty, Some(now), None, Step::Prepare),
            (wish("a", Order::Run), Standing::Preparing { topology: "a" }, none, None, Step::Nothing),
            (wish("b", Order::Run), Standing::Preparing { topology: "a" }, none, None, Step::Abandon),
            (wish("a", Order::Exit), Standing::Preparing { topology: "a" }, none, None, Step::Abandon),
            (None, Standing::Preparing { topology: "a" }, none, None, Step::Abandon),
            (wish("a", Order::Run), running("a", none, none), Some(now), None, Step::Nothing),
            (wish("a", Order::Exit), running("a", none, none), none, None, Step::Nothing),
            (unknown, running("a", none, none), none, None, Step::Nothing),
            (wish("a", Order::Run), running("a", Some(past(29)), none), none, None, Step::WaitUntil(soon)),
            (wish("a", Order::Run), running("a", Some(past(30)), none), none, None, Step::Kill(Fault::Unattached)),
            (None, running("a", none, none), none, None, Step::Ask),
            (wish("b", Order::Run), running("a", none, none), none, None, Step::Ask),
            (None, running("a", none, Some(past(4))), none, None, Step::WaitUntil(soon)),
            (None, running("a", none, Some(past(5))), none, None, Step::Kill(Fault::Overdue)),
            // Once asked to end it is not kept, even if it is wanted again: a new launch follows.
            (wish("a", Order::Run), running("a", none, Some(past(5))), none, None, Step::Kill(Fault::Overdue)),
            (None, killed, none, None, Step::Nothing),
        ];
        for (at, (wanted, standing, retry_at, ended, step)) in table.into_iter().enumerate() {
            let (attach_within, worker_timeout) = (ATTACH, Some(TIMEOUT));
            let facts =
                Facts { now, wanted, is_certain: true, standing, retry_at, ended, attach_within, worker_timeout };
            assert_eq!(next_step(&facts), step, "row {at}: {facts:?}");
            if step == Step::Ask {
                let facts = Facts { is_certain: false, ..facts };
                assert_eq!(next_step(&facts), Step::Nothing, "row {at}: what was known is no reason to end it");
            }
        }
    }

    #[test]
    fn a_silent_worker_is_killed_after_the_timeout_unless_that_is_off_or_it_is_to_end_anyway() {
        let now = Instant::now() + Duration::from_secs(1_000);
        let step = |wanted, silent: u64, asked_at, is_certain, worker_timeout| {
            let silence = Duration::from_secs(silent);
            let standing =
                Standing::Running { topology: "a", unattached_since: None, asked_at, is_killed: false, silence };
            let (retry_at, ended, attach_within) = (None, None, ATTACH);
            next_step(&Facts { now, wanted, is_certain, standing, retry_at, ended, attach_within, worker_timeout })
        };
        let (run, asked) = (wish("a", Order::Run), now - Duration::from_secs(4));
        let kill = Step::Kill(Fault::Silent);
        assert_eq!(step(run, 19, None, true, Some(TIMEOUT)), Step::Nothing);
        assert_eq!(step(run, 20, None, true, Some(TIMEOUT)), kill);
        assert_eq!(step(run, 20, None, false, Some(TIMEOUT)), kill, "the store is not needed to see that it is frozen");
        assert_eq!(step(run, 2_000, None, true, None), Step::Nothing);
        assert_eq!(step(None, 20, None, true, Some(TIMEOUT)), Step::Ask, "it may still end in good order");
        let soon = Step::WaitUntil(now + Duration::from_secs(1));
        assert_eq!(step(run, 20, Some(asked), true, Some(TIMEOUT)), soon);
    }

    #[test]
    fn only_a_worker_that_was_told_to_end_has_ended_for_good() {
        let table = [
            (Order::Run, Some(0), true, true, false),
            (Order::Pause, Some(0), true, true, false),
            (Order::Drain, Some(0), true, false, true),
            (Order::Drain, Some(1), true, true, false),
            (Order::Drain, None, true, true, false),
            (Order::Drain, None, false, true, true),
            (Order::Drain, None, false, false, false),
            (Order::Exit, Some(1), true, false, true),
            (Order::Exit, None, false, false, true),
        ];
        for (order, code, is_known, had_ended, answer) in table {
            assert_eq!(is_final(order, code, is_known, had_ended), answer, "{order:?} {code:?} {is_known} {had_ended}");
        }
    }
}
