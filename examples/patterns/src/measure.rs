//! Measures text: one side of the diamond each.

use galerna::prelude::*;

/// Emits the text's id and one measure of the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measure {
    /// What to measure.
    what: What,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Words,
    Letters,
}

impl Bolt for Measure {
    fn output(&self) -> Streams {
        Streams::default_fields(match self.what {
            What::Words => ["id", "words"],
            What::Letters => ["id", "letters"],
        })
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let text = tuple.str("text")?;
        let measure = match self.what {
            What::Words => text.split_whitespace().count(),
            What::Letters => text.chars().filter(|c| c.is_alphabetic()).count(),
        };
        out.emit(values![tuple.get("id")?.clone(), measure as i64]);
        Ok(())
    }
}
