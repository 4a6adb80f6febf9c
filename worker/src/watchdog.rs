//! Reports calls of user code that do not come back. It never ends anything: a busy task may be
//! right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::TaskId;
use smol_str::SmolStr;
use tokio::time::{MissedTickBehavior, interval};

use crate::run::RunShared;
use crate::stats::TaskStats;

/// The time for which a call may run or hold up an order before the watchdog reports it.
const LONG_CALL: Duration = Duration::from_secs(5);
const HOLDS_UP: &str = "a call of `next` has held up an order to drain, move, deactivate or exit for 5 s: let it return \
    `Next::Idle` and wait in `ready`, or declare `NEXT_IS_CANCEL_SAFE`";
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was seen of a running call.
#[derive(Clone, Copy)]
struct Seen {
    calls: u64,
    since: Duration,
    is_reported: bool,
    holds_up_is_reported: bool,
}

/// A task, its component, and where it notes its calls.
pub(crate) type Watched = (SmolStr, TaskId, Arc<TaskStats>);

/// Watches the tasks that `tasks` answers each time, for as long as it is polled.
pub(crate) async fn watch(run: Arc<RunShared>, tasks: impl Fn() -> Vec<Watched>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: BTreeMap<TaskId, Seen> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let now = run.clock.now();
        for (component, task, stats) in &tasks() {
            let Some((began, calls)) = stats.activity.running() else {
                seen.remove(task);
                continue;
            };
            let first = |since| Seen { calls, since, is_reported: false, holds_up_is_reported: false };
            let entry = seen.entry(*task).or_insert_with(|| first(began));
            if entry.calls != calls {
                // Between two looks a call came back: the current one began after the last look.
                *entry = first(now);
            } else if !entry.is_reported && now.saturating_sub(entry.since) >= LONG_CALL {
                entry.is_reported = true;
                run.report(component, *task, stats, "a call is still running after 5 s");
            }
            let is_late = |since: Duration| now.saturating_sub(since) >= LONG_CALL;
            if !entry.holds_up_is_reported && stats.activity.holds_up_since().is_some_and(is_late) {
                entry.holds_up_is_reported = true;
                run.report(component, *task, stats, HOLDS_UP);
            }
        }
    }
}
