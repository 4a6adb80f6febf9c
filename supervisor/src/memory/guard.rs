//! Looks at what workers have, a few times a second, and says which of them is to be ended.

mod decide;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use galerna_protocol::WorkerId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::processes::Processes;
use super::share::Share;
use crate::keeper::Command;
use crate::machine::Limit;
use crate::shared::Shared;
use decide::{Use, verdicts};

pub(crate) use decide::Whole;

/// How often workers are looked at.
const EACH: Duration = Duration::from_millis(250);
/// After a worker was ended because all together had too much, its memory has to be free before the next is.
const PAUSE: Duration = Duration::from_secs(2);

/// A worker that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub(crate) topology: String,
    pub(crate) id: WorkerId,
    pub(crate) incarnation: u64,
    pub(crate) pid: u32,
    pub(crate) share: Option<Share>,
}

/// What one look has shown.
#[derive(Debug, Default)]
struct Look {
    uses: Vec<Use>,
    whole: Option<Whole>,
    kills: u64,
}

/// Tells the keeper whom to end, and keeps the traces of how full it is. Until the keeper is gone.
pub(crate) async fn watch(shared: Arc<Shared>, guarded: watch::Receiver<Vec<Guarded>>, keeper: mpsc::Sender<Command>) {
    let mut ticks = tokio::time::interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looker = Looker { limit: shared.memory_limit.clone(), ..Looker::default() };
    let mut paused_until = Instant::now();
    loop {
        ticks.tick().await;
        let workers = guarded.borrow().clone();
        let groups = shared.groups.clone();
        // It reads files of the kernel's, which takes it a moment on a machine with many processes.
        let looked = tokio::task::spawn_blocking(move || {
            let look = Look { kills: groups.kills(), ..looker.look(&workers) };
            (looker, look)
        });
        let Ok((kept, look)) = looked.await else { return };
        looker = kept;
        let now = Instant::now();
        shared.traces().note(look.whole, look.kills, now, shared.options.clock.now_ms());
        for verdict in verdicts(&look.uses, look.whole.filter(|_| now >= paused_until)) {
            if verdict.is_for_all {
                paused_until = now + PAUSE;
            }
            let Use { worker, .. } = verdict.of;
            let command = Command::End { slot: worker.id.slot, incarnation: worker.incarnation, why: verdict.why };
            if keeper.send(command).await.is_err() {
                return;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Looker {
    limit: Option<Limit>,
    processes: Processes,
    /// Process ids of workers that had too much at the last look only together with their children.
    suspects: BTreeSet<u32>,
}

impl Looker {
    fn look(&mut self, workers: &[Guarded]) -> Look {
        let whole = self.limit.as_ref().and_then(|limit| Some(Whole { used: limit.used()?, limit: limit.bytes }));
        if workers.is_empty() {
            return Look { whole, ..Look::default() };
        }
        let leaders: Vec<u32> = workers.iter().map(|worker| worker.pid).collect();
        self.processes.refresh(&leaders);
        self.suspects.retain(|pid| leaders.contains(pid));
        let uses = workers.iter().filter_map(|worker| self.use_of(worker)).collect();
        Look { uses, whole, kills: 0 }
    }

    fn use_of(&mut self, worker: &Guarded) -> Option<Use> {
        let alone = Processes::alone(worker.pid)?;
        let share = worker.share.as_ref().map_or(u64::MAX, |share| share.bytes);
        let mut used = self.processes.together(worker.pid).max(alone);
        if alone <= share && used > share {
            // What a process and its child share counts twice in that sum, and a child that is just being
            // started shares everything: looked at closely, and twice.
            used = self.processes.exactly(worker.pid).max(alone);
            if used > share && self.suspects.insert(worker.pid) {
                used = share;
            }
        } else {
            self.suspects.remove(&worker.pid);
        }
        Some(Use { worker: worker.clone(), used })
    }
}
