//! Changes what is wanted of topologies. Two changes at once are safe: each is written only if what
//! it was made from still stands, and made anew if not.

use std::time::Duration;

use galerna_coordination::keys::{Desired, Status as Wanted};
use galerna_coordination::{Condition, Leadership, Revision, Transaction};
use galerna_protocol::{ChangeReply, KillRequest, RebalanceRequest};
use galerna_topology_api::nearest;
use tonic::Status;

use super::submit::lost;
use crate::core::{Core, store_status};
use crate::spec::Settings;
use crate::view::Topology;

/// How often a change is made anew because another came first.
pub(super) const ATTEMPTS: usize = 10;
/// How long the removal of a topology that has finished is waited for.
const REMOVAL_WAIT: Duration = Duration::from_secs(2);

/// A change to what is wanted, with notes; `None` if nothing is to be changed.
type Changed = (Option<Desired>, Vec<String>);

/// All that may be shown as a status.
pub(crate) const STATUS_NAMES: [&str; 5] = ["ACTIVE", "INACTIVE", "REBALANCING", "KILLED", "FINISHED"];

/// How a status is shown.
pub(crate) fn status_name(desired: &Desired, is_moving: bool) -> &'static str {
    match desired.status {
        Wanted::Killed => "KILLED",
        Wanted::Finished => "FINISHED",
        _ if is_moving || desired.rebalance_deadline_unix_ms.is_some() => "REBALANCING",
        Wanted::Active => "ACTIVE",
        Wanted::Inactive => "INACTIVE",
    }
}

impl Core {
    pub(super) async fn kill(&self, leadership: &Leadership, request: &KillRequest) -> Result<ChangeReply, Status> {
        let now = self.now_ms();
        let reply = self.change(leadership, &request.name, |topology| {
            check_id(topology, &request.topology_id)?;
            let desired = &topology.desired.value;
            let wait = wait_ms(request.wait_secs, topology);
            let mut deadline = now.saturating_add(wait);
            let mut notes = Vec::new();
            match desired.status {
                Wanted::Finished => deadline = now,
                Wanted::Killed if desired.kill_deadline_unix_ms <= deadline => {
                    notes.push(format!("`{}` is being killed already", request.name));
                    return Ok((None, notes));
                }
                Wanted::Killed => {
                    notes.push(format!("`{}` is being killed already; it has less time now", request.name))
                }
                Wanted::Active | Wanted::Inactive => {}
            }
            let next = Desired {
                status: Wanted::Killed,
                kill_deadline_unix_ms: deadline,
                rebalance_deadline_unix_ms: None,
                ..(**desired).clone()
            };
            Ok((Some(next), notes))
        });
        let reply = reply.await?;
        let id = &reply.topology_id;
        let is_drained = !self.view.borrow().assignments.contains_key(id);
        if is_drained {
            let mut view = self.view.subscribe();
            let gone = view.wait_for(|view| !view.topologies.contains_key(id));
            // If it takes longer, it is gone a little later.
            let _ = tokio::time::timeout(REMOVAL_WAIT, gone).await;
        }
        Ok(reply)
    }

    pub(super) async fn set_active(
        &self,
        leadership: &Leadership,
        name: &str,
        is_active: bool,
    ) -> Result<ChangeReply, Status> {
        let status = if is_active { Wanted::Active } else { Wanted::Inactive };
        let word = if is_active { "activated" } else { "deactivated" };
        self.change(leadership, name, |topology| {
            let desired = &topology.desired.value;
            check_living(desired, name, word)?;
            if desired.status == status {
                return Ok((None, vec![format!("`{name}` is {} already", status_name(desired, false))]));
            }
            Ok((Some(Desired { status, ..(**desired).clone() }), Vec::new()))
        })
        .await
    }

    pub(super) async fn rebalance(
        &self,
        leadership: &Leadership,
        request: &RebalanceRequest,
    ) -> Result<ChangeReply, Status> {
        let now = self.now_ms();
        self.change(leadership, &request.name, |topology| {
            check_id(topology, &request.topology_id)?;
            let desired = &topology.desired.value;
            check_living(desired, &request.name, "rebalanced")?;
            let is_moving =
                self.view.borrow().assignments.get(&topology.id).is_some_and(|one| !one.value.handovers.is_empty());
            if is_moving || desired.rebalance_deadline_unix_ms.is_some() {
                let name = &request.name;
                return Err(Status::failed_precondition(format!("`{name}` is REBALANCING; wait until that is done")));
            }
            let mut next = (**desired).clone();
            check_rebalance(request, topology)?;
            next.workers = request.workers.unwrap_or(next.workers);
            next.executors.extend(request.executors.iter().map(|(id, executors)| (id.clone(), *executors)));
            next.rebalance_deadline_unix_ms = Some(now.saturating_add(wait_ms(request.wait_secs, topology)));
            Ok((Some(next), Vec::new()))
        })
        .await
    }

    /// Changes what is wanted, anew if something else has changed it meanwhile.
    async fn change(
        &self,
        leadership: &Leadership,
        name: &str,
        decide: impl Fn(&Topology) -> Result<Changed, Status>,
    ) -> Result<ChangeReply, Status> {
        for _ in 0..ATTEMPTS {
            let topology = self.named(name)?;
            let (next, notes) = decide(&topology)?;
            let reply = ChangeReply { topology_id: topology.id.clone(), notes };
            let Some(next) = next else { return Ok(reply) };
            let key = self.keys.desired(&topology.id);
            let transaction = Transaction::new()
                .when(leadership.condition())
                .when(Condition::Modified(key.clone(), topology.desired.modified))
                .put_json(key.clone(), &next)
                .map_err(|error| store_status(&error))?;
            if self.commit(transaction).await.map_err(|error| store_status(&error))?.is_some() {
                tracing::info!(topology = topology.id, status = ?next.status, "is changed");
                return Ok(reply);
            }
            self.see_what_came_first(&topology.id, &key, topology.desired.modified).await?;
        }
        Err(lost())
    }

    /// Waits until the watch has told the change because of which ours was not written.
    ///
    /// # Errors
    /// There was none: it was not written because we do not lead.
    pub(super) async fn see_what_came_first(&self, id: &str, key: &str, modified: Revision) -> Result<(), Status> {
        let entry = self.store.get(key).await.map_err(|error| store_status(&error))?;
        match entry {
            Some(entry) if entry.modified == modified => return Err(lost()),
            Some(entry) => _ = self.has_seen(entry.modified).await,
            None => {
                let mut view = self.view.subscribe();
                let gone = view.wait_for(|view| !view.topologies.contains_key(id));
                let _ = tokio::time::timeout(REMOVAL_WAIT, gone).await;
            }
        }
        Ok(())
    }
}

pub(super) fn wait_ms(wait_secs: Option<u32>, topology: &Topology) -> i64 {
    let wait = wait_secs.map(|seconds| Duration::from_secs(seconds.into()));
    let wait = wait.unwrap_or_else(|| Settings::of(&topology.spec).message_timeout);
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

/// A change may be meant for one topology and no later one of its name.
pub(super) fn check_id(topology: &Topology, id: &str) -> Result<(), Status> {
    if id.is_empty() || topology.id == id {
        return Ok(());
    }
    Err(Status::aborted(format!("`{}` is {} by now, not {id}", topology.spec.name, topology.id)))
}

fn check_living(desired: &Desired, name: &str, word: &str) -> Result<(), Status> {
    match desired.status {
        Wanted::Active | Wanted::Inactive => Ok(()),
        _ => Err(Status::failed_precondition(format!(
            "`{name}` is {}; only a topology that is ACTIVE or INACTIVE can be {word}",
            status_name(desired, false)
        ))),
    }
}

fn check_rebalance(request: &RebalanceRequest, topology: &Topology) -> Result<(), Status> {
    if let Some(workers) = request.workers.filter(|workers| *workers == 0 || *workers > 10_000) {
        return Err(Status::invalid_argument(format!("{workers} workers were asked for, expected 1 to 10000")));
    }
    for (id, executors) in &request.executors {
        let Some(component) = topology.spec.components.iter().find(|component| component.id == *id) else {
            let ids: Vec<&str> = topology.spec.components.iter().map(|component| component.id.as_str()).collect();
            let hint = match nearest(id, ids.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", ids.join(", ")),
            };
            let name = &request.name;
            return Err(Status::invalid_argument(format!("`{name}` has no component `{id}`; {hint}")));
        };
        if *executors == 0 || *executors > component.tasks {
            return Err(Status::invalid_argument(format!(
                "`{id}` has {} tasks, so that it can have 1 to {} executors, not {executors}; the number of tasks is \
                 fixed when a topology is submitted",
                component.tasks, component.tasks
            )));
        }
    }
    Ok(())
}
