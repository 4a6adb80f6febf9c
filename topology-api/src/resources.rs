//! What the tasks of one worker share: connection pools, caches, models.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared values, one of each type.
#[derive(Default)]
pub struct Resources(Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Resources {
    /// Puts a value in, replacing an earlier one of its type.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&TypeId::of::<T>()).and_then(|value| value.clone().downcast().ok())
    }

    /// The value of this type, made by the first task that asks.
    pub fn get_or_insert_with<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = map.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make())).clone();
        drop(map);
        value.downcast().unwrap_or_else(|_| unreachable!("stored under its own type"))
    }
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resources")
    }
}
