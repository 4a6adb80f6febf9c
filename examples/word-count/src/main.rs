//! Counts words with a bolt of its own: `rust.yaml` names it `split`.

use galerna::prelude::*;

/// Splits text into words. The fields are what YAML sets under `properties`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    /// The field with the text.
    field: String,
    /// Whether words are lowercased, so that `The` and `the` are one.
    #[serde(default)]
    lowercase: bool,
}

impl Bolt for Split {
    fn output(&self) -> Streams {
        Streams::default_fields(["word"])
    }

    async fn execute(&mut self, line: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        for word in line.str(&self.field)?.split_whitespace() {
            out.emit(values![if self.lowercase { word.to_lowercase() } else { word.to_owned() }]);
        }
        Ok(()) // acks the line; an `Err` fails it, and the task goes on
    }
}

fn registry() -> Registry {
    Registry::stock().bolt::<Split>("split")
}

fn main() -> ExitCode {
    galerna::main(registry())
}

#[cfg(test)]
mod tests;
