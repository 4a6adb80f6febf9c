//! Tuples as bolts see them: a borrowed row with names and a source.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use crate::engine::{Anchor, Batch, TupleSource};
use crate::fields::Fields;
use crate::tasks::TaskId;
use crate::value::{RowDeserializer, RowError, Timestamp, Value, ValueKind};

/// One tuple: a row of values that lies in its batch, with the names of its fields and its source.
///
/// Fields are found by index or by name; the typed getters say what was found instead.
#[derive(Clone, Copy)]
pub struct Tuple<'a> {
    pub(crate) source: &'a TupleSource,
    /// The task that emitted it.
    pub(crate) task: TaskId,
    pub(crate) values: &'a [Value],
    pub(crate) anchors: TupleAnchors<'a>,
}

/// Where a tuple's anchors lie.
#[derive(Clone, Copy)]
pub(crate) enum TupleAnchors<'a> {
    /// In the batch, at this row.
    Row(&'a Batch, usize),
    /// In the table, at the token of a held tuple with this source; the view itself carries none.
    Held(&'a Arc<TupleSource>),
}

/// Why a field could not be read as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// No field of that name or index.
    #[error("no field {key}{}; the fields of `{component}` on stream `{stream}` are {fields}", near(key, fields))]
    Unknown {
        /// What was asked for.
        key: String,
        /// The component that the tuple came from.
        component: SmolStr,
        /// The stream that it came on.
        stream: SmolStr,
        /// What there is.
        fields: Fields,
    },
    /// The field holds another kind of value.
    #[error("field {key} is {found}, expected {expected}")]
    Kind {
        /// What was asked for.
        key: String,
        /// The kind that the field holds.
        found: ValueKind,
        /// The kind that was asked for.
        expected: ValueKind,
    },
    /// The row does not have the shape of the type that it was decoded into.
    #[error("cannot decode a tuple with fields {fields}")]
    Decode {
        /// The tuple's fields.
        fields: Fields,
        /// What did not fit.
        #[source]
        source: RowError,
    },
}

fn near(key: &str, fields: &Fields) -> String {
    crate::suggest::did_you_mean(key.trim_matches('`'), fields.iter())
}

/// What names a field: its index or its name.
pub trait FieldKey {
    /// The field's place in a row of `fields`.
    fn place_in(&self, fields: &Fields) -> Option<usize>;
    /// How messages write it.
    fn describe(&self) -> String;
}

impl FieldKey for usize {
    fn place_in(&self, fields: &Fields) -> Option<usize> {
        (*self < fields.len()).then_some(*self)
    }
    fn describe(&self) -> String {
        self.to_string()
    }
}

impl FieldKey for &str {
    fn place_in(&self, fields: &Fields) -> Option<usize> {
        fields.index_of(self)
    }
    fn describe(&self) -> String {
        format!("`{self}`")
    }
}

impl FieldKey for &String {
    fn place_in(&self, fields: &Fields) -> Option<usize> {
        fields.index_of(self)
    }
    fn describe(&self) -> String {
        format!("`{self}`")
    }
}

impl FieldKey for &SmolStr {
    fn place_in(&self, fields: &Fields) -> Option<usize> {
        fields.index_of(self)
    }
    fn describe(&self) -> String {
        format!("`{self}`")
    }
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $as:ident, $type:ty, $kind:ident) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When there is no such field, or it holds another kind of value.
        pub fn $name(&self, key: impl FieldKey) -> Result<$type, FieldError> {
            let value = self.get(&key)?;
            value.$as().ok_or_else(|| FieldError::Kind {
                key: key.describe(),
                found: value.kind(),
                expected: ValueKind::$kind,
            })
        }
    };
}

impl<K: FieldKey> FieldKey for &K {
    fn place_in(&self, fields: &Fields) -> Option<usize> {
        (**self).place_in(fields)
    }
    fn describe(&self) -> String {
        (**self).describe()
    }
}

impl<'a> Tuple<'a> {
    /// The value of a field, by name or index.
    ///
    /// # Errors
    /// When there is no such field.
    #[inline]
    pub fn get(&self, key: impl FieldKey) -> Result<&'a Value, FieldError> {
        key.place_in(&self.source.fields).map(|place| &self.values[place]).ok_or_else(|| FieldError::Unknown {
            key: key.describe(),
            component: self.source.component.clone(),
            stream: self.source.stream.clone(),
            fields: self.source.fields.clone(),
        })
    }

    getter!(/** The text of a field. */ str, as_str, &'a str, Str);
    getter!(/** The integer of a field. */ i64, as_i64, i64, Int);
    getter!(/** The float of a field. */ f64, as_f64, f64, Float);
    getter!(/** The bool of a field. */ bool, as_bool, bool, Bool);
    getter!(/** The bytes of a field. */ bytes, as_bytes, &'a [u8], Bytes);
    getter!(/** The items of a field. */ list, as_list, &'a [Value], List);
    getter!(/** The entries of a field. */ map, as_map, &'a std::collections::BTreeMap<SmolStr, Value>, Map);
    getter!(/** The point in time of a field. */ timestamp, as_timestamp, Timestamp, Timestamp);

    /// Reads the whole tuple into a struct (or a tuple, in order) by serde.
    ///
    /// # Errors
    /// When the fields do not fit the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, FieldError> {
        let row = RowDeserializer { fields: &self.source.fields, values: self.values };
        T::deserialize(row).map_err(|source| FieldError::Decode { fields: self.source.fields.clone(), source })
    }

    /// All values, in the order of the fields.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// The names of the fields.
    pub fn fields(&self) -> &'a Fields {
        &self.source.fields
    }

    /// The component that emitted the tuple.
    pub fn source_component(&self) -> &'a str {
        &self.source.component
    }

    /// The stream that it was emitted on.
    pub fn source_stream(&self) -> &'a str {
        &self.source.stream
    }

    /// The task that emitted it.
    pub fn source_task(&self) -> TaskId {
        self.task
    }

    /// The shared source.
    pub(crate) fn shared_source(&self) -> &'a Arc<TupleSource> {
        match self.anchors {
            TupleAnchors::Row(batch, _) => &batch.source,
            TupleAnchors::Held(source) => source,
        }
    }

    /// Whether this is the view of a held tuple.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.anchors, TupleAnchors::Held(_))
    }

    /// The anchors that tie this tuple to its spouts' trees.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = Anchor> + 'a {
        let (first, more) = match self.anchors {
            TupleAnchors::Row(batch, row) => batch.anchors_of(row),
            TupleAnchors::Held(_) => (None, &[][..]),
        };
        first.into_iter().chain(more.iter().map(|(_, anchor)| *anchor))
    }
}

impl std::fmt::Debug for Tuple<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source.component, self.source.stream)?;
        f.debug_map().entries(self.fields().iter().zip(self.values)).finish()
    }
}
