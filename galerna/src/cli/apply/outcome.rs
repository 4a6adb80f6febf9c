//! What came of a topology.

use serde_json::{Value, json};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Submitted,
    Unchanged,
    Rebalanced,
    Replaced,
    Killed,
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Unchanged => "unchanged",
            Self::Rebalanced => "rebalanced",
            Self::Replaced => "replaced",
            Self::Killed => "killed",
        }
    }
}

/// What was done with a topology, and why.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) deed: Deed,
    pub(super) reasons: Vec<String>,
    pub(super) status: String,
}

impl Outcome {
    pub(super) fn as_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "result": self.deed.name(),
            "reasons": self.reasons,
            "status": self.status,
        })
    }

    /// `words: replaced (words-7: program)`.
    pub(super) fn as_line(&self) -> String {
        let reasons = self.reasons.join("; ");
        let detail = match self.deed {
            Deed::Submitted | Deed::Killed => self.id.clone(),
            Deed::Replaced if reasons.is_empty() => self.id.clone(),
            Deed::Replaced => format!("{}: {reasons}", self.id),
            Deed::Rebalanced => reasons,
            Deed::Unchanged if self.status == "ACTIVE" => reasons,
            Deed::Unchanged if reasons.is_empty() => self.status.clone(),
            Deed::Unchanged => format!("{}; {reasons}", self.status),
        };
        let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
        format!("{}: {}{detail}", self.name, self.deed.name())
    }
}
