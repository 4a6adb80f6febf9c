//! What a transaction may be: etcd's limits, for all stores, so that nothing works in memory alone.

use std::collections::BTreeSet;

use crate::store::{Operation, StoreError, Transaction};

/// How many conditions, and how many operations, a transaction may have: etcd's own limit.
pub const MOST_OPERATIONS: usize = 128;

/// How many bytes of keys and values a transaction may set: a little less than etcd's limit for a
/// request.
pub const LONGEST_TRANSACTION: usize = 1400 * 1024;

/// Refuses what etcd would refuse.
pub(crate) fn check(transaction: &Transaction) -> Result<(), StoreError> {
    let refused = |message: String| Err(StoreError::Refused(message));
    let most = transaction.conditions.len().max(transaction.operations.len());
    if most > MOST_OPERATIONS {
        return refused(format!("a transaction has {most} parts; at most {MOST_OPERATIONS} are accepted"));
    }
    let (mut put_keys, mut deleted_keys, mut length) = (BTreeSet::new(), BTreeSet::new(), 0);
    for operation in &transaction.operations {
        let key = match operation {
            Operation::Put { key, value, .. } => {
                length += key.len() + value.len();
                if !put_keys.insert(key) {
                    return refused(format!("a transaction sets `{key}` twice"));
                }
                key
            }
            Operation::Delete(key) => {
                deleted_keys.insert(key);
                key
            }
        };
        if key.is_empty() {
            return refused("a key is empty".into());
        }
    }
    if let Some(key) = put_keys.intersection(&deleted_keys).next() {
        return refused(format!("a transaction sets and deletes `{key}`"));
    }
    if length > LONGEST_TRANSACTION {
        return refused(format!("a transaction has {length} bytes; at most {LONGEST_TRANSACTION} are accepted"));
    }
    Ok(())
}
