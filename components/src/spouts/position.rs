//! When spouts report how far they have read their source.

use std::time::Duration;

use galerna_topology_api::TopologyContext;

/// Reports are this far apart.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether a report is due; then `reported_at` becomes the present time.
pub(crate) fn is_due(reported_at: &mut Option<Duration>, context: &TopologyContext) -> bool {
    let now = context.elapsed();
    let is_due = reported_at.is_none_or(|at| now >= at + INTERVAL);
    if is_due {
        *reported_at = Some(now);
    }
    is_due
}
