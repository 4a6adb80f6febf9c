//! Integration tests of the supervisor.
