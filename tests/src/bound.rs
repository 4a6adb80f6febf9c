//! Waiting for conditions, within bounds.

use std::env;
use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
const ASKED_INTERVAL: Duration = Duration::from_millis(200);

/// Whether bounds are taken at their word: `GALERNA_STRICT=1`, for release builds on a machine that
/// does nothing else. All other runs get five times as long.
pub fn is_strict() -> bool {
    env::var("GALERNA_STRICT").is_ok_and(|value| value == "1")
}

/// A promised bound, as it is asserted in this run.
pub fn bound(promised: Duration) -> Duration {
    if is_strict() { promised } else { promised * 5 }
}

/// Waits until a condition holds and gives what it came to.
///
/// The condition answers `Ok(Ok(value))` when it holds, `Ok(Err(how it stands))` when it does not
/// yet, and `Err` where waiting is pointless.
///
/// # Errors
/// If it does not hold within `bound`, or waiting is pointless.
pub async fn within<T, S: Display>(
    bound: Duration,
    what: &str,
    condition: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    until(INTERVAL, bound, what, condition).await
}

/// As [`within`], for a condition that takes other programs to look at: it is looked at less often.
///
/// # Errors
/// If it does not hold within `bound`, or waiting is pointless.
pub async fn asked_within<T, S: Display>(
    bound: Duration,
    what: &str,
    condition: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    until(ASKED_INTERVAL, bound, what, condition).await
}

async fn until<T, S: Display>(
    interval: Duration,
    bound: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let standing = match condition().await? {
            Ok(value) => return Ok(value),
            Err(standing) => standing,
        };
        if start.elapsed() > bound {
            bail!("{what}: not within {bound:?}; {standing}");
        }
        sleep(interval).await;
    }
}

/// A few seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
