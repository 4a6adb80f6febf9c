//! End to end: real processes, a real etcd, and the sequence check.
//!
//! Each test is a story of a cluster: what befalls it, and what its users see of that. Nothing may
//! be lost, ever; times are held to five times what is promised, and to the promise itself with
//! `GALERNA_STRICT=1` (release builds, on a machine that does nothing else).

mod apply;
mod etcd;
mod fleet;
mod harness;
mod life_cycle;
mod liveness;
mod local;
mod metrics;
mod network;
mod nimbus;
mod now;
mod outage;
mod random_faults;
mod rebalance;
mod strangers;
mod submission;
mod supervisors;
mod word_count;
mod workers;
