//! Starts topologies.

use std::collections::BTreeMap;

use galerna_coordination::keys::{Desired, Status as Wanted};
use galerna_coordination::{Condition, Leadership, Transaction};
use galerna_protocol::{Artifact, SubmitReply, SubmitRequest, TopologySpec};
use tonic::{Code, Status};

use crate::artifact::check_platforms;
use crate::core::{Core, store_status};
use crate::spec::check_spec;

impl Core {
    pub(super) async fn submit(&self, leadership: &Leadership, request: SubmitRequest) -> Result<SubmitReply, Status> {
        let Some(spec) = request.spec else { return Err(Status::invalid_argument("no topology is named")) };
        let settings = check_spec(&spec).map_err(Status::invalid_argument)?;
        self.check_is_free(&spec.name)?;
        let notes = self.prepare(&spec).await?;
        let desired = Desired {
            status: if request.is_inactive { Wanted::Inactive } else { Wanted::Active },
            submitted_unix_ms: self.now_ms(),
            workers: settings.workers,
            ..Desired::default()
        };
        let topology_id = self.put_topology(leadership, &spec, &desired).await?;
        tracing::info!(topology = topology_id, "was submitted");
        Ok(SubmitReply { topology_id, notes })
    }

    /// Everything that submitting it does before it has the name.
    pub(super) async fn check(&self, request: SubmitRequest) -> Result<SubmitReply, Status> {
        let Some(spec) = request.spec else { return Err(Status::invalid_argument("no topology is named")) };
        check_spec(&spec).map_err(Status::invalid_argument)?;
        let notes = self.prepare(&spec).await?;
        Ok(SubmitReply { topology_id: String::new(), notes })
    }

    /// Has every living Nimbus have its artifact, which must be one that can run; notes about that.
    async fn prepare(&self, spec: &TopologySpec) -> Result<Vec<String>, Status> {
        let Some(artifact) = &spec.artifact else { return Err(Status::invalid_argument("no artifact is named")) };
        self.ensure_artifact(artifact).await.map_err(|error| match error.code() {
            Code::NotFound => Status::failed_precondition(format!("{}; upload it first", error.message())),
            _ => error,
        })?;
        let mut notes = self.check_platform(artifact).await?;
        notes.extend(self.replicate(artifact).await);
        if artifact.is_debug {
            notes.push("this is a debug build, which is slow; build with --release".to_owned());
        }
        Ok(notes)
    }

    fn check_is_free(&self, name: &str) -> Result<(), Status> {
        let (is_taken, is_id) = {
            let view = self.view.borrow();
            (view.names.contains_key(name), view.topology(name).is_some())
        };
        if is_id {
            // A command that names it would mean one of two topologies.
            return Err(Status::already_exists(format!("`{name}` is the id of a topology; take another name")));
        }
        if is_taken { Err(self.taken(name)) } else { Ok(()) }
    }

    /// Why a name cannot be had, and what helps.
    fn taken(&self, name: &str) -> Status {
        let view = self.view.borrow();
        let Some(topology) = view.names.get(name).and_then(|id| view.topology(&id.value)) else {
            return Status::already_exists(format!(
                "a topology named `{name}` is already there; it was submitted or removed a moment ago"
            ));
        };
        let (id, desired) = (&topology.id, &topology.desired.value);
        Status::already_exists(match desired.status {
            Wanted::Killed => {
                let left =
                    desired.kill_deadline_unix_ms.saturating_sub(self.now_ms()).max(0).saturating_add(999) / 1000;
                format!(
                    "a topology named `{name}` is still draining: {id} was killed, and may take up to {left} s more; \
                     `submit --wait` waits for its end"
                )
            }
            Wanted::Finished => {
                format!("a topology named `{name}` is already there: {id} has FINISHED; `kill {name}` frees the name")
            }
            Wanted::Active | Wanted::Inactive => {
                format!("a topology named `{name}` is already there: {id}; kill it first, or take another name")
            }
        })
    }

    /// Notes about the platform.
    async fn check_platform(&self, artifact: &Artifact) -> Result<Vec<String>, Status> {
        let needs = self.needs_of(&artifact.sha256).await?;
        let supervisors = self.view.borrow().supervisors.clone();
        let platforms: BTreeMap<_, _> =
            supervisors.into_iter().map(|(id, one)| (id, one.value.platform.clone())).collect();
        check_platforms(&artifact.program, &needs, &platforms).map_err(Status::failed_precondition)?;
        let is_alone = platforms.is_empty();
        Ok(is_alone.then(|| "no supervisor is there yet; it starts when one is".to_owned()).into_iter().collect())
    }

    /// All of it at once, or nothing: of two of one name, one wins.
    async fn put_topology(
        &self,
        leadership: &Leadership,
        spec: &TopologySpec,
        desired: &Desired,
    ) -> Result<String, Status> {
        let internal = |error| store_status(&error);
        // Revisions only grow, so that no later topology of this name gets the same.
        let revision = self.view.borrow().revision;
        let id = format!("{}-{revision}", spec.name);
        let keys = &self.keys;
        let transaction = Transaction::new()
            .when(leadership.condition())
            .when(Condition::Absent(keys.name(&spec.name)))
            .when(Condition::Absent(keys.spec(&id)))
            .when(Condition::Absent(keys.ended(&id)))
            .put_json(keys.name(&spec.name), &id)
            .and_then(|transaction| transaction.put_json(keys.spec(&id), spec))
            .and_then(|transaction| transaction.put_json(keys.desired(&id), desired))
            .map_err(internal)?;
        let committed = self.commit(transaction).await.map_err(|error| match store_status(&error) {
            // It may have been carried out all the same.
            status if status.code() == Code::Unavailable => Status::unavailable(format!(
                "{error}; whether `{}` was submitted is not known: look at the list of topologies before trying again",
                spec.name
            )),
            status => status,
        });
        match committed? {
            Some(_) => Ok(id),
            None => {
                let is_taken = self.store.get(&keys.name(&spec.name)).await.map_err(internal)?.is_some();
                Err(if is_taken { self.taken(&spec.name) } else { lost() })
            }
        }
    }
}

/// What is answered when a transaction does not hold though nothing that it is about has changed.
pub(super) fn lost() -> Status {
    Status::unavailable("this nimbus has just stopped leading, or the topology changes at this moment; try again")
}
