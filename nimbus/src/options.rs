//! What a nimbus is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use galerna_coordination::UnixClock;

/// Settings of a [`Nimbus`](crate::Nimbus).
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the cluster: what it keeps in the store stands under it.
    pub cluster: String,
    /// Tells it from other nimbuses of the cluster; its address unless given.
    pub id: String,
    /// The host where others reach it; that of the listener unless given.
    pub advertise: String,
    /// Its folder: artifacts stand in `artifacts/`.
    pub data: PathBuf,
    /// How long it lives without a sign of life in the eyes of others.
    pub lease: Duration,
    /// The most bytes that an artifact may have.
    pub artifact_limit: u64,
    /// How long a submission waits for the other nimbuses to have fetched its artifact.
    pub replication_wait: Duration,
    /// The wall clock.
    pub clock: UnixClock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: "default".to_owned(),
            id: String::new(),
            advertise: String::new(),
            data: PathBuf::from("galerna-nimbus"),
            lease: Duration::from_secs(10),
            artifact_limit: 1024 * 1024 * 1024,
            replication_wait: Duration::from_secs(60),
            clock: UnixClock::system(),
        }
    }
}
