//! Waiting for what must come, in bounded time.

use std::time::Duration;

use galerna_coordination::keys::Leader;
use galerna_coordination::{Election, Event, Revision, Standing, Watch};
use tokio::time::timeout;

pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// The next event.
pub(crate) async fn next(watch: &mut Watch) -> Event {
    timeout(LONGEST, watch.events.recv()).await.expect("an event comes").expect("the store is there")
}

/// Skips events until one is as wanted.
pub(crate) async fn until(watch: &mut Watch, is_wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = next(watch).await;
        if is_wanted(&event) {
            return event;
        }
    }
}

/// The first standing that is as wanted.
pub(crate) async fn standing(election: &Election, is_wanted: impl FnMut(&Standing) -> bool) -> Standing {
    let mut told = election.standing();
    let standing = timeout(LONGEST, told.wait_for(is_wanted)).await.expect("the standing comes");
    standing.expect("the candidate is there").clone()
}

/// Waits until this candidate leads; since which revision.
pub(crate) async fn leads(election: &Election) -> Revision {
    let standing = standing(election, |standing| standing.leadership.is_some()).await;
    standing.leadership.expect("it leads").revision()
}

/// A candidate.
pub(crate) fn candidate(id: &str) -> Leader {
    Leader { id: id.into(), address: format!("{id}.example:6627") }
}
