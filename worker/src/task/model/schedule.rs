//! Polls tasks by hand on one thread, in an order that follows from a seed.
//!
//! A task is polled only if its waker was woken. Tasks also run in the middle of another task's poll:
//! wherever that one calls [`interleave`], and where it wakes them, as other threads would.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fastrand::Rng;
use galerna_topology_api::engine::BoxFuture;

/// Polls after which a schedule counts as endless.
const MOST_POLLS: u64 = 5_000_000;

/// In how many of a million cases a task runs where it is woken: of each, at some time.
const WOKEN_ODDS: [u32; 4] = [0, 20_000, 300_000, 1_000_000];

thread_local! {
    static SCHEDULE: RefCell<Schedule> = RefCell::new(Schedule::new(0));
}

struct Schedule {
    random: Rng,
    tasks: Vec<Task>,
    /// The lanes of the tasks that are being polled.
    busy: Vec<usize>,
    polls: u64,
    /// How many of a million calls of [`interleave`] by user code let another task run.
    user_odds: u32,
    /// The same where the engine steps aside.
    aside_odds: u32,
    /// The same for a task that is woken.
    woken_odds: u32,
    /// Whether a task runs inside a wake. The waking task may hold a lock, so no other task runs meanwhile.
    is_in_wake: bool,
    /// How far the clock moves after a poll, at most.
    pace: Duration,
}

struct Task {
    /// The thread that runs it: its tasks never run in the middle of each other.
    lane: usize,
    /// Absent while the task is polled, and once it has ended.
    future: Option<BoxFuture<'static, ()>>,
    has_ended: bool,
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag {
    place: usize,
    is_woken: AtomicBool,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        let picked = with(|schedule| {
            let odds = schedule.woken_odds;
            let task = if schedule.happens(odds) { schedule.take(self.place) } else { None };
            schedule.is_in_wake |= task.is_some();
            task
        });
        if let Some(future) = picked {
            poll(self.place, future);
            with(|schedule| schedule.is_in_wake = false);
        }
    }
}

impl Task {
    fn new((place, (lane, future)): (usize, (usize, BoxFuture<'static, ()>))) -> Self {
        let flag = Arc::new(Flag { place, is_woken: AtomicBool::new(true) });
        Self { lane, future: Some(future), has_ended: false, waker: flag.clone().into(), flag }
    }

    fn may_run(&self, busy: &[usize]) -> bool {
        self.future.is_some() && !busy.contains(&self.lane) && self.flag.is_woken.load(Ordering::Relaxed)
    }
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let user_odds = [0, 500, 20_000, 200_000][random.usize(..4)];
        let aside_odds = [0, 30_000, 250_000, 1_000_000][random.usize(..4)];
        let woken_odds = WOKEN_ODDS[random.usize(..WOKEN_ODDS.len())];
        let pace = Duration::from_micros([0, 10, 300, 5_000][random.usize(..4)]);
        let (tasks, busy, polls, is_in_wake) = (Vec::new(), Vec::new(), 0, false);
        Self { random, tasks, busy, polls, user_odds, aside_odds, woken_odds, is_in_wake, pace }
    }

    /// Whether another task runs, where it does in so many of a million cases.
    fn happens(&mut self, odds: u32) -> bool {
        !self.is_in_wake && self.random.u32(..1_000_000) < odds
    }

    /// Takes the future of a task to poll it, if it may run.
    fn take(&mut self, place: usize) -> Option<BoxFuture<'static, ()>> {
        let busy = &self.busy;
        let task = self.tasks.get_mut(place).filter(|task| task.may_run(busy))?;
        task.flag.is_woken.store(false, Ordering::Relaxed);
        self.polls += 1;
        task.future.take()
    }

    /// A task that may run, with its future.
    fn pick(&mut self) -> Option<(usize, BoxFuture<'static, ()>)> {
        let able = self.tasks.iter().filter(|task| task.may_run(&self.busy)).count();
        if able == 0 || self.polls >= MOST_POLLS {
            return None;
        }
        if self.happens(100_000) {
            self.woken_odds = WOKEN_ODDS[self.random.usize(..WOKEN_ODDS.len())];
        }
        let chosen = self.random.usize(..able);
        let (place, _) = self.tasks.iter().enumerate().filter(|(_, task)| task.may_run(&self.busy)).nth(chosen)?;
        Some((place, self.take(place)?))
    }
}

fn with<T>(each: impl FnOnce(&mut Schedule) -> T) -> T {
    SCHEDULE.with_borrow_mut(each)
}

/// Polls one woken task that is not being polled. Returns whether there was one.
fn poll_one() -> bool {
    let Some((place, future)) = with(Schedule::pick) else { return false };
    poll(place, future);
    true
}

fn poll(place: usize, mut future: BoxFuture<'static, ()>) {
    let waker = with(|schedule| {
        schedule.busy.push(schedule.tasks[place].lane);
        schedule.tasks[place].waker.clone()
    });
    let has_ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    let pace = with(|schedule| {
        schedule.busy.pop();
        let task = &mut schedule.tasks[place];
        task.has_ended = has_ended;
        task.future = (!has_ended).then_some(future);
        schedule.pace.mul_f64(schedule.random.f64())
    });
    // The clock moves in the first poll.
    let advance: Poll<()> = pin!(tokio::time::advance(pace)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(advance.is_pending());
}

/// Lets others run, or not: for user code.
pub(super) fn interleave() {
    while with(|schedule| schedule.happens(schedule.user_odds)) && poll_one() {}
}

/// Lets others run, or not: for the engine.
pub(super) fn step_aside() {
    if with(|schedule| schedule.happens(schedule.aside_odds)) {
        poll_one();
        interleave();
    }
}

/// Runs tasks to their end, on a paused clock, beside drivers that never end. Each has the lane that runs it.
///
/// # Errors
/// With the places of the tasks that have not ended, when none of them is woken.
pub(super) fn run(
    seed: u64,
    futures: Vec<(usize, BoxFuture<'static, ()>)>,
    drivers: Vec<(usize, BoxFuture<'static, ()>)>,
) -> Result<(), String> {
    let count = futures.len();
    let tasks = futures.into_iter().chain(drivers).enumerate().map(Task::new).collect();
    with(|schedule| *schedule = Schedule { tasks, ..Schedule::new(seed) });
    while poll_one() {}
    let (tasks, polls) = with(|schedule| (std::mem::take(&mut schedule.tasks), schedule.polls));
    let waiting: Vec<usize> = (0..count).filter(|place| !tasks[*place].has_ended).collect();
    match waiting.as_slice() {
        [] => Ok(()),
        waiting if polls >= MOST_POLLS => Err(format!("tasks {waiting:?} do not end in {polls} polls")),
        waiting => Err(format!("tasks {waiting:?} wait for ever after {polls} polls")),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::super::runtime;
    use super::*;

    #[test]
    fn task_that_nobody_wakes_is_reported() {
        let runtime = runtime();
        let _guard = runtime.enter();
        let outcome = run(1, vec![(0, Box::pin(async {})), (0, Box::pin(pending()))], Vec::new());
        assert_eq!(outcome, Err("tasks [1] wait for ever after 2 polls".to_owned()));
    }

    #[test]
    fn task_that_wakes_itself_for_ever_is_reported() {
        let runtime = runtime();
        let _guard = runtime.enter();
        let spinning = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(run(1, vec![(0, Box::pin(spinning))], Vec::new()).is_err());
    }
}
