//! A real etcd: what it promises, and what becomes of it when it is killed, cut off or compacted.

use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::Keys;
use galerna_coordination::testing::EtcdServer;
use galerna_coordination::{Change, Election, EtcdOptions, EtcdStore, Event, Store, StoreError, Transaction};
use tokio::time::{Instant, timeout};

use crate::properties::{TTL, all_hold, put};
use crate::proxy::{Proxy, Road};
use crate::wait::{LONGEST, candidate, leads, next, standing, until};

/// How long calls may take without an answer, and a silent cut may go unnoticed.
const BOUND: Duration = Duration::from_secs(4);

fn store_at(endpoints: &[&str]) -> EtcdStore {
    let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
    EtcdStore::new(EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap()
}

#[tokio::test]
async fn etcd_keeps_what_stores_promise() {
    let server = EtcdServer::start().await.unwrap();
    all_hold(Arc::new(server.store().unwrap()), Arc::new(server.store().unwrap())).await;
}

#[tokio::test]
async fn killed_etcd_costs_no_change_no_lease_and_no_leader() {
    let mut server = EtcdServer::start().await.unwrap();
    let store: Arc<dyn Store> = Arc::new(server.store().unwrap());
    let keys = Keys::new("killed");
    let mut watch = store.watch("/changes/");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));
    let lease = store.lease(TTL * 10).await.unwrap();
    store.commit(Transaction::new().put_leased("/leased", "", lease.id)).await.unwrap().unwrap();
    let election = Election::start(Arc::clone(&store), &keys, candidate("first"), TTL * 10);
    let began = leads(&election).await;
    let rival = Election::start(Arc::new(server.store().unwrap()), &keys, candidate("rival"), TTL * 10);
    standing(&rival, |standing| standing.leader.is_some()).await;
    let mut told = election.standing();
    told.mark_unchanged();

    store.commit(put("/changes/before", "")).await.unwrap().unwrap();
    assert!(matches!(next(&mut watch).await, Event::Changes(_)));
    server.kill();
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    let started = Instant::now();
    assert!(matches!(store.get("/leased").await, Err(StoreError::Unavailable(_))));
    assert!(started.elapsed() < BOUND);
    server.restart().await.unwrap();
    let another = server.store().unwrap();
    another.commit(put("/changes/after", "")).await.unwrap().unwrap();

    let (mut heard, mut is_connected) = (Vec::new(), false);
    while heard.is_empty() || !is_connected {
        match next(&mut watch).await {
            Event::Changes(changes) => heard.extend(changes.iter().map(|change| change.key().to_owned())),
            Event::Connected => is_connected = true,
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(heard, ["/changes/after"]);
    assert!(store.get("/leased").await.unwrap().is_some());
    assert!(!*lease.lost.borrow());
    assert_eq!(election.leadership().unwrap().revision(), began);
    assert!(!told.has_changed().unwrap(), "leadership was never in doubt");
    assert!(rival.leadership().is_none());
}

#[tokio::test]
async fn leader_doubts_itself_while_etcd_is_long_away_and_leads_on_when_it_returns() {
    let mut server = EtcdServer::start().await.unwrap();
    let store = Arc::new(server.store().unwrap());
    let election = Election::start(store, &Keys::new("long"), candidate("only"), TTL);
    let began = leads(&election).await;
    server.stop().await.unwrap();
    standing(&election, |standing| standing.leadership.is_none()).await;
    assert!(election.leadership().is_none());
    server.restart().await.unwrap();
    assert_eq!(leads(&election).await, began, "etcd gives leases their whole time when it starts");
}

#[tokio::test]
async fn watch_goes_on_where_it_was_cut_and_begins_anew_after_compaction() {
    let server = EtcdServer::start().await.unwrap();
    let proxy = Proxy::to(&server.url()).await;
    let direct = server.store().unwrap();
    let mut watch = store_at(&[&proxy.url]).watch("/w/");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));

    proxy.set(Road::Cut);
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    for n in 0..50 {
        direct.commit(put("/w/a", &n.to_string())).await.unwrap().unwrap();
    }
    direct.commit(put("/w/b", "").delete("/w/a")).await.unwrap().unwrap();
    proxy.set(Road::Open);
    for n in 0..50 {
        let Event::Changes(changes) = next(&mut watch).await else { panic!("each change is told") };
        assert!(matches!(&changes[..], [Change::Put(entry)] if entry.value == n.to_string().as_bytes()));
    }
    assert!(matches!(next(&mut watch).await, Event::Changes(changes) if changes.len() == 2));
    assert_eq!(next(&mut watch).await, Event::Connected, "when everything was told, and not before");

    proxy.set(Road::Cut);
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    direct.commit(put("/w/c", "").delete("/w/b")).await.unwrap().unwrap();
    server.compact().await.unwrap();
    proxy.set(Road::Open);
    let Event::Snapshot(listing) = next(&mut watch).await else { panic!("what was missed is forgotten") };
    assert_eq!(listing.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["/w/c"]);
    assert_eq!(next(&mut watch).await, Event::Connected);
    direct.commit(put("/w/d", "")).await.unwrap().unwrap();
    assert!(matches!(next(&mut watch).await, Event::Changes(_)));
}

#[tokio::test]
async fn silent_cut_is_noticed_and_calls_end_in_time() {
    let server = EtcdServer::start().await.unwrap();
    let proxy = Proxy::to(&server.url()).await;
    let store = store_at(&[&proxy.url]);
    let mut watch = store.watch("/s/");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));
    proxy.set(Road::Silent);
    let cut = Instant::now();
    assert!(matches!(store.commit(put("/s/a", "")).await, Err(StoreError::Unavailable(_))));
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    assert!(cut.elapsed() < BOUND, "{:?}", cut.elapsed());
    proxy.set(Road::Open);
    until(&mut watch, |event| *event == Event::Connected).await;
    store.commit(put("/s/b", "")).await.unwrap().unwrap();
    until(&mut watch, |event| matches!(event, Event::Changes(changes) if changes[0].key() == "/s/b")).await;
}

#[tokio::test]
async fn lease_that_etcd_has_ended_is_lost_and_its_leader_followed() {
    let server = EtcdServer::start().await.unwrap();
    let proxy = Proxy::to(&server.url()).await;
    let store: Arc<dyn Store> = Arc::new(store_at(&[&proxy.url]));
    let keys = Keys::new("partition");
    let mut lease = store.lease(TTL).await.unwrap();
    let first = Election::start(Arc::clone(&store), &keys, candidate("first"), TTL);
    let deposed = (leads(&first).await, first.leadership().unwrap());
    let second = Election::start(Arc::new(server.store().unwrap()), &keys, candidate("second"), TTL);
    proxy.set(Road::Silent);
    assert!(leads(&second).await > deposed.0);
    assert!(first.leadership().is_none(), "nobody believes in two leaders");
    proxy.set(Road::Open);
    timeout(LONGEST, lease.lost.wait_for(|is_lost| *is_lost)).await.unwrap().unwrap();
    standing(&first, |standing| standing.leader.as_ref().is_some_and(|(who, _)| who.id == "second")).await;
    let write = put("/fenced", "").when(deposed.1.condition());
    assert_eq!(store.commit(write).await.unwrap(), None);
}

#[tokio::test]
async fn store_works_as_soon_as_etcd_is_there_and_passes_over_a_dead_member() {
    let mut server = EtcdServer::start().await.unwrap();
    server.stop().await.unwrap();
    // Nobody listens on port 1.
    let store = store_at(&["http://127.0.0.1:1", &server.url()]);
    let mut watch = store.watch("/");
    assert_eq!(next(&mut watch).await, Event::Disconnected);
    let asked = Instant::now();
    for answer in [store.list("/").await.map(drop), store.lease(TTL).await.map(drop)] {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(asked.elapsed() < BOUND * 2);
    server.restart().await.unwrap();
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));
    assert_eq!(next(&mut watch).await, Event::Connected);
    let fresh = store_at(&["http://127.0.0.1:1", &server.url()]);
    fresh.commit(put("/first", "")).await.unwrap().unwrap();
    for n in 0..10 {
        assert_eq!(store.get("/none").await.unwrap(), None);
        store.commit(put("/n", &n.to_string())).await.unwrap().unwrap();
    }
}
