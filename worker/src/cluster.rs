//! A worker of a cluster: runs the tasks that an assignment gives it, linked to the topology's other
//! workers, as its supervisor tells it.
//!
//! `process` is the process from start to exit, `attach` its tie to the supervisor, `steward` the one
//! place that decides what the worker does, `view` what a plan means, `outgoing` and
//! `incoming` the two ends of a link, `link_stream` which of its two streams carries a frame, `lanes` the threads, `report` what is told of it all.

mod attach;
mod incoming;
mod lanes;
mod link_stream;
mod log_file;
mod outgoing;
pub mod process;
mod report;
mod steward;
#[cfg(test)]
mod tests;
mod view;

/// The longest packet on a link, in bytes; frames beyond it come in pieces.
const LONGEST_PACKET: usize = 4 * 1024 * 1024;
/// The longest frame on a link, in bytes. The sender refuses longer frames.
const LONGEST_FRAME: usize = 1 << 30;
/// The component that errors of links are listed under.
const LINK: &str = "__link";
