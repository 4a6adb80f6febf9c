//! Whether anybody still reads what a topology prints.

use galerna_topology_api::Topology;

/// Whether printing is all that the topology does: every bolt that nothing follows is a `console`.
pub(super) fn is_only_printing(topology: &Topology) -> bool {
    let feeds_another =
        |id: &str| topology.components().iter().any(|of| of.inputs.iter().any(|input| input.from == id));
    let mut last = topology.components().iter().filter(|of| !feeds_another(&of.id));
    last.all(|of| of.type_name.as_deref() == Some("console"))
}

/// Whether stdout is a pipe whose reader has left.
#[cfg(unix)]
pub(super) fn has_left() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::ERR)
}

#[cfg(not(unix))]
pub(super) fn has_left() -> bool {
    false
}
