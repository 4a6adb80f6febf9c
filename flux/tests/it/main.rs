//! Reading topologies' files, from text to topology and to messages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod components;
mod includes;
mod limits;
mod making;
mod messages;
mod properties;
mod resolved;
mod substitution;
mod topologies;
