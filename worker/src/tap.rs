//! Recording what components emit, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use galerna_topology_api::Value;
use smol_str::SmolStr;

/// All rows that were emitted, per component and stream. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Arc<Mutex<Rows>>);

/// Rows by component and stream.
type Rows = BTreeMap<(SmolStr, SmolStr), Vec<Vec<Value>>>;

impl Tap {
    pub(crate) fn emitted(&self, component: &SmolStr, stream: &SmolStr, values: &[Value]) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.entry((component.clone(), stream.clone())).or_default().push(values.to_vec());
    }

    /// The rows emitted so far on a stream.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests listen"))]
    pub(crate) fn rows(&self, component: &str, stream: &str) -> Vec<Vec<Value>> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(&(component.into(), stream.into())).cloned().unwrap_or_default()
    }
}
