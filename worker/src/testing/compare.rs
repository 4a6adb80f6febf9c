//! Comparing tuples regardless of their order.

use std::fmt::Write;

use galerna_topology_api::Value;

/// Asserts that both hold the same rows, each as often, in whatever order.
///
/// # Panics
/// When they differ; the message lists what is missing and what is too much.
#[track_caller]
pub fn assert_same_tuples<F, E>(found: impl IntoIterator<Item = F>, expected: impl IntoIterator<Item = E>)
where
    F: AsRef<[Value]>,
    E: AsRef<[Value]>,
{
    let mut missing: Vec<Vec<Value>> = expected.into_iter().map(|row| row.as_ref().to_vec()).collect();
    let mut surplus: Vec<Vec<Value>> = Vec::new();
    missing.sort();
    for row in found {
        match missing.binary_search_by(|candidate| candidate.as_slice().cmp(row.as_ref())) {
            Ok(place) => {
                missing.remove(place);
            }
            Err(_) => surplus.push(row.as_ref().to_vec()),
        }
    }
    let mut message = String::new();
    for (title, rows) in [("missing", &missing), ("not expected", &surplus)] {
        for row in rows {
            let shown: Vec<_> = row.iter().map(|value| format!("{value:?}")).collect();
            let _ = write!(message, "\n  {title}: [{}]", shown.join(", "));
        }
    }
    assert!(message.is_empty(), "the tuples differ:{message}");
}
