//! A cluster of real processes and a real etcd, and what can befall it.
//!
//! All of a cluster's daemons listen at a loopback address of its own, on fixed ports, so that
//! clusters never meet; one runs at a time, because their times are measured.

mod client;
mod cluster;
mod daemon;
mod development;
mod network;
mod processes;
mod running;
mod sequence;
mod setup;
mod state;

pub(crate) use client::{Answer, Client};
pub(crate) use cluster::Cluster;
pub(crate) use development::Development;
pub(crate) use galerna_tests::bound::{bound, secs, within};
pub(crate) use galerna_tests::fault::{Fault, report};
pub(crate) use network::why_no_namespaces;
pub(crate) use running::Running;
pub(crate) use sequence::Sequence;
pub(crate) use setup::{Setup, lease};
pub(crate) use state::State;
