//! What every store promises, in memory and in etcd; what they do when they are cut off.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "testing")]
mod alike;
#[cfg(feature = "testing")]
mod etcd;
#[cfg(feature = "testing")]
mod etcd_access;
mod memory;
mod properties;
#[cfg(feature = "testing")]
mod proxy;
mod wait;
