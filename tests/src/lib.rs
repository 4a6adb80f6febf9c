//! What the end-to-end tests run and judge by: a topology whose source is a numbered log, and the
//! sequence check, which reads from files whether anything was lost.
//!
//! The harness that starts daemons and breaks them stands beside the tests, in `tests/it/`.

pub mod bound;
pub mod fault;
mod journal;
mod registry;
pub mod sequence;

pub use journal::monotonic_ns;
pub use registry::registry;
