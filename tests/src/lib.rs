//! What the end-to-end tests run and judge by: a topology whose source is a numbered log, and the
//! sequence check, which reads from files whether anything was lost.
//!
//! The harnesses that start clusters and break them stand beside the tests: processes in
//! `tests/it/`, Kubernetes in `tests/kube/`.

pub mod bound;
mod burn;
pub mod fault;
mod hog;
mod journal;
mod outage;
mod registry;
pub mod sequence;

pub use journal::monotonic_ns;
pub use registry::registry;
