//! Integration tests of the protocol.

mod generated;
