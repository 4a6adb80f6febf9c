//! Tells how topologies and supervisors stand.

use galerna_coordination::keys::{self, Desired};
use galerna_protocol::{
    ComponentStats, DescribeReply, EndedSummary, ErrorReport, ErrorsReply, ExecutorSummary, ListReply, ListRequest,
    SupervisorSummary, SupervisorsReply, TopologySummary, WorkerSummary,
};
use tokio::time::Instant;
use tonic::Status;

use super::change::status_name;
use super::find::{Found, Past};
use crate::core::{Core, lock};
use crate::counts;
use crate::reports::Reports;
use crate::spec::shown;
use crate::stats;
use crate::view::{Topology, View};
use crate::workers;

fn seconds_since(then_unix_ms: i64, now_unix_ms: i64) -> u64 {
    match then_unix_ms {
        0 => 0,
        then => u64::try_from(now_unix_ms.saturating_sub(then)).unwrap_or(0) / 1000,
    }
}

/// The errors of a topology, causes first. Of one that has finished, those that are remembered if the supervisors that
/// reported them are gone.
fn errors_of(view: &View, reports: &Reports, id: &str) -> Vec<ErrorReport> {
    let errors = stats::errors(reports.of(id));
    match view.history.get(id).filter(|_| errors.is_empty()) {
        Some(record) => record.value.errors.clone(),
        None => errors,
    }
}

/// Errors that `describe` shows at most.
const SHOWN_ERRORS: usize = 10;

/// The errors that `describe` shows: causes come first.
fn first(mut errors: Vec<ErrorReport>) -> Vec<ErrorReport> {
    errors.truncate(SHOWN_ERRORS);
    errors
}

/// What is remembered of a topology that has ended.
fn describe_past(Past { id, record, notes }: Past) -> DescribeReply {
    DescribeReply {
        summary: Some(record.summary(&id)),
        generation: record.generation,
        components: record.components.iter().map(ComponentStats::from).collect(),
        are_counts_exact: record.are_counts_exact,
        failure: record.failure.clone(),
        errors: first(record.errors.clone()),
        ended_unix_ms: record.ended_unix_ms,
        notes,
        ..DescribeReply::default()
    }
}

impl Core {
    pub(super) fn list(&self, request: ListRequest) -> ListReply {
        let view = self.view.borrow();
        if request.is_ended {
            let ended = view.history.iter().map(|(id, record)| EndedSummary {
                summary: Some(record.value.summary(id)),
                ended_unix_ms: record.value.ended_unix_ms,
                failure: record.value.failure.clone(),
            });
            let mut ended: Vec<EndedSummary> = ended.collect();
            ended.sort_by_key(|one| std::cmp::Reverse(one.ended_unix_ms));
            return ListReply { topologies: Vec::new(), ended };
        }
        let reports = lock(&self.reports);
        let summary = |topology: Topology| {
            let mut summary = self.summary(&view, &reports, &topology);
            if request.with_rates && !topology.has_finished() {
                self.summarize_now(&reports, &topology, &mut summary);
            }
            summary
        };
        let mut topologies: Vec<TopologySummary> = view.whole_topologies().map(summary).collect();
        topologies.sort_by(|a, b| a.name.cmp(&b.name));
        ListReply { topologies, ended: Vec::new() }
    }

    fn summary(&self, view: &View, reports: &Reports, topology: &Topology) -> TopologySummary {
        let desired: &Desired = &topology.desired.value;
        let assignment = view.assignments.get(&topology.id).map(|assignment| &assignment.value);
        let until = view.history.get(&topology.id).map_or_else(|| self.now_ms(), |ended| ended.value.ended_unix_ms);
        let components = &topology.spec.components;
        let mut summary = TopologySummary {
            name: topology.spec.name.clone(),
            id: topology.id.clone(),
            status: status_name(desired, assignment.is_some_and(|one| !one.handovers.is_empty())).to_owned(),
            tasks: components.iter().map(|component| component.tasks).sum(),
            executors: components.iter().map(|component| stats::executors(component, desired)).sum(),
            workers: assignment.map_or(0, |assignment| assignment.workers.len() as u32),
            uptime_secs: seconds_since(desired.submitted_unix_ms, until),
            owner: topology.spec.owner.clone(),
            failure: desired.failure.clone(),
            ..TopologySummary::default()
        };
        // The workers of a topology that ends are on their way out.
        let is_ending = matches!(desired.status, keys::Status::Killed | keys::Status::Finished);
        if let Some(assignment) = assignment.filter(|_| !is_ending) {
            let current = reports.current(&topology.id, Instant::now(), self.freshness());
            workers::count_missing(&mut summary, assignment, &current);
        }
        summary
    }

    pub(super) fn describe(&self, name: &str) -> Result<DescribeReply, Status> {
        let topology = match self.find(name)? {
            Found::Living(topology) => topology,
            Found::Ended(past) => return Ok(describe_past(past)),
        };
        let view = self.view.borrow();
        let reports = lock(&self.reports);
        let assignment = view.assignments.get(&topology.id);
        let ended = view.history.get(&topology.id);
        let generation = assignment.map(|assignment| assignment.value.generation);
        // What has finished keeps its final counts, whoever reported them.
        let (components, are_exact) = match ended {
            Some(ended) => {
                let components = ended.value.components.iter().map(ComponentStats::from).collect();
                (components, ended.value.are_counts_exact)
            }
            None => (
                stats::component_stats(&topology.spec, &topology.desired.value, reports.of(&topology.id)),
                counts::are_exact(&view, &reports, &topology.id, Instant::now(), self.freshness()),
            ),
        };
        let (assigned, executors) = self.workers(&view, &reports, &topology);
        let mut reply = DescribeReply {
            summary: Some(self.summary(&view, &reports, &topology)),
            generation: generation.or(ended.map(|ended| ended.value.generation)).unwrap_or_default(),
            workers: assigned,
            components,
            are_counts_exact: are_exact,
            unscheduled: self.unscheduled(&reports, &topology),
            spec: Some(shown(&topology.spec)),
            failure: topology.desired.value.failure.clone(),
            executors,
            errors: first(errors_of(&view, &reports, &topology.id)),
            worker_ends: workers::ends(reports.of(&topology.id)),
            ended_unix_ms: ended.map_or(0, |ended| ended.value.ended_unix_ms),
            ..DescribeReply::default()
        };
        if ended.is_none() {
            self.describe_now(&view, &reports, &topology, &mut reply);
        }
        Ok(reply)
    }

    fn workers(
        &self,
        view: &View,
        reports: &Reports,
        topology: &Topology,
    ) -> (Vec<WorkerSummary>, Vec<ExecutorSummary>) {
        let now = self.now_ms();
        let current = reports.current(&topology.id, Instant::now(), self.freshness());
        let (mut summaries, mut executors) = (Vec::new(), Vec::new());
        let assigned = view.assignments.get(&topology.id).into_iter().flat_map(|assignment| &assignment.value.workers);
        for worker in assigned {
            let Some(id) = &worker.id else { continue };
            let report = current.get(id).copied().cloned().unwrap_or_default();
            let began = |task| report.tasks.iter().find(|one| one.task == task).map(|one| one.started_unix_ms);
            for range in &worker.executors {
                let component = stats::component_of(&topology.spec, range.first);
                executors.push(ExecutorSummary {
                    component: component.map(|component| component.id.clone()).unwrap_or_default(),
                    tasks: Some(*range),
                    worker: Some(id.clone()),
                    uptime_secs: seconds_since(began(range.first).unwrap_or(0), now),
                });
            }
            summaries.push(WorkerSummary {
                id: Some(id.clone()),
                pid: report.pid,
                incarnation: report.incarnation,
                tasks: worker.executors.iter().map(|range| range.count()).sum(),
                uptime_secs: seconds_since(report.started_unix_ms, now),
                address: report.address,
                state: report.state,
                generation: report.generation,
                restarts: workers::restarts(reports.of(&topology.id), id),
            });
        }
        executors.sort_by_key(|executor| executor.tasks);
        (summaries, executors)
    }

    /// Why something is not scheduled, or does not stay up.
    fn unscheduled(&self, reports: &Reports, topology: &Topology) -> Vec<String> {
        let id = &topology.id;
        let mut reasons: Vec<String> = lock(&self.shortfalls).get(id).cloned().into_iter().collect();
        if let Some(artifact) = topology.spec.artifact.as_ref().filter(|_| !topology.has_finished()) {
            reasons.extend(lock(&self.lacks).as_ref().and_then(|lacks| lacks.get(&artifact.sha256)).cloned());
        }
        for (supervisor, failure) in reports.failures(id) {
            let (slot, attempts, message) = (failure.slot, failure.attempts, failure.message.trim_end());
            reasons.push(format!("worker {supervisor}:{slot} does not stay up ({attempts} attempts): {message}"));
        }
        reasons
    }

    pub(super) fn errors(&self, name: &str) -> Result<ErrorsReply, Status> {
        let topology = match self.find(name)? {
            Found::Living(topology) => topology,
            Found::Ended(past) => {
                let (errors, notes) = (past.record.errors.clone(), past.notes);
                return Ok(ErrorsReply { errors, notes, ..ErrorsReply::default() });
            }
        };
        let view = self.view.borrow();
        let reports = lock(&self.reports);
        let errors = errors_of(&view, &reports, &topology.id);
        Ok(ErrorsReply { errors, worker_ends: workers::ends(reports.of(&topology.id)), notes: Vec::new() })
    }

    pub(super) fn supervisors(&self) -> SupervisorsReply {
        let view = self.view.borrow();
        let now = self.now_ms();
        let used = |supervisor: &str| {
            let workers = view.assignments.values().flat_map(|assignment| &assignment.value.workers);
            workers.filter(|worker| worker.id.as_ref().is_some_and(|id| id.supervisor == supervisor)).count() as u32
        };
        let supervisors = view.supervisors.iter().map(|(id, registration)| {
            let registration = &registration.value;
            SupervisorSummary {
                id: id.clone(),
                address: registration.address(),
                slots: registration.slots.len() as u32,
                used: used(id),
                uptime_secs: seconds_since(registration.started_unix_ms, now),
                platform: Some(registration.platform.clone()),
                is_leaving: registration.is_leaving,
                cpu: registration.cpu,
                memory_mb: registration.memory_mb,
            }
        });
        SupervisorsReply { supervisors: supervisors.collect() }
    }
}
