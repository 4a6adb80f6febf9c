//! How this nimbus stands, for probes and Prometheus.

use std::sync::Arc;

use galerna_coordination::{Beat, Check, Election, Observed};

use crate::core::{Core, lock};
use crate::metrics;

/// What the loops note of themselves.
#[derive(Debug)]
pub(crate) struct Health {
    /// The reconcile loop's.
    pub(crate) reconciling: Beat,
}

impl Default for Health {
    fn default() -> Self {
        Self { reconciling: Beat::new("reconcile") }
    }
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Observable(pub(crate) Arc<Core>);

impl Observed for Observable {
    fn metrics(&self) -> String {
        metrics::text(&self.0)
    }

    fn liveness(&self) -> Vec<Check> {
        vec![self.0.health.reconciling.check()]
    }

    fn readiness(&self) -> Vec<Check> {
        vec![self.store(), self.view(), self.leader(), self.candidacy(), self.artifacts()]
    }
}

impl Observable {
    fn store(&self) -> Check {
        let is_unbroken = self.0.view.borrow().unbroken_since.is_some();
        Check::needed("store", if is_unbroken { Ok("reached") } else { Err("cannot be reached") })
    }

    /// Whether everything that stands in the store was seen, up to our own leadership if we lead.
    fn view(&self) -> Check {
        let revision = self.0.view.borrow().revision;
        let needed = self.0.leadership().map_or(1, |leadership| leadership.revision());
        let finding = match revision {
            0 => Err("the store has told nothing yet".to_owned()),
            seen if seen < needed => Err(format!("the store has told up to revision {seen} of {needed}")),
            seen => Ok(format!("complete up to revision {seen}")),
        };
        Check::needed("view", finding)
    }

    fn leader(&self) -> Check {
        let leader = self.0.standing.borrow().leader.as_ref().map(|(leader, _)| leader.clone());
        let finding = match leader {
            _ if self.0.leadership().is_some() => Ok("this nimbus leads".to_owned()),
            Some(leader) if leader.id != self.0.id => Ok(format!("nimbus {} at {} leads", leader.id, leader.address)),
            _ => Err("no nimbus leads"),
        };
        Check::needed("leader", finding)
    }

    /// Whether it could take over. One that still fetches what that takes must not be counted on: a rolling
    /// upgrade would go on to the next nimbus, and nobody would be left who may lead.
    fn candidacy(&self) -> Check {
        let stands = lock(&self.0.election).as_ref().is_some_and(Election::stands);
        Check::needed("candidacy", if stands { Ok("could lead") } else { Err("fetches programs before it could lead") })
    }

    fn artifacts(&self) -> Check {
        let lacks = lock(&self.0.lacks);
        let finding = match lacks.as_ref().map(|lacks| (lacks.len(), lacks.first_key_value())) {
            None => Err("not looked at yet".to_owned()),
            Some((_, None)) => Ok("all here"),
            Some((count, Some((sha256, why)))) => Err(format!("{count} not here, such as {sha256:.12}: {why}")),
        };
        Check::told("artifacts", finding)
    }
}
