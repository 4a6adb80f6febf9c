//! What the harnesses of single components show.

mod bolt;
mod spout;
