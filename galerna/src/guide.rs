//! The code in the guide, compiled as doctests so that it stays true. Not part of the crate.

#[doc = include_str!("../../docs/guide/write-a-bolt.md")]
mod write_a_bolt {}

/// Needs the test kit, which the workspace's tests have.
#[cfg(feature = "testing")]
#[doc = include_str!("../../docs/guide/test-it.md")]
mod test_it {}
