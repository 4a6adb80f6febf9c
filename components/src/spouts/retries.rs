//! The properties `retries`, `on_give_up` and `dead_letter`, which all reliable spouts have.

/// Reads a spout from its properties as `derive(Deserialize)` does, and then refuses a retry policy that contradicts
/// itself. For a type with `#[serde(remote = "Self")]` and the fields `retries`, `on_give_up`, `dead_letter`.
macro_rules! spout_with_retries {
    ($type:ty) => {
        impl $type {
            fn policy(&self) -> Result<galerna_topology_api::RetryPolicy, galerna_topology_api::PolicyError> {
                galerna_topology_api::RetryPolicy::new(self.retries, self.on_give_up, self.dead_letter.clone())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The inherent function that `remote` derives.
                let spout = Self::deserialize(deserializer)?;
                spout.policy().map_err(serde::de::Error::custom)?;
                Ok(spout)
            }
        }
    };
}

pub(crate) use spout_with_retries;
