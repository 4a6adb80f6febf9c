//! What the engine promises, as tests with the promises' names.

mod ends;
mod groupings;
mod manual;
mod pending;
mod real_time;
mod support;
mod tracking;
mod troubles;
