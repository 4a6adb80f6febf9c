//! What a supervisor is told at its start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::{UnixClock, host_name};

use crate::launcher::{Launcher, Processes};

/// How a supervisor is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's name.
    pub cluster: String,
    /// The supervisor's name, unique in its cluster; the machine's name by default.
    pub id: String,
    /// The host that others reach it and its workers at.
    pub advertise: String,
    /// Where it keeps artifacts, logs, reports and what it has launched. One daemon each.
    pub data: PathBuf,
    /// How many workers it runs at most. Their slots are the ports after its own.
    pub slots: u32,
    /// How long it counts as alive without a sign of life.
    pub lease: Duration,
    /// How long a worker may take from its launch to its first words.
    pub attach_within: Duration,
    /// Time without a heartbeat after which a worker is killed and relaunched; `None`: never. At least 2 s,
    /// since heartbeats are a second apart. Only time counts during which the supervisor itself looked.
    pub worker_timeout: Option<Duration>,
    /// Points of CPU (100 are a core) to announce; what the machine and the container's limits allow by
    /// default.
    pub cpu: Option<f64>,
    /// Mebibytes of memory to announce, and to divide among slots; what the machine and the container's limits
    /// allow by default.
    pub memory_mb: Option<f64>,
    /// How much memory one worker may have. One that has more is ended and launched anew.
    pub worker_memory: WorkerMemory,
    /// Whether workers run on when it is stopped.
    pub keep_workers: bool,
    /// What launches workers.
    pub launcher: Arc<dyn Launcher>,
    /// Where the wall clock is read.
    pub clock: UnixClock,
    /// The folder that holds `proc` and `sys/fs/cgroup`, where the container's limits stand.
    pub system: PathBuf,
}

/// How much memory one worker may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerMemory {
    /// If the memory of all is bounded, by [`Options::memory_mb`] or the container: what that comes to for each
    /// slot, or what the components of a worker declare if that is more.
    #[default]
    Slot,
    /// So many bytes.
    Limit(u64),
    /// As much as there is.
    Unlimited,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: "default".to_owned(),
            id: host_name(),
            advertise: "127.0.0.1".to_owned(),
            data: PathBuf::from("galerna-supervisor"),
            slots: 4,
            lease: Duration::from_secs(10),
            attach_within: Duration::from_secs(30),
            worker_timeout: Some(Duration::from_secs(30)),
            cpu: None,
            memory_mb: None,
            worker_memory: WorkerMemory::default(),
            keep_workers: false,
            launcher: Arc::new(Processes),
            clock: UnixClock::system(),
            system: PathBuf::from("/"),
        }
    }
}
