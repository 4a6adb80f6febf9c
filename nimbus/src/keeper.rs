//! Has what living topologies need on this nimbus: before it stands for election, so that whoever leads
//! can give it to supervisors, and for as long as it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::Revision;
use galerna_coordination::keys::Status as Wanted;
use galerna_protocol::Artifact;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::core::{Core, lock};
use crate::view::View;

/// How often it is looked whether what was here still is, and what nobody needs swept.
const ROUND: Duration = Duration::from_secs(3);
/// How long is waited before what is missing is asked for again.
const RETRY: Duration = Duration::from_millis(500);
/// How many artifacts are fetched at once.
const MOST_FETCHED: usize = 4;
/// For how many leases a nimbus waits for those who cannot be reached and may have what it lacks.
const PATIENCE: u32 = 3;

/// What came of the last look for an artifact.
#[derive(Debug)]
struct Looked {
    at: Instant,
    /// Why it is not here, if it is not.
    lack: Option<Status>,
}

impl Looked {
    /// When to look again.
    fn next(&self) -> Instant {
        self.at + if self.lack.is_some() { RETRY } else { ROUND }
    }
}

/// What specifications ask for.
struct Needed {
    /// As of when.
    specs: Revision,
    /// What is to be fetched, by hash.
    artifacts: BTreeMap<String, Artifact>,
    /// What is to be kept if it is here.
    kept: BTreeSet<String>,
}

impl Needed {
    /// `None` while the store is lost, or before it was reached: nobody knows what is needed.
    fn of(view: &View) -> Option<Self> {
        view.unbroken_since?;
        let mut needed = Self { specs: view.specs, artifacts: BTreeMap::new(), kept: BTreeSet::new() };
        for topology in view.topologies.values() {
            let Some(artifact) = topology.spec.as_ref().and_then(|spec| spec.value.artifact.as_ref()) else { continue };
            needed.kept.insert(artifact.sha256.clone());
            let status = topology.desired.as_ref().map(|desired| desired.value.status);
            // What has finished runs no more.
            if status != Some(Wanted::Finished) {
                needed.artifacts.insert(artifact.sha256.clone(), artifact.clone());
            }
        }
        Some(needed)
    }
}

/// Whether a nimbus can do no better than to lead with what it has: everything was looked for, and is
/// here, or nowhere; or those who may have it were waited for long enough.
fn may_lead<'a>(needed: impl Iterator<Item = &'a String>, looked: &BTreeMap<String, Looked>, is_patient: bool) -> bool {
    let mut needed = needed.map(|sha256| looked.get(sha256));
    needed.all(|looked| match looked.map(|looked| &looked.lack) {
        None => false,
        Some(None) => true,
        Some(Some(lack)) => lack.code() == Code::NotFound || !is_patient,
    })
}

/// Runs for as long as the daemon does.
pub(crate) async fn run(core: Arc<Core>) {
    let mut view = core.view.subscribe();
    let mut keeper = Keeper::new(core);
    loop {
        let needed = match view.wait_for(|view| view.unbroken_since.is_some()).await {
            Ok(view) => Needed::of(&view),
            // The daemon is gone.
            Err(_) => return,
        };
        let Some(needed) = needed else { continue };
        keeper.heed(&needed);
        keeper.begin_fetches(&needed);
        keeper.sweep(&needed.kept).await;
        let news = async {
            // If it ends, the loop does.
            let _ = view.wait_for(|view| view.unbroken_since.is_some() && view.specs != needed.specs).await;
        };
        let next_look = keeper.next_look();
        tokio::select! {
            biased;
            Some(ended) = keeper.fetches.join_next() => keeper.note(ended).await,
            () = news => {}
            () = tokio::time::sleep_until(next_look) => {}
        }
    }
}

struct Keeper {
    core: Arc<Core>,
    /// By artifact.
    looked: BTreeMap<String, Looked>,
    fetches: JoinSet<(String, Result<(), Status>)>,
    /// The artifacts that are being fetched.
    fetched: BTreeSet<String>,
    /// The artifacts whose absence was told.
    complaints: BTreeSet<String>,
    /// Since when it is known what is needed.
    knows_since: Option<Instant>,
    stands: bool,
    next_sweep: Instant,
}

impl Keeper {
    fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            looked: BTreeMap::new(),
            fetches: JoinSet::new(),
            fetched: BTreeSet::new(),
            complaints: BTreeSet::new(),
            knows_since: None,
            stands: false,
            next_sweep: Instant::now(),
        }
    }

    /// Forgets what is not needed any more, and draws the conclusions of what is here.
    fn heed(&mut self, needed: &Needed) {
        self.looked.retain(|sha256, _| needed.artifacts.contains_key(sha256));
        self.complaints.retain(|sha256| needed.artifacts.contains_key(sha256));
        let waited = self.knows_since.get_or_insert_with(Instant::now).elapsed();
        let is_patient = waited < self.core.options.lease * PATIENCE;
        if !self.stands && may_lead(needed.artifacts.keys(), &self.looked, is_patient) {
            self.stands = true;
            self.core.stand();
        }
        *lock(&self.core.lacks) = Some(lacks(&self.looked));
    }

    fn begin_fetches(&mut self, needed: &Needed) {
        let now = Instant::now();
        for (sha256, artifact) in &needed.artifacts {
            let is_due = self.looked.get(sha256).is_none_or(|looked| looked.next() <= now);
            if is_due && self.fetched.len() < MOST_FETCHED && self.fetched.insert(sha256.clone()) {
                let (core, artifact) = (Arc::clone(&self.core), artifact.clone());
                self.fetches.spawn(async move {
                    let result = core.ensure_artifact(&artifact).await;
                    (artifact.sha256, result)
                });
            }
        }
    }

    /// Notes how a fetch has ended.
    async fn note(&mut self, ended: Result<(String, Result<(), Status>), JoinError>) {
        let Ok((sha256, result)) = ended else {
            // It has panicked, and does not say which it was: all are begun anew.
            self.fetches.shutdown().await;
            self.fetched.clear();
            return;
        };
        self.fetched.remove(&sha256);
        let lack = result.err();
        match &lack {
            None => _ = self.complaints.remove(&sha256),
            Some(lack) if self.complaints.insert(sha256.clone()) => {
                tracing::warn!(artifact = sha256, error = lack.message(), "an artifact is missing here");
            }
            Some(_) => {}
        }
        self.looked.insert(sha256, Looked { at: Instant::now(), lack });
    }

    async fn sweep(&mut self, kept: &BTreeSet<String>) {
        let now = Instant::now();
        if self.next_sweep > now {
            return;
        }
        self.next_sweep = now + ROUND;
        lock(&self.core.needs).retain(|sha256, _| kept.contains(sha256));
        if let Err(error) = self.core.blobs.sweep(&|sha256| kept.contains(sha256)).await {
            tracing::warn!(%error, "cannot sweep artifacts");
        }
    }

    /// When something is to be done next, if nothing happens. What is due and has not begun begins when a
    /// fetch has ended.
    fn next_look(&self) -> Instant {
        let may_begin = self.fetched.len() < MOST_FETCHED;
        let idle = self.looked.iter().filter(|(sha256, _)| may_begin && !self.fetched.contains(*sha256));
        idle.map(|(_, looked)| looked.next()).min().unwrap_or(self.next_sweep).min(self.next_sweep)
    }
}

impl Core {
    /// Stands for election from now on.
    fn stand(&self) {
        if let Some(election) = lock(&self.election).as_ref() {
            tracing::info!(id = self.id, "this nimbus stands for election");
            election.stand();
        }
    }
}

/// What is not here, and what that means, for those who ask about topologies.
fn lacks(looked: &BTreeMap<String, Looked>) -> BTreeMap<String, String> {
    let lacks = looked.iter().filter_map(|(sha256, looked)| Some((sha256, looked.lack.as_ref()?)));
    let told = |(sha256, lack): (&String, &Status)| {
        let short: String = sha256.chars().take(12).collect();
        let text = match lack.code() {
            Code::NotFound => format!(
                "its program (artifact {short}…) is on no nimbus and no supervisor that is there: no worker of it can \
                 be started; wait for one that has it, or kill it and submit it again"
            ),
            _ => format!(
                "its program (artifact {short}…) is not on the leading nimbus, which tries to get it: {}",
                lack.message()
            ),
        };
        (sha256.clone(), text)
    };
    lacks.map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nimbus_may_lead_when_all_is_here_or_nowhere_or_was_waited_for_in_vain() {
        let here = || None;
        let nowhere = || Some(Status::not_found("nowhere"));
        let withheld = || Some(Status::unavailable("cannot connect"));
        for (looked, may, may_after_long) in [
            (vec![], false, false),
            (vec![Some(here())], true, true),
            (vec![Some(here()), Some(nowhere())], true, true),
            (vec![Some(here()), None], false, false),
            (vec![Some(nowhere()), Some(withheld())], false, true),
        ] {
            let names: Vec<String> = (0..looked.len().max(1)).map(|number| format!("artifact-{number}")).collect();
            let known = names
                .iter()
                .zip(looked)
                .filter_map(|(name, lack)| lack.map(|lack| (name.clone(), Looked { at: Instant::now(), lack })));
            let known = known.collect();
            assert_eq!(may_lead(names.iter(), &known, true), may, "{known:?}");
            assert_eq!(may_lead(names.iter(), &known, false), may_after_long, "{known:?}");
        }
        assert!(may_lead(std::iter::empty(), &BTreeMap::new(), true), "nothing is needed");
    }
}
