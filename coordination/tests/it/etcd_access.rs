//! Users and certificates of etcd.

use galerna_coordination::testing::EtcdServer;
use galerna_coordination::{EtcdOptions, EtcdStore, Event, Store, StoreError, Transaction};

use crate::properties::{TTL, put};
use crate::wait::{next, until};

#[tokio::test]
async fn user_with_password_is_served_even_after_tokens_became_invalid() {
    let mut server = EtcdServer::builder().user("galerna", "secret").start().await.unwrap();
    let store = server.store().unwrap();
    let mut watch = store.watch("/a");
    assert!(matches!(next(&mut watch).await, Event::Snapshot(_)));
    let lease = store.lease(TTL * 10).await.unwrap();
    store.commit(Transaction::new().put_leased("/a", "1", lease.id)).await.unwrap().unwrap();

    // It remembers no tokens.
    server.kill();
    server.restart().await.unwrap();
    until(&mut watch, |event| *event == Event::Connected).await;
    store.commit(put("/a", "2")).await.unwrap().unwrap();
    until(&mut watch, |event| matches!(event, Event::Changes(changes) if changes[0].key() == "/a")).await;
    store.revoke(lease).await.unwrap();

    for (user, password) in [(None, None), (Some("galerna".to_owned()), Some("wrong".to_owned()))] {
        let refused = EtcdStore::new(EtcdOptions { user, password, ..server.options() }).unwrap();
        let answer = refused.get("/a").await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn etcd_with_tls_is_reached_with_certificates_only() {
    if !EtcdServer::can_have_tls() {
        eprintln!("skipped: certificates are made by `openssl`, which is not installed");
        return;
    }
    let server = EtcdServer::builder().tls().start().await.unwrap();
    let store = server.store().unwrap();
    store.commit(put("/a", "1")).await.unwrap().unwrap();
    assert!(matches!(next(&mut store.watch("/a")).await, Event::Snapshot(listing) if listing.entries.len() == 1));
    let stranger = EtcdStore::new(EtcdOptions { cert: None, key: None, ..server.options() }).unwrap();
    assert!(stranger.get("/a").await.is_err());
}
