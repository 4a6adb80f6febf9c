//! One Kubernetes for all tests, Galerna on it by its chart, and what can befall both.

mod client;
mod cluster;
mod command;
mod forward;
mod images;
mod namespace;
mod release;
mod report;
mod runner;
mod running;
mod sequence;
mod topology;
mod undo;
mod volumes;
mod world;

pub(crate) use command::Shell;
pub(crate) use namespace::{Namespace, Pod};
pub(crate) use release::{PARTS, Release, chart};
pub(crate) use report::say;
pub(crate) use runner::{Needs, Story, Test, run};
pub(crate) use running::Running;
pub(crate) use sequence::Sequence;
pub(crate) use topology::State;
pub(crate) use world::World;
