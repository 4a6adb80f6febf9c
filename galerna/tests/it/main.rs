//! The command line as its users meet it: in-process where many calls are made, the real binary
//! where processes, pipes and signals matter.

mod arguments;
mod cluster;
#[cfg(all(unix, feature = "dev"))]
mod dev;
mod documentation;
mod help;
mod local;
mod mutations;
mod new_project;
mod pipes;
mod signals;
mod support;
mod validate;
