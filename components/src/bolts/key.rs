//! The values of some fields as one key.

use galerna_topology_api::{FieldError, Tuple, Value};
use smol_str::SmolStr;

/// A map by keys. The hash has a fixed seed, so that runs are alike; what is emitted is sorted.
pub(super) type KeyMap<V> = std::collections::HashMap<Value, V, foldhash::fast::FixedState>;

/// The values of these fields: of one field its value, of several a list. That spares the common
/// case an allocation for each key.
pub(super) fn key_of(tuple: &Tuple<'_>, fields: &[SmolStr]) -> Result<Value, FieldError> {
    match fields {
        [field] => tuple.get(field).cloned(),
        fields => fields.iter().map(|field| tuple.get(field).cloned()).collect::<Result<_, _>>().map(Value::List),
    }
}

/// The values that a key of so many fields was made of.
pub(super) fn values_of(key: &Value, fields: usize) -> &[Value] {
    match key {
        Value::List(values) if fields != 1 => values,
        single => std::slice::from_ref(single),
    }
}
