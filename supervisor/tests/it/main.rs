//! Supervisors over a store in memory, with shell scripts as workers and a Nimbus that only listens.

mod attach;
mod faults;
#[cfg(all(feature = "etcd", target_os = "linux"))]
mod init;
mod leaving;
mod memory;
mod names;
mod service;
mod silence;
mod start;
mod support;
