//! What the engine promises, as tests with the promises' names.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch_bolt;
mod ends;
mod groupings;
mod harness;
mod holding;
mod hooks;
mod last_words;
mod manual;
mod outputs;
mod pending;
mod real_threads;
mod real_time;
mod retries;
mod room;
mod shuffle;
mod spouts;
mod storms;
mod streams;
mod support;
mod ticks;
mod timeouts;
mod tracking;
mod troubles;
