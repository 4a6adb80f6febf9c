//! Simulates a topology behind the limit: tasks that process a queue, and bolts that collect batches.

use std::collections::VecDeque;

use super::*;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn on_their_way(trees: usize) -> Open {
    Open { trees, held: 0 }
}

/// A bolt with tasks that process one queue and take `each` per tuple.
struct Bolt {
    each: Duration,
    /// The time from which each task is free.
    free_at: Vec<Duration>,
    /// Departures and ends of trees, in the order of their ends.
    open: VecDeque<(Duration, Duration)>,
}

impl Bolt {
    fn new(tasks: usize, each: Duration) -> Self {
        Self { each, free_at: vec![Duration::ZERO; tasks], open: VecDeque::new() }
    }

    /// Keeps the limit full until this time. Returns the longest latency of the trees that ended meanwhile.
    fn run(&mut self, limit: &mut InFlightLimit, mut now: Duration, until: Duration) -> Duration {
        let mut longest = Duration::ZERO;
        while now < until {
            for _ in 0..limit.room(on_their_way(self.open.len()), now) {
                let first = (0..self.free_at.len()).min_by_key(|task| self.free_at[*task]).unwrap();
                let end = self.free_at[first].max(now) + self.each;
                self.free_at[first] = end;
                self.open.push_back((now, end));
            }
            limit.room(on_their_way(self.open.len()), now);
            let (departed, end) = self.open.pop_front().expect("the limit is at least one");
            now = end;
            longest = longest.max(end - departed);
            limit.passed(1, Some(end - departed), on_their_way(self.open.len()), now);
        }
        longest
    }
}

#[test]
fn a_slow_bolt_bounds_the_latency_to_a_few_round_trips() {
    for (each, most) in [(50, 4), (1000, 4), (4, 5)] {
        let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
        let mut bolt = Bolt::new(1, millis(each));
        bolt.run(&mut limit, Duration::ZERO, millis(each * 200));
        assert!((1..=most).contains(&limit.limit), "{each} ms: {}", limit.limit);
    }
}

#[test]
fn no_tuple_of_a_bolt_of_fifty_milliseconds_takes_five_seconds() {
    let mut limit = InFlightLimit::new(None, Some(millis(5_000)));
    let longest = Bolt::new(1, millis(50)).run(&mut limit, Duration::ZERO, millis(60_000));
    assert!(longest < millis(5_000), "{longest:?}");
}

#[test]
fn many_tasks_with_a_long_round_trip_all_get_work() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    Bolt::new(200, millis(100)).run(&mut limit, Duration::ZERO, millis(10_000));
    assert!((200..=1_600).contains(&limit.limit), "{}", limit.limit);
}

/// A round trip takes more than a quarter of the time-out, because one call does.
#[test]
fn tasks_of_long_calls_work_side_by_side() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    let longest = Bolt::new(8, millis(8_000)).run(&mut limit, Duration::ZERO, millis(600_000));
    assert!(limit.limit >= 5, "{}", limit.limit);
    assert!(longest <= millis(24_000), "{longest:?}");
}

#[test]
fn tuples_that_bolts_let_go_of_do_not_lower_the_limit() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    Bolt::new(1, Duration::from_micros(10)).run(&mut limit, Duration::ZERO, millis(500));
    let before = limit.limit;
    limit.room(on_their_way(before), millis(500));
    limit.passed(-1_000, None, on_their_way(before + 1_000), millis(501));
    limit.passed(1, Some(millis(1)), on_their_way(before + 999), millis(600));
    assert!(limit.limit * 2 >= before, "{before} became {}", limit.limit);
}

#[test]
fn a_fast_bolt_raises_the_limit_and_it_falls_when_the_bolt_gets_slow() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    let mut bolt = Bolt::new(1, Duration::from_nanos(500));
    bolt.run(&mut limit, Duration::ZERO, millis(200));
    assert!((10_000..=40_000).contains(&limit.limit), "20 ms of tuples: {}", limit.limit);
    bolt.each = millis(10);
    bolt.free_at = vec![millis(200)];
    bolt.run(&mut limit, millis(200), millis(300_000));
    assert!(limit.limit <= 8, "{}", limit.limit);
}

#[test]
fn a_limit_that_does_not_hold_back_stays_and_so_does_one_over_idle_time() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    Bolt::new(1, Duration::from_micros(10)).run(&mut limit, Duration::ZERO, millis(1_000));
    let before = limit.limit;
    for n in 1..1_000 {
        let now = millis(1_000 + n * 100);
        limit.room(on_their_way(0), now);
        limit.passed(1, Some(millis(1)), on_their_way(0), now + millis(1));
    }
    assert_eq!(limit.limit, before);
    // After a minute without tuples, a burst fills the limit.
    let began = millis(200_000);
    let mut bolt = Bolt::new(1, Duration::from_micros(10));
    bolt.free_at = vec![began];
    bolt.run(&mut limit, began, began + millis(100));
    assert!(limit.limit >= before / 2, "{before} became {}", limit.limit);
}

#[test]
fn trees_that_bolts_hold_leave_room_for_others() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    for held in [0, 1_000, 100_000] {
        assert_eq!(limit.room(Open { trees: held, held }, millis(1)), FIRST);
    }
    assert_eq!(limit.room(Open { trees: MOST - 3, held: MOST - 3 }, millis(1)), 3);
    let mut fixed = InFlightLimit::new(Some(10), None);
    assert_eq!(fixed.room(Open { trees: 10, held: 10 }, millis(1)), 0, "a fixed limit is a promise");
}

/// A sink acks a thousand tuples together, so a tuple that arrives just before the batch is full passes quickly.
#[test]
fn one_short_round_trip_does_not_hold_a_batching_sink_below_its_batch() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    limit.passed(1, Some(Duration::from_micros(5)), Open::default(), millis(1));
    let mut now = millis(1);
    for _ in 0..100 {
        let mut held = 0;
        while held < 1_000 {
            let room = limit.room(Open { trees: held, held }, now);
            assert!(room > 0, "stalled with {held} held");
            held += room;
            now += millis(1);
            limit.passed(room as i64, None, Open { trees: held, held }, now);
        }
        now += millis(10);
        limit.passed(0, Some(millis(1)), Open::default(), now);
    }
    assert!(limit.limit >= FIRST, "{}", limit.limit);
}

#[test]
fn one_lost_tuple_changes_nothing_and_many_halve_the_limit() {
    let mut limit = InFlightLimit::new(None, Some(millis(30_000)));
    Bolt::new(1, Duration::from_micros(1)).run(&mut limit, Duration::ZERO, millis(500));
    let before = limit.limit;
    limit.expired(1, on_their_way(before), millis(501));
    assert_eq!(limit.limit, before);
    limit.expired(before / 2, on_their_way(before), millis(502));
    assert_eq!(limit.limit, before / 2);
    limit.expired(10, Open { trees: 10, held: 10 }, millis(503));
    assert_eq!(limit.limit, 1);
}
