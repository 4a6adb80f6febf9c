//! What every store promises: a function for each, for any store.

use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::Keys;
use galerna_coordination::{
    Change, Condition, Election, Event, LeaseId, Listing, MOST_OPERATIONS, Store, StoreError, Transaction,
};

use crate::wait::{candidate, leads, next, standing, until};

/// The shortest lease that etcd gives here.
pub(crate) const TTL: Duration = Duration::from_secs(1);

type Shared = Arc<dyn Store>;

/// All of them, against two clients of one store.
pub(crate) async fn all_hold(store: Shared, other: Shared) {
    conditions_decide_and_transaction_is_all_or_nothing(&store).await;
    list_shows_its_prefix_in_order_however_long(&store).await;
    watch_tells_snapshot_then_all_changes_in_order(&store, &other).await;
    revoked_lease_takes_its_keys_at_once(&store, &other).await;
    dropped_lease_runs_out_and_kept_one_lives(&store).await;
    what_etcd_refuses_is_refused(&store).await;
    resigned_leader_is_followed_and_can_write_no_more(&store, &other).await;
    observer_follows_who_leads_and_leads_only_once_it_stands(&store, &other).await;
    crashed_leader_is_followed_when_its_lease_runs_out(&store, &other).await;
}

pub(crate) fn put(key: &str, value: &str) -> Transaction {
    Transaction::new().put(key, value)
}

fn values(listing: &Listing) -> Vec<(&str, &[u8])> {
    listing.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_slice())).collect()
}

async fn conditions_decide_and_transaction_is_all_or_nothing(store: &Shared) {
    let (key, twin) = ("/conditions/a", "/conditions/b");
    let created = store.commit(put(key, "1")).await.unwrap().unwrap();
    let modified = store.commit(put(key, "2")).await.unwrap().unwrap();
    assert!(modified > created);
    let (k, t) = (key.to_owned(), twin.to_owned());
    let table = [
        (vec![Condition::Absent(k.clone())], false),
        (vec![Condition::Absent(t.clone())], true),
        (vec![Condition::Present(k.clone())], true),
        (vec![Condition::Present(t.clone())], false),
        (vec![Condition::Modified(k.clone(), created)], false),
        (vec![Condition::Modified(k.clone(), modified)], true),
        (vec![Condition::Created(k.clone(), created)], true),
        (vec![Condition::Created(k.clone(), modified)], false),
        (vec![Condition::Present(k.clone()), Condition::Present(t.clone())], false),
        (vec![Condition::Present(k.clone()), Condition::Absent(t.clone())], true),
    ];
    for (conditions, holds) in table {
        // Both keys or none: one is set, the other deleted if it is there.
        let transaction = Transaction { conditions, ..put("/conditions/mark", "yes").delete(twin) };
        let answer = store.commit(transaction.clone()).await.unwrap();
        assert_eq!(answer.is_some(), holds, "{transaction:?}");
        let mark = store.get("/conditions/mark").await.unwrap();
        assert_eq!(mark.map(|mark| mark.modified), answer, "{transaction:?}");
        store.commit(Transaction::new().delete("/conditions/mark")).await.unwrap().unwrap();
    }
    store.commit(Transaction::new().delete(key)).await.unwrap().unwrap();
    let again = store.commit(put(key, "3")).await.unwrap().unwrap();
    let entry = store.get(key).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified, entry.value.as_slice()), (again, again, b"3".as_slice()));
    let nothing = store.commit(Transaction::new().delete("/conditions/none")).await.unwrap();
    assert_eq!(nothing, Some(again), "no revision passes where nothing changes");
}

async fn list_shows_its_prefix_in_order_however_long(store: &Shared) {
    let key = |n: usize| format!("/list/in/{n:05}");
    let numbers: Vec<usize> = (0..1203).collect();
    for part in numbers.chunks(MOST_OPERATIONS) {
        let transaction = part.iter().fold(Transaction::new(), |transaction, n| transaction.put(key(*n), "x"));
        store.commit(transaction).await.unwrap().unwrap();
    }
    let outside = put("/list/in", "-").put("/list/in0", "-").put("/list/i", "-");
    let revision = store.commit(outside).await.unwrap().unwrap();
    let listing = store.list("/list/in/").await.unwrap();
    assert_eq!(listing.revision, revision);
    assert!(listing.entries.iter().map(|entry| entry.key.clone()).eq(numbers.iter().map(|n| key(*n))));
    assert!(store.list("/list/nothing/").await.unwrap().entries.is_empty());
}

async fn watch_tells_snapshot_then_all_changes_in_order(store: &Shared, other: &Shared) {
    store.commit(put("/watch/a", "1").put("/watcher", "-")).await.unwrap().unwrap();
    let mut watch = other.watch("/watch/");
    let Event::Snapshot(listing) = next(&mut watch).await else { panic!("a snapshot comes first") };
    assert_eq!(values(&listing), [("/watch/a", b"1".as_slice())]);
    let mut revisions = Vec::new();
    for n in 0..100 {
        let transaction = put(&format!("/watch/{n}"), "x").put("/watcher", "-").delete("/watch/a");
        revisions.push(store.commit(transaction).await.unwrap().unwrap());
    }
    for (n, revision) in revisions.into_iter().enumerate() {
        let Event::Changes(changes) = next(&mut watch).await else { panic!("only changes follow") };
        let put = changes.iter().find_map(|change| match change {
            Change::Put(entry) => Some((entry.key.clone(), entry.modified)),
            Change::Deleted { .. } => None,
        });
        assert_eq!(put, Some((format!("/watch/{n}"), revision)));
        let deleted = Change::Deleted { key: "/watch/a".into(), revision };
        assert_eq!(changes.contains(&deleted), n == 0, "what was changed together is told together");
    }
}

async fn revoked_lease_takes_its_keys_at_once(store: &Shared, other: &Shared) {
    let lease = store.lease(TTL * 20).await.unwrap();
    let both = Transaction::new().put_leased("/lease/a", "1", lease.id).put_leased("/lease/b", "1", lease.id);
    store.commit(both).await.unwrap().unwrap();
    // Setting a key without a lease takes it out of the lease.
    store.commit(put("/lease/b", "2")).await.unwrap().unwrap();
    let mut watch = other.watch("/lease/");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(listing) if listing.entries.len() == 2));
    store.revoke(lease).await.unwrap();
    assert_eq!(store.get("/lease/a").await.unwrap(), None);
    assert!(store.get("/lease/b").await.unwrap().is_some());
    let Event::Changes(changes) = next(&mut watch).await else { panic!("the end of the lease is a change") };
    assert!(matches!(&changes[..], [Change::Deleted { key, .. }] if key == "/lease/a"), "{changes:?}");
}

async fn dropped_lease_runs_out_and_kept_one_lives(store: &Shared) {
    let kept = store.lease(TTL).await.unwrap();
    let dropped = store.lease(TTL).await.unwrap();
    assert!(kept.ttl >= TTL);
    let first_end = *kept.alive_until.borrow();
    let both = Transaction::new().put_leased("/alive/kept", "", kept.id).put_leased("/alive/dropped", "", dropped.id);
    store.commit(both).await.unwrap().unwrap();
    let mut watch = store.watch("/alive/");
    drop(dropped);
    let gone = until(&mut watch, |event| matches!(event, Event::Changes(_))).await;
    let Event::Changes(gone) = gone else { unreachable!() };
    assert!(matches!(&gone[..], [Change::Deleted { key, .. }] if key == "/alive/dropped"), "{gone:?}");
    assert!(store.get("/alive/kept").await.unwrap().is_some());
    assert!(!*kept.lost.borrow());
    assert!(*kept.alive_until.borrow() > first_end, "signs of life were answered");
    store.revoke(kept).await.unwrap();
}

async fn what_etcd_refuses_is_refused(store: &Shared) {
    let many = (0..=MOST_OPERATIONS).fold(Transaction::new(), |many, n| many.put(format!("/many/{n}"), ""));
    let refused = [
        put("/twice", "1").put("/twice", "2"),
        put("/twice", "1").delete("/twice"),
        put("", "1"),
        Transaction::new().put_leased("/unknown", "1", LeaseId(4711)),
        put("/long", &"x".repeat(1500 * 1024)),
        many,
    ];
    for transaction in refused {
        let answer = store.commit(transaction.clone()).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    let fits = put("/long", &"x".repeat(1300 * 1024));
    store.commit(fits).await.unwrap().unwrap();
    assert_eq!(store.get("/long").await.unwrap().unwrap().value.len(), 1300 * 1024);
}

async fn resigned_leader_is_followed_and_can_write_no_more(store: &Shared, other: &Shared) {
    let keys = Keys::new("resigned");
    let first = Election::start(Arc::clone(store), &keys, candidate("first"), TTL * 20);
    let began = leads(&first).await;
    let second = Election::start(Arc::clone(other), &keys, candidate("second"), TTL * 20);
    let told = standing(&second, |standing| standing.leader.is_some()).await;
    assert_eq!(told.leader, Some((candidate("first"), began)));
    assert!(second.leadership().is_none());
    let deposed = first.leadership().unwrap();
    let write = || put("/fenced", "by first").when(deposed.condition());
    assert!(store.commit(write()).await.unwrap().is_some());
    first.resign().await;
    assert!(leads(&second).await > began);
    assert_eq!(store.commit(write()).await.unwrap(), None, "a deposed leader writes nothing");
    let own = put("/fenced", "by second").when(second.leadership().unwrap().condition());
    assert!(store.commit(own).await.unwrap().is_some());
    second.resign().await;
    assert_eq!(store.get(&keys.leader()).await.unwrap(), None);
}

async fn observer_follows_who_leads_and_leads_only_once_it_stands(store: &Shared, other: &Shared) {
    let keys = Keys::new("observed");
    let first = Election::start(Arc::clone(store), &keys, candidate("first"), TTL * 20);
    let began = leads(&first).await;
    let second = Election::observe(Arc::clone(other), &keys, candidate("second"), TTL * 20);
    standing(&second, |standing| standing.leader == Some((candidate("first"), began))).await;
    first.resign().await;
    standing(&second, |standing| standing.leader.is_none()).await;
    // It could lead now, but leaves that to one that comes later.
    let third = Election::start(Arc::clone(store), &keys, candidate("third"), TTL * 20);
    leads(&third).await;
    second.stand();
    third.resign().await;
    leads(&second).await;
    second.resign().await;
    let never = Election::observe(Arc::clone(other), &keys, candidate("never"), TTL);
    never.resign().await;
    assert_eq!(store.get(&keys.leader()).await.unwrap(), None);
}

async fn crashed_leader_is_followed_when_its_lease_runs_out(store: &Shared, other: &Shared) {
    let keys = Keys::new("crashed");
    let first = Election::start(Arc::clone(store), &keys, candidate("first"), TTL);
    let began = leads(&first).await;
    let second = Election::start(Arc::clone(other), &keys, candidate("second"), TTL);
    standing(&second, |standing| standing.leader.is_some()).await;
    drop(first);
    assert!(leads(&second).await > began);
    second.resign().await;
}
