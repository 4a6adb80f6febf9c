//! The way out: a supervisor that is told to go says so, and waits until its tasks have been moved away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::memory::Guarded;
use crate::shared::Shared;
use crate::view::View;

/// What a supervisor that leaves does next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// It goes, for this reason.
    Go(&'static str),
    /// It waits for this many workers of each topology.
    Wait(BTreeMap<String, usize>),
}

/// Says that this supervisor leaves, and waits until it may: nothing is assigned to it any more, nobody could take
/// what is, or the time is over.
pub(crate) async fn leave(shared: Arc<Shared>, views: watch::Receiver<Arc<View>>, within: Duration) {
    let until = shared.options.clock.now_ms().saturating_add(i64::try_from(within.as_millis()).unwrap_or(i64::MAX));
    shared.leave_by.send_replace(Some(until));
    let workers = shared.workers.subscribe();
    match timeout(within, may_go(&shared.options.id, views, workers)).await {
        Ok(reason) => tracing::info!("leaving: {reason}"),
        Err(_) => tracing::warn!("leaving: {} s are over", within.as_secs_f64()),
    }
}

async fn may_go(
    own: &str,
    mut views: watch::Receiver<Arc<View>>,
    mut workers: watch::Receiver<Vec<Guarded>>,
) -> &'static str {
    let mut told = None;
    loop {
        let next = next(own, &views.borrow_and_update(), &workers.borrow_and_update());
        match next {
            Next::Go(reason) => return reason,
            Next::Wait(waited) if told.as_ref() != Some(&waited) => {
                tracing::info!("leaving: waiting for {} to be moved away", shown(&waited));
                told = Some(waited);
            }
            Next::Wait(_) => {}
        }
        let changed = tokio::select! {
            biased;
            changed = views.changed() => changed,
            changed = workers.changed() => changed,
        };
        if changed.is_err() {
            return "nothing is left of this supervisor that could wait";
        }
    }
}

fn next(own: &str, view: &View, workers: &[Guarded]) -> Next {
    let mut waited: BTreeMap<String, usize> = BTreeMap::new();
    for topology in view.workers_on(own) {
        *waited.entry(topology.to_owned()).or_default() += 1;
    }
    let mut running: BTreeMap<&str, usize> = BTreeMap::new();
    for worker in workers {
        *running.entry(&worker.topology).or_default() += 1;
    }
    // Those that run are assigned here, or on their way out.
    for (topology, count) in running {
        let known = waited.entry(topology.to_owned()).or_default();
        *known = count.max(*known);
    }
    if waited.is_empty() {
        Next::Go("nothing is assigned to this supervisor")
    } else if !view.has_others_that_stay(own) {
        Next::Go("no other supervisor could take what runs here")
    } else {
        Next::Wait(waited)
    }
}

/// `2 workers of word-count-1, 1 worker of orders-2`
fn shown(waited: &BTreeMap<String, usize>) -> String {
    let each = waited.iter().map(|(topology, count)| {
        let workers = if *count == 1 { "worker" } else { "workers" };
        format!("{count} {workers} of {topology}")
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use galerna_coordination::keys::Registration;
    use galerna_protocol::{AssignedWorker, Assignment, Handover, WorkerId};

    use super::*;
    use crate::view::{Dated, Seen};

    fn view(assigned: &[(&str, &str, u32)], supervisors: &[(&str, bool)]) -> View {
        let mut view = View { is_live: true, ..View::default() };
        for (topology, supervisor, slot) in assigned {
            let seen = Arc::make_mut(view.topologies.entry((*topology).to_owned()).or_default());
            let assignment = seen.assignment.get_or_insert_default();
            let id = Some(WorkerId::new((*supervisor).to_owned(), *slot));
            assignment.value.workers.push(AssignedWorker { id, ..AssignedWorker::default() });
        }
        for (id, is_leaving) in supervisors {
            let registration = Registration { is_leaving: *is_leaving, ..Registration::default() };
            view.supervisors.insert((*id).to_owned(), registration);
        }
        view
    }

    fn running(workers: &[(&str, u32)]) -> Vec<Guarded> {
        let worker = |(topology, slot): &(&str, u32)| Guarded {
            topology: (*topology).to_owned(),
            id: WorkerId::new("s", *slot),
            incarnation: 1,
            pid: 1,
            share: None,
        };
        workers.iter().map(worker).collect()
    }

    fn waits(next: Next) -> String {
        match next {
            Next::Wait(waited) => shown(&waited),
            Next::Go(reason) => format!("goes: {reason}"),
        }
    }

    #[test]
    fn it_waits_for_what_is_assigned_or_runs_while_somebody_could_take_it() {
        let both = [("s", true), ("t", false)];
        let alone = "goes: no other supervisor could take what runs here";
        let done = "goes: nothing is assigned to this supervisor";
        let table: [(View, Vec<Guarded>, &str); 7] = [
            (view(&[("a-1", "t", 1)], &both), running(&[]), done),
            (view(&[("a-1", "s", 1), ("a-1", "s", 2)], &both), running(&[("a-1", 1)]), "2 workers of a-1"),
            (view(&[("a-1", "t", 1)], &both), running(&[("a-1", 1), ("b-2", 2)]), "1 worker of a-1, 1 worker of b-2"),
            (view(&[("a-1", "s", 1)], &[("s", true)]), running(&[("a-1", 1)]), alone),
            (view(&[("a-1", "s", 1)], &[("s", true), ("t", true)]), running(&[("a-1", 1)]), alone),
            (view(&[], &[]), running(&[]), done),
            (view(&[("a-1", "s", 1)], &both), running(&[("a-1", 1)]), "1 worker of a-1"),
        ];
        for (at, (view, workers, expected)) in table.iter().enumerate() {
            assert_eq!(waits(next("s", view, workers)), *expected, "row {at}");
        }
    }

    #[test]
    fn a_worker_that_is_still_to_hand_over_counts_as_assigned() {
        let handovers = vec![Handover { tasks: vec![1], from: Some(WorkerId::new("s", 1)) }];
        let worker = AssignedWorker { id: Some(WorkerId::new("t", 1)), ..AssignedWorker::default() };
        let assignment = Assignment { generation: 2, workers: vec![worker], handovers };
        let seen = Seen { assignment: Some(Dated { value: assignment, modified: 1 }), ..Seen::default() };
        let mut view = view(&[], &[("t", false)]);
        view.topologies.insert("a-1".to_owned(), Arc::new(seen));
        assert_eq!(waits(next("s", &view, &[])), "1 worker of a-1");
    }
}
