//! The one loop that repairs everything: compares what is wanted with what is, and writes what
//! follows. All decisions are made elsewhere, by [`steps`](crate::steps) and
//! [`scheduler`](crate::scheduler); only the leader carries them out.

mod apply;
mod facts;
mod patience;

use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::{Leadership, Revision, StoreError};
use tokio::time::Instant;

use crate::core::{Core, lock};
use crate::scheduler::{ClusterView, Decision, Plan, schedule};
use crate::steps::next_steps;
use crate::view::View;

use patience::Patience;

/// How long the loop sleeps at most.
const ROUND: Duration = Duration::from_millis(500);

/// What one leadership remembers.
struct Term {
    revision: Revision,
    began: Instant,
    /// The last decision, and what it was made from.
    last: Option<(ClusterView, Plan)>,
    patience: Patience,
}

/// Runs for as long as the daemon does.
pub(crate) async fn run(core: Arc<Core>) {
    let mut view = core.view.subscribe();
    let mut standing = core.standing.clone();
    let mut term: Option<Term> = None;
    let mut complaint = String::new();
    let mut leader = None;
    loop {
        view.borrow_and_update();
        if let Some(leads) = standing.borrow_and_update().leader.clone()
            && leader.replace(leads.clone()).is_some_and(|led| led != leads)
        {
            core.measured.note_leader_change();
        }
        core.health.reconciling.note();
        match round(&core, &mut term).await {
            Ok(()) => complaint.clear(),
            Err(error) => {
                let error = error.to_string();
                if error != complaint {
                    tracing::warn!(error, "what is wanted could not be written; trying on");
                    complaint = error;
                }
            }
        }
        tokio::select! {
            biased;
            // Neither can end: this holds what sends them. If it did, the loop would only be slower.
            _ = view.changed() => {}
            _ = standing.changed() => {}
            () = core.wake.notified() => {}
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

async fn round(core: &Core, term: &mut Option<Term>) -> Result<(), StoreError> {
    let Some(leadership) = core.leadership() else {
        *term = None;
        return Ok(());
    };
    let term = match term {
        Some(term) if term.revision == leadership.revision() => term,
        _ => {
            // What was reported in an earlier term may be out of date.
            lock(&core.reports).clear();
            lock(&core.rates).clear();
            let revision = leadership.revision();
            tracing::info!(revision, "this nimbus leads");
            term.insert(Term { revision, began: Instant::now(), last: None, patience: Patience::default() })
        }
    };
    let began = Instant::now();
    let view = core.view.borrow().clone();
    if view.unbroken_since.is_none() || view.revision < leadership.revision() {
        return Ok(());
    }
    let is_settled = view.is_unbroken_for(core.options.lease) && term.began.elapsed() >= core.options.lease;
    if take_steps(core, &leadership, term, &view, is_settled).await? {
        core.wake.notify_one();
    } else {
        place(core, &leadership, term, &view, is_settled).await?;
    }
    core.measured.note_round(began.elapsed());
    Ok(())
}

/// Carries out what comes next in the lives of topologies; whether any was written.
async fn take_steps(
    core: &Core,
    leadership: &Leadership,
    term: &mut Term,
    view: &View,
    is_settled: bool,
) -> Result<bool, StoreError> {
    let now = Instant::now();
    lock(&core.reports).sweep(
        |supervisor| view.supervisors.contains_key(supervisor),
        |topology| view.topologies.contains_key(topology),
        now,
    );
    lock(&core.rates).sweep(|topology| view.topologies.contains_key(topology));
    term.patience.note(view, core.now_ms());
    let steps = {
        let reports = lock(&core.reports);
        let facts = facts::facts(view, &reports, &term.patience, is_settled, core);
        next_steps(&facts)
    };
    let mut has_written = false;
    for (id, step) in &steps {
        // A round of many writes is long while the store is slow; it is not stuck.
        core.health.reconciling.note();
        has_written |= apply::apply(core, leadership, view, id, step).await?;
    }
    let stepped = |id: &String| steps.iter().any(|(stepped, _)| stepped == id);
    for id in view.topologies.keys().filter(|id| !view.history.contains_key(*id) && !stepped(id)) {
        has_written |= apply::note_disks(core, leadership, view, id).await?;
    }
    Ok(has_written)
}

/// Decides which worker runs what, and writes what has changed.
async fn place(
    core: &Core,
    leadership: &Leadership,
    term: &mut Term,
    view: &View,
    is_settled: bool,
) -> Result<(), StoreError> {
    let cluster = facts::cluster_view(core, view, is_settled).await;
    if term.last.as_ref().is_none_or(|(known, _)| *known != cluster) {
        let began = Instant::now();
        let plan = schedule(&cluster);
        core.measured.note_schedule(began.elapsed());
        term.last = Some((cluster, plan));
    }
    let Some((cluster, plan)) = &term.last else { return Ok(()) };
    let shortfalls = plan.topologies.iter().filter_map(|(id, one)| Some((id.clone(), one.shortfall.clone()?)));
    *lock(&core.shortfalls) = shortfalls.collect();
    for (id, planned) in &plan.topologies {
        core.health.reconciling.note();
        match &planned.decision {
            Decision::Assign(next) => apply::assign(core, leadership, view, id, next).await?,
            Decision::Unchanged => {
                let is_settled = cluster.topologies.get(id).is_some_and(|topology| {
                    topology.is_rebalance_wanted
                        && topology.assignment.as_ref().is_none_or(|assignment| assignment.handovers.is_empty())
                });
                if is_settled {
                    apply::end_rebalance(core, leadership, view, id).await?;
                } else {
                    apply::refresh_addresses(core, leadership, view, id).await?;
                }
            }
            Decision::Unplaced => {}
        }
    }
    Ok(())
}
