//! Assignments as they stand in the store and are told to workers.

use galerna_protocol as proto;

use super::{Assignment, Handover};

impl From<&proto::Assignment> for Assignment {
    /// Workers and handovers without an id are left out: there is no place that they could mean.
    fn from(stored: &proto::Assignment) -> Self {
        let workers = stored.workers.iter().filter_map(|worker| Some((worker.id.clone()?, worker.executors.clone())));
        let handovers = stored.handovers.iter();
        let handovers =
            handovers.filter_map(|one| Some(Handover { tasks: one.tasks.clone(), from: one.from.clone()? }));
        Self { generation: stored.generation, workers: workers.collect(), handovers: handovers.collect() }
    }
}

impl Assignment {
    /// The message. `reach` gives the host of a supervisor and `host:port` of its RPC.
    pub fn to_message(&self, mut reach: impl FnMut(&str) -> (String, String)) -> proto::Assignment {
        let worker = |(id, executors): (&proto::WorkerId, &Vec<proto::TaskRange>)| {
            let (host, supervisor_address) = reach(&id.supervisor);
            proto::AssignedWorker { id: Some(id.clone()), host, supervisor_address, executors: executors.clone() }
        };
        let workers = self.workers.iter().map(worker).collect();
        let handover = |one: &Handover| proto::Handover { tasks: one.tasks.clone(), from: Some(one.from.clone()) };
        proto::Assignment {
            generation: self.generation,
            workers,
            handovers: self.handovers.iter().map(handover).collect(),
        }
    }
}
