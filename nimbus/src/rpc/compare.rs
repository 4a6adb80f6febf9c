//! What `apply` asks: how what is there differs from what is to be there, and whose it is.

use galerna_coordination::keys::Status as Wanted;
use galerna_coordination::{Condition, Leadership, Transaction};
use galerna_protocol::{ChangeReply, CompareReply, CompareRequest, Comparison, SetOwnerRequest, TopologySpec};
use tonic::Status;

use super::change::{ATTEMPTS, check_id, status_name, wait_ms};
use super::submit::lost;
use crate::core::{Core, store_status};
use crate::difference::difference;
use crate::spec::{check_owner, check_spec};
use crate::view::Topology;

impl Core {
    pub(super) fn compare(&self, request: &CompareRequest) -> Result<CompareReply, Status> {
        let Some(spec) = &request.spec else { return Err(Status::invalid_argument("no topology is named")) };
        check_spec(spec).map_err(Status::invalid_argument)?;
        let view = self.view.borrow();
        let Some(id) = view.names.get(&spec.name).map(|id| id.value.as_str()) else {
            return Ok(CompareReply { comparison: Comparison::Absent.into(), ..CompareReply::default() });
        };
        let Some(topology) = view.topology(id) else {
            // The rest of one that was removed half.
            let topology_id = id.to_owned();
            return Ok(CompareReply { comparison: Comparison::Ending.into(), topology_id, ..CompareReply::default() });
        };
        let desired = &topology.desired.value;
        let is_moving = view.assignments.get(id).is_some_and(|assignment| !assignment.value.handovers.is_empty());
        let (comparison, reasons) = compared(&topology, spec);
        let drain_ms = match desired.status {
            Wanted::Killed => desired.kill_deadline_unix_ms.saturating_sub(self.now_ms()),
            Wanted::Finished => 0,
            Wanted::Active | Wanted::Inactive => wait_ms(None, &topology),
        };
        Ok(CompareReply {
            comparison: comparison.into(),
            reasons,
            topology_id: topology.id.clone(),
            status: status_name(desired, is_moving).to_owned(),
            is_inactive: desired.status == Wanted::Inactive,
            owner: topology.spec.owner.clone(),
            failure: desired.failure.clone(),
            drain_ms: u64::try_from(drain_ms).unwrap_or(0),
        })
    }

    pub(super) async fn set_owner(
        &self,
        leadership: &Leadership,
        request: &SetOwnerRequest,
    ) -> Result<ChangeReply, Status> {
        check_owner(&request.owner).map_err(Status::invalid_argument)?;
        for _ in 0..ATTEMPTS {
            let topology = self.named(&request.name)?;
            check_id(&topology, &request.topology_id)?;
            let id = topology.id;
            let known = self.view.borrow().topologies.get(&id).and_then(|entry| entry.spec.clone());
            // It has gone between two looks.
            let Some(known) = known else { continue };
            if known.value.owner == request.owner {
                return Ok(ChangeReply { topology_id: id, notes: Vec::new() });
            }
            let key = self.keys.spec(&id);
            let next = TopologySpec { owner: request.owner.clone(), ..(*known.value).clone() };
            let transaction = Transaction::new()
                .when(leadership.condition())
                .when(Condition::Modified(key.clone(), known.modified))
                .put_json(key.clone(), &next)
                .map_err(|error| store_status(&error))?;
            if self.commit(transaction).await.map_err(|error| store_status(&error))?.is_some() {
                tracing::info!(topology = id, owner = request.owner, "has a new owner");
                return Ok(ChangeReply { topology_id: id, notes: Vec::new() });
            }
            self.see_what_came_first(&id, &key, known.modified).await?;
        }
        Err(lost())
    }
}

/// What would make the topology like this one, and why.
fn compared(topology: &Topology, spec: &TopologySpec) -> (Comparison, Vec<String>) {
    let difference = difference(&topology.spec, &topology.desired.value, spec);
    let comparison = match topology.desired.value.status {
        Wanted::Killed => return (Comparison::Ending, Vec::new()),
        _ if !difference.changes.is_empty() => Comparison::Changed,
        // In how many workers something ran that has finished makes no difference any more.
        Wanted::Finished => return (Comparison::Unchanged, Vec::new()),
        _ if !difference.scaling.is_empty() => Comparison::Scaled,
        _ => Comparison::Unchanged,
    };
    (comparison, difference.reasons())
}
