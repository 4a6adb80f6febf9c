//! A bolt that cannot do its work while a file is there, as if the store behind it were down.

use std::path::PathBuf;

use galerna::prelude::*;

/// Fails each tuple while the file `down` exists, and passes tuples on otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outage {
    down: PathBuf,
}

impl Bolt for Outage {
    fn output(&self) -> Streams {
        Streams::default_fields(["line"])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        if self.down.exists() {
            return Err(format!("cannot store {}: the store is down", tuple.get(0)?).into());
        }
        out.emit(values![tuple.get(0)?.clone()]);
        Ok(())
    }
}
