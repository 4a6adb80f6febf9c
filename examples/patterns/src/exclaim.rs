//! The smallest bolt: says everything louder.

use galerna::prelude::*;

/// Adds three exclamation marks to a field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclaim {
    /// The field to read, and to emit.
    field: String,
}

impl Bolt for Exclaim {
    fn output(&self) -> Streams {
        Streams::default_fields([self.field.as_str()])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(values![format!("{}!!!", tuple.str(&self.field)?)]);
        Ok(())
    }
}
