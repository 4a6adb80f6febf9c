//! Rates of the last seconds and minutes: the differences between successive reports, as the leader receives them.
//!
//! A report has the counts of a worker since the start, and the uptime on the worker's clock. `Rates` spreads the difference
//! between two reports over the time between two uptimes, so late and repeated reports distort no rate. Counts from before
//! the first report of a supervisor to this leader belong to no window; each window has its true length.

mod series;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use galerna_protocol::{SupervisorReport, TopologySpec, WorkerId, WorkerReport, WorkerState};
use tokio::time::Instant;

use series::Series;
use tally::{Tallies, tallies};

pub(crate) use series::Sum;
pub(crate) use tally::Tally;

/// The length of the short window.
pub(crate) const SHORT: u64 = 10;
/// The length of the long window.
pub(crate) const LONG: u64 = 600;

/// One launch of a worker of a topology.
type Launch = (String, WorkerId, u64);

/// The rates of all topologies, since this Nimbus leads.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Times are seconds since the first report.
    began: Option<Instant>,
    /// Supervisors that have reported. Every launch in a later report is new.
    heard: BTreeSet<String>,
    launches: BTreeMap<Launch, Counted>,
    series: BTreeMap<String, Series>,
}

/// The latest report of a launch.
#[derive(Debug)]
struct Counted {
    totals: Tallies,
    /// The worker's uptime in seconds; `None` from workers of earlier versions.
    uptime: Option<f64>,
    /// The start of the worker: the earliest estimate, because reports are delayed but never early.
    started: f64,
    /// The end of the time that the counts cover.
    covered: f64,
    taken_at: Instant,
    is_live: bool,
}

impl Rates {
    /// Adds the counts since the last report of this supervisor. `spec_of` finds the specification of a topology.
    pub(crate) fn take<'a>(
        &mut self,
        report: &SupervisorReport,
        now: Instant,
        spec_of: impl Fn(&str) -> Option<&'a TopologySpec>,
    ) {
        let time = self.seconds(now);
        let is_known = !self.heard.insert(report.supervisor.clone());
        let mut reported = BTreeSet::new();
        for worker in &report.workers {
            let Some((id, spec)) = worker.id.as_ref().zip(spec_of(&worker.topology_id)) else { continue };
            let launch = (worker.topology_id.clone(), id.clone(), worker.incarnation);
            let totals = tallies(spec, worker);
            match self.launches.contains_key(&launch) {
                true => self.goes_on(&launch, worker, totals, (now, time)),
                false => self.begins(&launch, worker, totals, (now, time), is_known),
            }
            reported.insert(launch);
        }
        self.launches.retain(|launch, _| launch.1.supervisor != report.supervisor || reported.contains(launch));
    }

    fn seconds(&mut self, now: Instant) -> f64 {
        now.saturating_duration_since(*self.began.get_or_insert(now)).as_secs_f64()
    }

    /// Takes the first report of a launch. `is_new`: the launch started after an earlier report of the supervisor.
    fn begins(
        &mut self,
        launch: &Launch,
        worker: &WorkerReport,
        totals: Tallies,
        (now, time): (Instant, f64),
        is_new: bool,
    ) {
        let uptime = uptime(worker);
        let is_live = worker.state() != WorkerState::Gone;
        let started = time - uptime.unwrap_or(1.0);
        let series = self.series.entry(launch.0.clone());
        if is_new {
            // The estimate may lie before time 0; that share of the counts belongs to no slot.
            series.or_insert_with(|| Series::new(started.max(0.0))).add(started, time, &totals);
        } else if is_live {
            // The launch may have counted at any time before now.
            series.or_insert_with(|| Series::new(time)).restart(time);
        }
        self.launches
            .insert(launch.clone(), Counted { totals, uptime, started, covered: time, taken_at: now, is_live });
    }

    fn goes_on(&mut self, launch: &Launch, worker: &WorkerReport, totals: Tallies, (now, time): (Instant, f64)) {
        let Some(known) = self.launches.get_mut(launch) else { return };
        // Supervisors add the counts of old launches to the reports of ended launches.
        if !known.is_live {
            return;
        }
        known.is_live = worker.state() != WorkerState::Gone;
        let uptime = uptime(worker);
        if uptime.is_some() && uptime <= known.uptime {
            return;
        }
        if let Some(uptime) = uptime {
            known.started = known.started.min(time - uptime);
        }
        let until = uptime.map_or(time, |uptime| known.started + uptime).max(known.covered);
        let series = self.series.entry(launch.0.clone()).or_insert_with(|| Series::new(known.covered));
        series.add(known.covered, until, &tally::difference(&totals, &known.totals));
        (known.totals, known.uptime, known.covered, known.taken_at) = (totals, uptime, until, now);
    }

    /// Forgets everything, for a new term.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets removed topologies.
    pub(crate) fn sweep(&mut self, is_living: impl Fn(&str) -> bool) {
        self.launches.retain(|(topology, ..), _| is_living(topology));
        self.series.retain(|topology, _| is_living(topology));
    }

    /// The counts of a topology in the last `length` seconds; `None` before one second was watched. The window does not wait
    /// for workers whose latest report is older than `age`.
    pub(crate) fn over(&self, topology: &str, length: u64, now: Instant, age: Duration) -> Option<Sum> {
        let time = now.saturating_duration_since(self.began?).as_secs_f64();
        let of_topology = self.launches.iter().filter(|((of, ..), _)| of == topology).map(|(_, counted)| counted);
        let fresh = of_topology.filter(|one| one.is_live && now.saturating_duration_since(one.taken_at) <= age);
        let until = fresh.map(|counted| counted.covered).reduce(f64::min).unwrap_or(time - 1.0);
        self.series.get(topology)?.sum(until, length)
    }
}

fn uptime(worker: &WorkerReport) -> Option<f64> {
    (worker.uptime_ms > 0).then(|| worker.uptime_ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
