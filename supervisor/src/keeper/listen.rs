//! Which workers are heard, and what follows for those that are not.

use galerna_protocol::EndCause;
use tokio::time::Instant;

use super::Keeper;
use super::slot::{Standing, Worker};
use crate::decide::Fault;
use crate::liveness::is_shown;
use crate::options::Options;

impl Keeper {
    /// Takes in who has sent heartbeats since the last look, and shows who has not for long.
    pub(super) fn look_at_pulses(&mut self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(std::mem::replace(&mut self.looked_at, now));
        let timeout = self.shared.options.worker_timeout;
        let mut reports = self.shared.reports();
        let mut is_news = false;
        for (number, slot) in &mut self.slots {
            let Some(worker) = slot.worker() else { continue };
            let key = worker.record.key();
            worker.pulse.look(reports.heartbeats(&key), since);
            let silence = worker.pulse.silence();
            let is_silent = is_shown(silence, timeout);
            if reports.set_silent(&key, is_silent) {
                is_news = true;
                let (topology, incarnation) = (&key.topology, key.incarnation);
                if is_silent {
                    let secs = silence.as_secs();
                    tracing::warn!(
                        "incarnation {incarnation} of {topology} in slot {number} has sent no heartbeat for {secs} s"
                    );
                } else {
                    tracing::info!("incarnation {incarnation} of {topology} in slot {number} sends heartbeats again");
                }
            }
        }
        drop(reports);
        if is_news {
            self.shared.news.notify_one();
        }
    }

    pub(super) fn has_workers(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot.standing, Standing::Running(_)))
    }
}

/// Kills a worker, and records the reason if the fault is the worker's own.
pub(super) fn end_for(worker: &mut Worker, fault: Fault, options: &Options) {
    match fault {
        Fault::Overdue => worker.kill(),
        Fault::Unattached => {
            let within = options.attach_within.as_secs_f64();
            worker.kill_for(EndCause::NotAttached, format!("it did not attach within {within} s and was killed"));
        }
        Fault::Silent => {
            let secs = worker.pulse.silence().as_secs_f64().round();
            worker.kill_for(EndCause::NotResponding, format!("it sent no heartbeat for {secs} s and was killed"));
        }
    }
}
