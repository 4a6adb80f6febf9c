//! Following a topology of the sequence check while things happen to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::SequenceLog;
use crate::bound::{bound, secs, within};
use crate::fault::{Fault, between};
use crate::monotonic_ns;

/// What the files say, and how many tuples were acked in a second before anything happened.
#[derive(Debug)]
pub struct Watch {
    /// The files.
    pub log: SequenceLog,
    usual_rate: f64,
}

/// How long rates are measured before a fault and after it.
const MEASURED: Duration = Duration::from_millis(1500);

/// How a topology came through a fault. Rates are tuples acked in a second.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// From when the fault began until tuples went all ways again.
    pub outage: Duration,
    /// The longest time without a tuple at the end of the way.
    pub gap: Duration,
    promised: Duration,
    before: f64,
    through: f64,
    after: f64,
}

impl Watch {
    /// A topology that writes into this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { log: SequenceLog::new(folder), usual_rate: 0.0 }
    }

    /// Waits until tuples go all ways and a rate has been measured, before anything happens to it.
    /// `check` says what makes waiting pointless.
    ///
    /// # Errors
    /// When they do not, or `check` fails.
    pub async fn flows(&mut self, submitted: Fault, check: impl Fn() -> Result<()>) -> Result<()> {
        let start = self.flowing_after(submitted, secs(30), &check).await?;
        self.usual_rate = self.rate_since(start, &check).await?;
        Ok(())
    }

    /// Waits until tuples go all ways again that were emitted after `fault`, then measures rates.
    ///
    /// # Errors
    /// When they do not in good time, or `check` fails.
    pub async fn recovers(
        &mut self,
        fault: Fault,
        promised: Duration,
        check: impl Fn() -> Result<()>,
    ) -> Result<Recovery> {
        let again = self.flowing_after(fault, bound(promised) + secs(10), &check).await?;
        let after = self.rate_since(again, &check).await?;
        let end = again + MEASURED.as_nanos() as i64;
        Ok(Recovery {
            outage: between(fault.began, again),
            gap: self.log.longest_gap(fault.began, end),
            promised,
            before: self.usual_rate,
            through: self.rate(fault.began, end),
            after,
        })
    }

    /// Since when tuples go all ways that were emitted after `fault`, once they do.
    async fn flowing_after(&mut self, fault: Fault, bound: Duration, check: &impl Fn() -> Result<()>) -> Result<i64> {
        let log = &mut self.log;
        within(bound, "tuples go all ways", async || {
            check()?;
            log.refresh()?;
            Ok(log.flowing_again_at(fault.was_done).ok_or_else(|| format!("{} numbers are acked", log.acked())))
        })
        .await
    }

    /// Waits until a rate can be measured from `start` on.
    async fn rate_since(&mut self, start: i64, check: &impl Fn() -> Result<()>) -> Result<f64> {
        within(MEASURED + secs(1), "time passes", async || {
            check()?;
            Ok(if between(start, monotonic_ns()) >= MEASURED { Ok(()) } else { Err("it stands still") })
        })
        .await?;
        self.log.refresh()?;
        Ok(self.rate(start, start + MEASURED.as_nanos() as i64))
    }

    fn rate(&self, start: i64, end: i64) -> f64 {
        self.log.acked_between(start, end) as f64 / between(start, end).as_secs_f64()
    }
}

impl Recovery {
    /// Whether tuples flowed again in the promised time, and then at a third of the usual rate at least.
    ///
    /// # Errors
    /// Says what was not as promised.
    pub fn is_as_promised(&self) -> Result<()> {
        let Self { outage, promised, before, after, .. } = self;
        let allowed = bound(*promised);
        ensure!(*outage <= allowed, "tuples flow again after {outage:?}, {allowed:?} are allowed");
        ensure!(
            *after >= before / 3.0,
            "{after:.0} tuples are acked in a second after the fault, {before:.0} before it"
        );
        Ok(())
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outage, gap, promised, before, through, after } = self;
        write!(
            f,
            "tuples flow again after {} ms (promised {promised:?}), nothing came for {} ms; acked per second: \
             {before:.0} before, {through:.0} through the fault, {after:.0} after it",
            outage.as_millis(),
            gap.as_millis(),
        )
    }
}
