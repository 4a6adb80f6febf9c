//! What follows when a worker's process has ended.

use std::time::Duration;

use galerna_protocol::{EndCause, Order, WorkerEnd, WorkerState};
use tokio::time::Instant;

use super::Keeper;
use super::slot::Standing;
use crate::decide::is_final;
use crate::launcher::Exit;
use crate::logs;
use crate::records::Record;

/// How a worker exits that has learnt that it was replaced.
const FENCED: i32 = 4;

/// SIGKILL.
const KILLED: i32 = 9;

/// What is known of a worker's end, beside how its process has ended.
#[derive(Debug, Default)]
pub(super) struct End {
    /// For people.
    pub(super) why: String,
    /// How long it was up.
    pub(super) up: Duration,
    /// Whether it was asked to end.
    pub(super) was_asked: bool,
    /// Why it was ended, if it did not end by itself.
    pub(super) cause: EndCause,
    /// Whether it was killed by this daemon.
    pub(super) was_killed: bool,
}

impl Keeper {
    /// A process is gone: its report is closed, and its slot is free, or done with for good.
    pub(super) fn note_exit(&mut self, number: u32, incarnation: u64, exit: Exit) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let Standing::Running(worker) = &slot.standing else { return };
        if worker.record.incarnation != incarnation {
            return;
        }
        let Standing::Running(worker) = std::mem::take(&mut slot.standing) else { return };
        let now = Instant::now();
        let up = now.saturating_duration_since(worker.since);
        let was_killed = exit.signal == Some(KILLED) || !exit.is_known();
        let by_kernel = if was_killed && !worker.is_killed { self.shared.of_kill(now) } else { None };
        let by_kernel = by_kernel.map(|why| (EndCause::OutOfMemory, why));
        let (cause, why) = worker.why.or(by_kernel).unwrap_or_else(|| (EndCause::Unspecified, exit.to_string()));
        let end = End { up, was_asked: worker.asked_at.is_some(), was_killed: worker.is_killed, cause, why };
        self.close(worker.record, exit, end);
    }

    /// The same for one that runs no more, whether that was seen or not.
    pub(super) fn close(&mut self, mut record: Record, exit: Exit, end: End) {
        let End { why, up, was_asked, was_killed, cause } = end;
        let number = record.slot;
        let order = self.wanted.get(&number).filter(|it| it.topology == record.topology).map(|it| it.order);
        let key = record.key();
        let had_ended = self
            .shared
            .reports()
            .of(&key)
            .is_some_and(|report| matches!(report.state(), WorkerState::Drained | WorkerState::Finished));
        let is_final = is_final(order.unwrap_or(Order::Unspecified), exit.code, exit.is_known(), had_ended);
        let may_lack_counts = exit.code != Some(0) && (exit.is_known() || !had_ended);
        let log = logs::path_of(&self.shared.folders.logs(), &record.topology, number);
        let words = logs::last_words(&log, record.log_start);
        let unix_ms = self.shared.options.clock.now_ms();
        // A worker that learnt that it was replaced exits as intended.
        let is_unexpected = !is_final && !was_asked && order.is_some() && exit.code != Some(FENCED);
        let end = is_unexpected.then(|| WorkerEnd {
            worker: Some(self.worker_id(number)),
            incarnation: record.incarnation,
            pid: record.identity.as_ref().map_or(0, |identity| identity.pid),
            unix_ms,
            exit_code: exit.code,
            // Nobody sees how an adopted worker ends, but the supervisor knows whether it killed the worker.
            signal: exit.signal.or((was_killed && !exit.is_known()).then_some(KILLED)),
            cause: cause.into(),
            reason: why.clone(),
            last_lines: words.clone(),
            up_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
        });
        let message =
            if words.is_empty() || exit.code == Some(0) { why } else { format!("{why}; its last lines:\n{words}") };
        self.shared.reports().note_exit(&key, message.clone(), may_lack_counts, end);
        self.shared.news.notify_one();
        let slot = self.slots.entry(number).or_default();
        slot.topology.clone_from(&record.topology);
        if is_final {
            tracing::info!("the worker of {} in slot {number} has ended", record.topology);
            slot.ended = Some(record.topology.clone());
            record.has_ended = true;
            if let Err(error) = self.records.save(&record) {
                tracing::warn!("that the worker in slot {number} has ended cannot be written down: {error}");
            }
            return;
        }
        self.records.remove(number);
        if was_asked || order.is_none() {
            tracing::info!("the worker of {} in slot {number} is gone", record.topology);
            return;
        }
        tracing::warn!("incarnation {} of {} in slot {number} {message}", record.incarnation, record.topology);
        if exit.code == Some(FENCED) {
            // It would be replaced again and again until a newer assignment is seen here as well.
            slot.fenced_at = self.wanted.get(&number).map(|wanted| wanted.modified);
            return;
        }
        slot.restarts.note_failure(up, Instant::now(), message, unix_ms, cause == EndCause::OutOfMemory);
    }
}
