//! What workers have of memory: how much each may have, who has too much and is ended, and whether the kernel
//! has killed for it.
//!
//! A worker that grows beyond its share is ended here, because the kernel would end whatever it likes: since
//! Kubernetes 1.28, the whole container.

mod guard;
mod processes;
mod share;
mod traces;

pub(crate) use guard::{Guarded, watch};
pub(crate) use share::{Share, Shares};
pub(crate) use traces::Traces;
