//! Integration tests of the nimbus.
