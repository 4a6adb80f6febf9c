//! What the test topologies' YAML may name.

use galerna::prelude::*;

use crate::sequence::{NoteDown, NumberedLog, PassOn};

/// All stock types, and those of the sequence check.
pub fn registry() -> Registry {
    Registry::stock().spout::<NumberedLog>("numbered-log").bolt::<PassOn>("pass-on").bolt::<NoteDown>("note-down")
}
