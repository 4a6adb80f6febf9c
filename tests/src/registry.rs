//! What the test topologies' YAML may name.

use galerna::prelude::*;

use crate::burn::Burn;
use crate::hog::Hog;
use crate::outage::Outage;
use crate::sequence::{NoteDown, NumberedLog, PassOn};

/// All stock types, those of the sequence check, one that takes too much memory, one that computes for long, and one that fails
/// while a file is there.
pub fn registry() -> Registry {
    Registry::stock()
        .spout::<NumberedLog>("numbered-log")
        .bolt::<PassOn>("pass-on")
        .bolt::<NoteDown>("note-down")
        .bolt::<Hog>("hog")
        .bolt::<Burn>("burn")
        .bolt::<Outage>("outage")
}
