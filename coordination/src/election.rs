//! Who leads: one of the candidates for a key that goes with its holder's lease.

mod campaign;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::keys::{Keys, Leader};
use crate::store::{Condition, Revision, Store};
use campaign::Campaign;

/// That we lead. It may end at any moment, so whatever is written by right of it says so in its
/// transaction: `.when(leadership.condition())`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    key: String,
    created: Revision,
}

impl Leadership {
    /// Holds for as long as this leadership does.
    pub fn condition(&self) -> Condition {
        Condition::Created(self.key.clone(), self.created)
    }

    /// When it began: grows from leader to leader.
    pub fn revision(&self) -> Revision {
        self.created
    }
}

/// Who leads, and whether we do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who leads as far as the store has told, and since which revision. While the store cannot be
    /// reached it is who led last.
    pub leader: Option<(Leader, Revision)>,
    /// Set while we may believe that we lead: from our election until our lease is lost, or has had no
    /// answered sign of life for its whole time.
    pub leadership: Option<Leadership>,
}

/// A candidate: leads when nobody else does, and again whenever it has lost that. One that only
/// [observes](Self::observe) follows who leads until it is told to [`stand`](Self::stand).
///
/// Dropping it ends the candidacy as a crash would: the next leader comes when the lease has run out.
/// [`resign`](Self::resign) makes room at once.
#[derive(Debug)]
pub struct Election {
    standing: watch::Receiver<Standing>,
    alive_until: watch::Receiver<Instant>,
    stand: watch::Sender<bool>,
    resign: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Election {
    /// Begins to campaign for `keys.leader()`. Must be called on a tokio runtime.
    pub fn start(store: Arc<dyn Store>, keys: &Keys, candidate: Leader, ttl: Duration) -> Self {
        let election = Self::observe(store, keys, candidate, ttl);
        election.stand();
        election
    }

    /// Begins to follow who leads, without campaigning. Must be called on a tokio runtime.
    pub fn observe(store: Arc<dyn Store>, keys: &Keys, candidate: Leader, ttl: Duration) -> Self {
        let (told_standing, standing) = watch::channel(Standing::default());
        let (told_alive_until, alive_until) = watch::channel(Instant::now());
        let (stand, stands) = watch::channel(false);
        let (resign, resigned) = oneshot::channel();
        let key = keys.leader();
        let campaign =
            Campaign { store, key, candidate, ttl, stands, standing: told_standing, alive_until: told_alive_until };
        let mut task = JoinSet::new();
        task.spawn(campaign.run(resigned));
        Self { standing, alive_until, stand, resign, task }
    }

    /// Campaigns from now on.
    pub fn stand(&self) {
        self.stand.send_replace(true);
    }

    /// Whether we campaign, or lead.
    pub fn stands(&self) -> bool {
        *self.stand.borrow()
    }

    /// Tells who leads, and whether we do.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Our leadership, if we may believe in it at this moment.
    pub fn leadership(&self) -> Option<Leadership> {
        let is_alive = Instant::now() < *self.alive_until.borrow();
        self.standing.borrow().leadership.clone().filter(|_| is_alive)
    }

    /// Steps down, if we lead, and campaigns no more. Waits, for a bounded time, until the store knows.
    pub async fn resign(mut self) {
        // If nobody listens any more, the task has ended already.
        let _ = self.resign.send(());
        while self.task.join_next().await.is_some() {}
    }
}
