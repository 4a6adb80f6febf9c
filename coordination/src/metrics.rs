//! What the metrics of daemons are made of: described families, distributions, what is measured of the
//! store and of the process, and the text that comes of it.

mod distribution;
#[cfg(any(test, feature = "exposition"))]
mod exposition;
mod family;
mod numbers;
mod process;
mod store;

pub use distribution::{Distribution, Timings};
#[cfg(any(test, feature = "exposition"))]
pub use exposition::{Exposition, SampleLabels};
pub use family::{Families, Kind, Metric, Value};
pub use numbers::Numbers;
pub use process::{PROCESS_METRICS, add_process, resident_memory};
pub use store::{MeasuredStore, STORE_METRICS, StoreTimings};

/// What says which program this is.
pub const BUILD_INFO: Metric =
    Metric::gauge("galerna_build_info", "Always 1; its labels say what runs here.", &["daemon", "version"]);

/// What all daemons measure, each of itself.
pub fn common_metrics() -> impl Iterator<Item = Metric> {
    [BUILD_INFO].into_iter().chain(STORE_METRICS.iter().copied()).chain(PROCESS_METRICS.iter().copied())
}

/// Says which program this is.
pub fn add_build_info(families: &mut Families, daemon: &str) {
    families.add(&BUILD_INFO, &[daemon, env!("CARGO_PKG_VERSION")], 1_u64);
}
