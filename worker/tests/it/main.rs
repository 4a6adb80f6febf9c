//! What the engine promises, as tests with the promises' names.

mod groupings;
mod support;
