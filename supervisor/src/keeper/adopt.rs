//! The beginning: workers that an earlier start of this daemon has launched are found again.

use std::sync::Arc;

use galerna_protocol::{EndCause, WorkerPlan};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exits::End;
use super::{Command, Keeper};
use crate::launcher::{Exit, Process};
use crate::liveness::Pulse;
use crate::logs;
use crate::records::{Record, Records};
use crate::shared::Shared;
use crate::view::View;

impl Keeper {
    /// Adopts what still runs, and closes the reports of what does not.
    pub(crate) fn new(
        shared: Arc<Shared>,
        views: watch::Receiver<Arc<View>>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let reported = shared.reports().all().iter().map(|report| report.incarnation).max().unwrap_or_default();
        let folders = &shared.folders;
        let (records, found) = Records::load(&folders.workers(), &folders.incarnation(), reported);
        let mut keeper = Self {
            shared,
            views,
            commands,
            records,
            slots: Default::default(),
            wanted: Default::default(),
            looked_at: Instant::now(),
            preparations: JoinSet::new(),
            exits: JoinSet::new(),
        };
        keeper.wanted = keeper.views.borrow().wanted(&keeper.shared.options.id);
        for record in found.into_values() {
            keeper.find_again(record);
        }
        keeper.close_strays();
        keeper.take_view();
        keeper
    }

    fn find_again(&mut self, mut record: Record) {
        let number = record.slot;
        if record.has_ended {
            self.slots.entry(number).or_default().ended = Some(record.topology);
            return;
        }
        // The record is written before the report; what is not reported would not be missed in the counts.
        if self.shared.reports().of(&record.key()).is_none() {
            let pid = record.identity.as_ref().map_or(0, |identity| identity.pid);
            let report = self.first_report(&record, pid);
            self.shared.reports().begin(record.key(), report);
        }
        let Some(process) = self.process_of(&record) else {
            let for_memory = self.shared.earlier_end.clone();
            let cause = if for_memory.is_some() { EndCause::OutOfMemory } else { EndCause::Unspecified };
            let why = for_memory.unwrap_or_else(|| "ended while its supervisor was away".to_owned());
            self.close(record, Exit::default(), End { why, cause, ..End::default() });
            return;
        };
        let pid = process.identity.pid;
        tracing::info!(
            "adopted incarnation {} of {} in slot {number}, process {pid}",
            record.incarnation,
            record.topology
        );
        record.identity = Some(process.identity.clone());
        if let Err(error) = self.records.save(&record) {
            tracing::warn!("what runs in slot {number} cannot be written down: {error}");
        }
        let wanted = self.wanted.get(&number).filter(|it| it.topology == record.topology);
        let plan = wanted.map_or_else(WorkerPlan::default, |wanted| wanted.plan.clone());
        // One that had not attached yet has the time of a launch for it.
        let pulse = if record.has_attached { Pulse::expected() } else { Pulse::default() };
        self.keep(record, process, watch::Sender::new(plan), pulse);
    }

    fn process_of(&self, record: &Record) -> Option<Process> {
        let launcher = &self.shared.options.launcher;
        match &record.identity {
            Some(identity) => launcher.adopt(identity),
            None => {
                let folders = &self.shared.folders;
                let log = logs::path_of(&folders.logs(), &record.topology, record.slot);
                let directory = folders.work().join(&record.topology).join(record.slot.to_string());
                launcher.adopt(&launcher.find(&record.launch(directory, log))?)
            }
        }
    }

    /// Reports of workers that are said to live, of which nothing else is known any more.
    fn close_strays(&mut self) {
        let mut reports = self.shared.reports();
        for key in reports.all_living() {
            let lives = self.slots.get_mut(&key.slot).and_then(|slot| slot.worker().map(|worker| worker.record.key()));
            if lives.as_ref() != Some(&key) {
                reports.note_exit(&key, "its supervisor has lost sight of it".to_owned(), true, None);
            }
        }
    }
}
