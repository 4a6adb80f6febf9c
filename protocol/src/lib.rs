//! What the daemons, workers and clients of Galerna say to each other: the gRPC messages and
//! services, the protocol number, limits, how a server and a client are set up, and the signals that all of
//! them are stopped by.
//!
//! It knows nothing of what is done with the messages.

mod client;
mod errors;
mod messages;
mod server;
mod signals;
mod version;

pub use client::{Channel, connect, endpoint, host_port};
pub use errors::{add_error, order_errors};
pub use messages::*;
pub use server::{LONGEST_MESSAGE, Server};
pub use signals::Signals;
pub use version::{PROTOCOL, VersionCheck, WithVersion};
