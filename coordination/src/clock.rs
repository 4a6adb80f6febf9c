//! The wall clock that is handed in: for what is written down or shown to people, never for what is
//! measured or awaited.

use std::fmt;
use std::sync::Arc;

/// Where the wall clock is read.
#[derive(Clone)]
pub struct UnixClock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl UnixClock {
    /// The machine's clock.
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the seam that the ban points to")]
        Self::from_fn(|| {
            let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// A clock that shows what `now_ms` says.
    pub fn from_fn(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// The time it shows: milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl Default for UnixClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for UnixClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnixClock")
    }
}
