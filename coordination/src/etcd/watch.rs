//! Watches a prefix: goes on from the last revision after a lost connection, and begins anew with a
//! snapshot when that revision is compacted.

mod position;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::connection::{Connection, LONGEST_CALL};
use super::entry;
use super::error::store_error;
use super::list::{LONGEST_ANSWER, end_of, list, list_keys};
use crate::store::{Change, Event, Listing, StoreError};
use position::Position;

/// How often etcd is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_millis(700);
/// After which silence the connection counts as cut.
const LONGEST_SILENCE: Duration = Duration::from_millis(2500);
/// How soon watching is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Why watching cannot just go on.
enum Halt {
    /// Nobody listens any more.
    Dropped,
    /// The changes that would come next are forgotten.
    Compacted,
    /// The connection is lost.
    Broken(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Broken(error)
    }
}

impl From<etcd_client::Error> for Halt {
    fn from(error: etcd_client::Error) -> Self {
        Self::Broken(store_error(&error))
    }
}

/// Tells a watch what happens, until it is dropped.
pub(super) async fn feed(connection: Arc<Connection>, prefix: String, events: mpsc::Sender<Event>) {
    let mut feed = Feed { connection, prefix, events, position: None, is_disconnected: false };
    loop {
        let Err(halt) = feed.follow().await;
        match halt {
            Halt::Dropped => return,
            Halt::Compacted => {
                debug!(prefix = feed.prefix, "changes are forgotten; the watch begins anew");
                feed.position = None;
            }
            Halt::Broken(error) => {
                if !feed.is_disconnected {
                    warn!(%error, prefix = feed.prefix, "a watch is cut off; trying on");
                    feed.is_disconnected = true;
                    if feed.events.send(Event::Disconnected).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    biased;
                    () = feed.events.closed() => return,
                    () = sleep(RETRY) => {}
                }
            }
        }
    }
}

struct Feed {
    connection: Arc<Connection>,
    prefix: String,
    events: mpsc::Sender<Event>,
    /// What was told; `None` if that has to begin anew.
    position: Option<Position>,
    is_disconnected: bool,
}

impl Feed {
    /// Begins or goes on, until something halts it.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Halt> {
        // Even if nothing is to be listed: the answer shows that etcd can be reached, how far we have to
        // come to be up to date, and brings a new token where the old one is no longer good.
        let goal = match &mut self.position {
            Some(_) => Some(list_keys(&self.connection, &self.prefix).await?),
            None => {
                let listing = list(&self.connection, &self.prefix).await?;
                self.position = Some(Position::at(&listing));
                self.send(Event::Snapshot(listing)).await?;
                None
            }
        };
        let (number, client) = self.connection.client(LONGEST_CALL).await?;
        let followed = self.follow_stream(client, goal).await;
        if let Err(Halt::Broken(StoreError::Unavailable(_))) = &followed {
            self.connection.give_up(number).await;
        }
        followed
    }

    async fn follow_stream(
        &mut self,
        client: etcd_client::Client,
        mut goal: Option<Listing>,
    ) -> Result<std::convert::Infallible, Halt> {
        let silent = || StoreError::Unavailable(format!("no sign of life within {LONGEST_SILENCE:?}"));
        let mut stream = timeout(LONGEST_SILENCE, self.open(client)).await.map_err(|_| silent())??;
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            if self.is_disconnected && goal.as_ref().is_none_or(|goal| self.has_reached(goal)) {
                goal = None;
                self.is_disconnected = false;
                self.send(Event::Connected).await?;
            }
            tokio::select! {
                biased;
                () = self.events.closed() => return Err(Halt::Dropped),
                response = stream.message() => {
                    let Some(response) = response? else {
                        return Err(StoreError::Unavailable("etcd has ended the watch".into()).into());
                    };
                    self.take_up(&response).await?;
                    // Not before: whoever listens may have let us wait.
                    heard = Instant::now();
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > LONGEST_SILENCE {
                        return Err(silent().into());
                    }
                    // Each answer is a sign of life. The revision that it names is not relied on: before
                    // 3.4.25 and 3.5.8 it could be ahead of changes that were not told yet.
                    stream.request_progress().await?;
                }
            }
        }
    }

    async fn open(&self, client: etcd_client::Client) -> Result<WatchStream, etcd_client::Error> {
        // From the revision that was told already, not from the next: before 3.5.18, a compaction takes
        // the deletions of its own revision along, and a watch from there would miss them unawares.
        let told = self.position.as_ref().map_or(1, |position| position.revision);
        let options = WatchOptions::new().with_range(end_of(&self.prefix)).with_start_revision(told);
        let from = if self.prefix.is_empty() { "\0" } else { &self.prefix };
        client.watch_client().max_decoding_message_size(LONGEST_ANSWER).watch(from, Some(options)).await
    }

    fn has_reached(&self, goal: &Listing) -> bool {
        self.position.as_ref().is_some_and(|position| position.has_reached(goal))
    }

    async fn take_up(&mut self, response: &WatchResponse) -> Result<(), Halt> {
        if response.compact_revision() > 0 {
            return Err(Halt::Compacted);
        }
        if response.canceled() {
            let reason = response.cancel_reason();
            return Err(StoreError::Unavailable(format!("etcd has cancelled the watch: {reason}")).into());
        }
        let changes = response.events().iter().filter_map(|event| {
            let pair = entry(event.kv()?.clone());
            Some(match event.event_type() {
                EventType::Put => Change::Put(pair),
                EventType::Delete => Change::Deleted { key: pair.key, revision: pair.modified },
            })
        });
        let changes: Vec<Change> = changes.collect();
        for together in changes.chunk_by(|a, b| a.revision() == b.revision()) {
            if let Some(position) = &mut self.position
                && position.moves_on(together)
            {
                self.send(Event::Changes(together.to_vec())).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Halt> {
        self.events.send(event).await.map_err(|_| Halt::Dropped)
    }
}
