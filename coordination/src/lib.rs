//! The store that Nimbus and supervisors coordinate through: compare-and-put transactions,
//! watches, leases, leader election, and the layout of keys.
//!
//! Two implementations answer alike: [`MemoryStore`] for tests and `galerna dev`, and etcd behind
//! the feature of that name. Workers know nothing of it.

pub mod clock;
mod election;
mod json;
pub mod keys;
mod memory;
mod store;

pub use clock::UnixClock;
pub use election::{Election, Leadership, Standing};
pub use json::{get_json, list_json};
pub use memory::MemoryStore;
pub use store::{
    Change, Condition, Entry, Event, LONGEST_TRANSACTION, Lease, LeaseId, Listing, MOST_OPERATIONS, Operation,
    Revision, Store, StoreError, Transaction, Watch,
};
