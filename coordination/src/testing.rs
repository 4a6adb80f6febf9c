//! A real etcd for tests: started on free ports with a folder of its own, killed when it is dropped.

mod certificates;
mod server;

pub use server::{EtcdServer, EtcdServerBuilder};
