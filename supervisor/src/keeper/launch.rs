//! How a worker is launched: its executable is got ready, it gets a number, it is written down, it starts.

use std::sync::Arc;

use galerna_protocol::{WorkerReport, WorkerState};
use tokio::sync::watch;
use tokio::time::Instant;

use super::slot::{Standing, Worker};
use super::{Keeper, Prepared};
use crate::launcher::Process;
use crate::liveness::Pulse;
use crate::logs;
use crate::records::Record;
use crate::view::Wanted;

impl Keeper {
    /// Has the executable fetched, if it is not there.
    pub(super) fn prepare(&mut self, number: u32) {
        let Some(wanted) = self.wanted.get(&number) else { return };
        let Some(artifact) = wanted.artifact().cloned() else { return };
        let topology = wanted.topology.clone();
        let shared = Arc::clone(&self.shared);
        let sources = self.views.borrow().sources(&shared.options.id);
        let prepared = Prepared { slot: number, topology: topology.clone(), program: Err(String::new()) };
        let task = self.preparations.spawn(async move {
            let program = shared.artifacts.ensure(&artifact, &sources).await;
            Prepared { program: program.map_err(|error| with_reasons(&error)), ..prepared }
        });
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.standing = Standing::Preparing { topology, task };
        }
    }

    /// The executable is ready: starts the worker.
    pub(super) async fn note_prepared(&mut self, prepared: Prepared) {
        let number = prepared.slot;
        let Some(slot) = self.slots.get_mut(&number) else { return };
        if !matches!(&slot.standing, Standing::Preparing { topology, .. } if *topology == prepared.topology) {
            return;
        }
        slot.standing = Standing::Empty;
        let Some(wanted) = self.wanted.get(&number).filter(|it| it.topology == prepared.topology).cloned() else {
            return;
        };
        let launched = match prepared.program {
            Ok(program) => self.launch(number, &wanted, program).await,
            Err(message) => Err(message),
        };
        if let Err(message) = launched {
            tracing::warn!("{} cannot be launched in slot {number}: {message}", wanted.topology);
            let unix_ms = self.shared.options.clock.now_ms();
            if let Some(slot) = self.slots.get_mut(&number) {
                slot.restarts.note_failure(std::time::Duration::ZERO, Instant::now(), message, unix_ms, false);
            }
        }
    }

    async fn launch(&mut self, number: u32, wanted: &Wanted, program: std::path::PathBuf) -> Result<(), String> {
        let least = u64::try_from(*self.shared.registered.borrow()).unwrap_or_default();
        let incarnation = self.records.next_incarnation(least).map_err(|error| error.to_string())?;
        let topology = wanted.topology.clone();
        let folders = &self.shared.folders;
        let log = logs::path_of(&folders.logs(), &topology, number);
        let mut record = Record {
            slot: number,
            incarnation,
            identity: None,
            program,
            arguments: self.arguments(&topology, number, incarnation, &log.to_string_lossy()),
            log_start: std::fs::metadata(&log).map_or(0, |metadata| metadata.len()),
            launched_unix_ms: self.shared.options.clock.now_ms(),
            has_attached: false,
            has_ended: false,
            topology,
        };
        // Written down before and after, so that a killed daemon finds it whenever that happens.
        self.records.save(&record).map_err(|error| error.to_string())?;
        let launch = record.launch(folders.work().join(&record.topology).join(number.to_string()), log);
        let process = self.shared.options.launcher.launch(&launch).await.map_err(|error| {
            self.records.remove(number);
            format!("{} cannot be started: {error}", launch.program.display())
        })?;
        record.identity = Some(process.identity.clone());
        if let Err(error) = self.records.save(&record) {
            tracing::warn!("what runs in slot {number} cannot be written down: {error}");
        }
        let pid = process.identity.pid;
        tracing::info!("launched incarnation {incarnation} of {} in slot {number}, process {pid}", record.topology);
        self.shared.reports().begin(record.key(), self.first_report(&record, pid));
        self.shared.health.note_launch(&record.topology);
        self.shared.news.notify_one();
        self.keep(record, process, watch::Sender::new(wanted.plan.clone()), Pulse::default());
        Ok(())
    }

    /// Has the process stand in its slot, and watches it.
    pub(super) fn keep(
        &mut self,
        record: Record,
        process: Process,
        plan: watch::Sender<galerna_protocol::WorkerPlan>,
        pulse: Pulse,
    ) {
        let now = Instant::now();
        let (number, incarnation) = (record.slot, record.incarnation);
        let Process { control, exit, .. } = process;
        self.exits.spawn(async move { (number, incarnation, exit.await) });
        let slot = self.slots.entry(number).or_default();
        slot.topology.clone_from(&record.topology);
        slot.ended = None;
        slot.standing = Standing::Running(Box::new(Worker {
            unattached_since: (!record.has_attached).then_some(now),
            record,
            control,
            since: now,
            asked_at: None,
            is_killed: false,
            why: None,
            pulse,
            share: None,
            plan,
        }));
    }

    pub(super) fn first_report(&self, record: &Record, pid: u32) -> WorkerReport {
        WorkerReport {
            topology_id: record.topology.clone(),
            id: Some(self.worker_id(record.slot)),
            incarnation: record.incarnation,
            pid,
            state: WorkerState::Starting.into(),
            started_unix_ms: record.launched_unix_ms,
            ..WorkerReport::default()
        }
    }

    fn arguments(&self, topology: &str, slot: u32, incarnation: u64, log: &str) -> Vec<String> {
        let own = self.shared.address_for_workers();
        let host = self.shared.listens.ip();
        let listen = u16::try_from(slot)
            .map_or_else(|_| format!("{host}:0"), |port| std::net::SocketAddr::new(host, port).to_string());
        let options = [
            ("--supervisor", own.to_string()),
            ("--id", self.shared.options.id.clone()),
            ("--topology", topology.to_owned()),
            ("--slot", slot.to_string()),
            ("--incarnation", incarnation.to_string()),
            ("--listen", listen),
            ("--advertise", self.shared.options.advertise.clone()),
            ("--log", log.to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        std::iter::once("worker".to_owned()).chain(options).collect()
    }
}

/// An error with what it came from.
fn with_reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
