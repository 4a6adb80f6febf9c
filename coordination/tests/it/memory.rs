//! The store in memory, and what its knobs play.

use std::sync::Arc;

use galerna_coordination::keys::{Keys, Leader};
use galerna_coordination::{
    Election, Event, MemoryStore, Store, StoreError, Transaction, UnixClock, get_json, list_json,
};

use crate::properties::{TTL, all_hold, put};
use crate::wait::{candidate, leads, next, standing, until};

#[tokio::test]
async fn memory_keeps_what_stores_promise() {
    let store = MemoryStore::new();
    all_hold(Arc::new(store.clone()), Arc::new(store.another_client())).await;
}

#[tokio::test]
async fn client_that_was_cut_off_hears_what_it_missed() {
    let store = MemoryStore::new();
    let other = store.another_client();
    let mut watch = store.watch("/");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));
    store.set_reachable(false);
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    assert!(matches!(store.get("/a").await, Err(StoreError::Unavailable(_))));
    other.commit(put("/a", "1")).await.unwrap().unwrap();
    store.set_reachable(true);
    assert!(matches!(next(&mut watch).await, Event::Changes(changes) if changes[0].key() == "/a"));
    assert_eq!(next(&mut watch).await, Event::Connected);

    store.set_reachable(false);
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    other.commit(put("/a", "2")).await.unwrap().unwrap();
    store.compact();
    store.set_reachable(true);
    assert!(matches!(next(&mut watch).await, Event::Snapshot(listing) if listing.entries[0].value == b"2"));
    assert_eq!(next(&mut watch).await, Event::Connected);
}

#[tokio::test]
async fn leader_that_is_cut_off_steps_down_before_another_leads() {
    let (store, keys) = (MemoryStore::new(), Keys::new("cut"));
    let other = store.another_client();
    let first = Election::start(Arc::new(store.clone()), &keys, candidate("first"), TTL);
    let began = leads(&first).await;
    let second = Election::start(Arc::new(other), &keys, candidate("second"), TTL);
    standing(&second, |standing| standing.leader.is_some()).await;
    store.set_reachable(false);
    let follows = leads(&second).await;
    assert!(follows > began);
    assert!(first.leadership().is_none(), "nobody believes in two leaders");
    store.set_reachable(true);
    let told = standing(&first, |standing| standing.leader.as_ref().is_some_and(|(who, _)| who.id == "second")).await;
    assert_eq!(told.leadership, None);
    second.resign().await;
    assert!(leads(&first).await > follows, "it campaigns again by itself");
}

#[tokio::test]
async fn leader_of_a_store_that_stood_still_leads_on_when_it_returns() {
    let (store, keys) = (MemoryStore::new(), Keys::new("stood"));
    let mut watch = store.watch(keys.root());
    let election = Election::start(Arc::new(store.clone()), &keys, candidate("only"), TTL);
    let began = leads(&election).await;
    store.set_running(false);
    standing(&election, |standing| standing.leadership.is_none()).await;
    assert!(election.leadership().is_none(), "after its ttl it must not believe in itself");
    store.set_running(true);
    assert_eq!(leads(&election).await, began);
    until(&mut watch, |event| matches!(event, Event::Connected)).await;
}

#[tokio::test]
async fn lease_that_ended_while_its_client_was_cut_off_is_lost() {
    let store = MemoryStore::new();
    let mut lease = store.lease(TTL).await.unwrap();
    store.commit(Transaction::new().put_leased("/a", "", lease.id)).await.unwrap().unwrap();
    let other = store.another_client();
    let mut watch = other.watch("/a");
    store.set_reachable(false);
    until(&mut watch, |event| matches!(event, Event::Changes(_))).await;
    assert!(!*lease.lost.borrow(), "nobody has told it yet");
    store.set_reachable(true);
    tokio::time::timeout(crate::wait::LONGEST, lease.lost.wait_for(|is_lost| *is_lost)).await.unwrap().unwrap();
}

#[tokio::test]
async fn value_that_cannot_be_read_hides_no_other() {
    let store = MemoryStore::new();
    let leader = candidate("one");
    let both = put("/bad", "{").put_json("/good", &leader).unwrap();
    store.commit(both).await.unwrap().unwrap();
    let (read, entry) = get_json::<Leader>(&store, "/good").await.unwrap().unwrap();
    assert_eq!((read, entry.key.as_str()), (leader.clone(), "/good"));
    let bad = get_json::<Leader>(&store, "/bad").await.unwrap_err();
    assert!(bad.to_string().contains("`/bad`"), "{bad}");
    let all = list_json::<Leader>(&store, "/").await.unwrap();
    assert_eq!(all.into_iter().map(|(leader, _)| leader).collect::<Vec<_>>(), [leader]);
}

#[test]
fn clock_shows_what_it_is_told() {
    assert_eq!(UnixClock::from_fn(|| 42).now_ms(), 42);
    assert!(UnixClock::system().now_ms() > 1_700_000_000_000);
}
