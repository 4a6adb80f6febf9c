//! Time, as the engine sees it: tokio's clock for everything that is measured or awaited, and a
//! wall clock that is handed in for what is shown to people.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::Timestamp;
use tokio::time::Instant;

/// Time since a worker started, on tokio's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// The time since the start.
    pub(crate) fn now(self) -> Duration {
        self.epoch.elapsed()
    }

    /// The moment that lies this long after the start.
    pub(crate) fn at(self, since_start: Duration) -> Instant {
        self.epoch + since_start
    }
}

/// Where the wall clock is read.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl WallClock {
    /// The machine's clock.
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the seam that the ban points to")]
        Self::from_fn(|| {
            let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            Timestamp::from_nanos(since_epoch.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
        })
    }

    /// A clock that shows what `now` says.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
