//! The store that Nimbus and supervisors coordinate through: compare-and-put transactions,
//! watches, leases, leader election, and the layout of keys.
//!
//! Two implementations answer alike: [`MemoryStore`] for tests and `galerna dev`, and etcd behind
//! the feature of that name. Workers know nothing of it.

pub mod keys;
mod store;

pub use store::{
    Change, Condition, Entry, Event, Lease, LeaseId, Listing, Operation, Revision, Store, StoreError, Transaction,
    Watch,
};
