//! Rows taken out of a staging area.

use galerna_topology_api::engine::{Staged, StagedRow};
use galerna_topology_api::{Streams, Value};

/// A row as it was staged, its stream and its values.
pub(super) type Taken = (StagedRow, String, Vec<Value>);

/// Takes all rows out of `staged`, in the order of the emits.
pub(super) fn take_rows(staged: &mut Staged, streams: &Streams) -> Vec<Taken> {
    let mut values = std::mem::take(&mut staged.values).into_iter();
    let rows = std::mem::take(&mut staged.rows);
    staged.clear();
    let taken = |row: StagedRow| {
        let spec = &streams.iter().as_slice()[usize::from(row.stream())];
        (row, spec.id.to_string(), values.by_ref().take(spec.fields.len()).collect())
    };
    rows.into_iter().map(taken).collect()
}
