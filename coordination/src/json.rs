//! Values as JSON, read and written with their types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::store::{Entry, LeaseId, Store, StoreError, Transaction};

impl Entry {
    /// The value.
    ///
    /// # Errors
    /// If it is not JSON of that type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.value).map_err(|source| StoreError::Malformed { key: self.key.clone(), source })
    }
}

impl Transaction {
    /// Sets a key to a value as JSON.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn put_json<T: Serialize>(self, key: impl Into<String>, value: &T) -> Result<Self, StoreError> {
        let key = key.into();
        let value = to_json(&key, value)?;
        Ok(self.put(key, value))
    }

    /// Sets a key that goes with a lease to a value as JSON.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn put_json_leased<T: Serialize>(
        self,
        key: impl Into<String>,
        value: &T,
        lease: LeaseId,
    ) -> Result<Self, StoreError> {
        let key = key.into();
        let value = to_json(&key, value)?;
        Ok(self.put_leased(key, value, lease))
    }
}

fn to_json<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|source| StoreError::Malformed { key: key.to_owned(), source })
}

/// What stands under a key, and its entry.
///
/// # Errors
/// As [`Store::get`]; and if the value is not JSON of that type.
pub async fn get_json<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<(T, Entry)>, StoreError> {
    let entry = store.get(key).await?;
    entry.map(|entry| Ok((entry.json()?, entry))).transpose()
}

/// What stands under all keys that begin with `prefix`. Values that cannot be read are left out and
/// written into the log, so that one of them does not hide the others.
///
/// # Errors
/// As [`Store::list`].
pub async fn list_json<T: DeserializeOwned>(store: &dyn Store, prefix: &str) -> Result<Vec<(T, Entry)>, StoreError> {
    let listing = store.list(prefix).await?;
    let read = listing.entries.into_iter().filter_map(|entry| match entry.json() {
        Ok(value) => Some((value, entry)),
        Err(error) => {
            warn!(%error, "a value is left out");
            None
        }
    });
    Ok(read.collect())
}
