//! The store that Nimbus and supervisors coordinate through: compare-and-put transactions,
//! watches, leases, leader election, and the layout of keys.
//!
//! Two implementations answer alike: [`MemoryStore`] for tests and `galerna dev`, and etcd behind
//! the feature of that name. Workers know nothing of it.
//!
//! Behind the feature `daemon` is what the daemons share as programs, and behind `http` how they serve metrics and
//! health.

pub mod clock;
#[cfg(feature = "daemon")]
pub mod daemon;
mod data_lock;
mod election;
#[cfg(feature = "etcd")]
mod etcd;
mod host;
#[cfg(feature = "http")]
pub mod http;
mod json;
pub mod keys;
mod limits;
mod memory;
pub mod metrics;
mod observed;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::UnixClock;
pub use data_lock::DataLock;
pub use election::{Election, Leadership, Standing};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdOptions, EtcdOptionsError, EtcdStore};
pub use host::host_name;
pub use json::{get_json, list_json};
pub use limits::{LONGEST_TRANSACTION, MOST_OPERATIONS};
pub use memory::MemoryStore;
pub use observed::{Beat, Check, Observed};
pub use store::{
    Change, Condition, Entry, Event, Lease, LeaseId, Listing, Operation, Revision, Store, StoreError, Transaction,
    Watch,
};
