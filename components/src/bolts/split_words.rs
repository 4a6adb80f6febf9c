//! `split-words`: text into words.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, Tuple, Wiring, values};
use serde::Deserialize;
use smol_str::{SmolStr, StrExt};

use super::ROWS_BEFORE_ROOM;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "split-words",
    aliases: &[],
    summary: "The words of a text: what stands between Unicode white space.",
    example: include_str!("split_words.yaml"),
};

/// Emits each word of a text: what stands between Unicode white space, as
/// [`str::split_whitespace`] does.
///
#[doc = concat!("```yaml\n", include_str!("split_words.yaml"), "```")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitWords {
    field: SmolStr,
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default)]
    lowercase: bool,
}

const fn default_output() -> SmolStr {
    SmolStr::new_static("word")
}

impl Bolt for SplitWords {
    fn output(&self) -> Streams {
        Streams::default_fields([self.output.clone()])
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        wiring.expect_field("field", &self.field);
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        for (index, word) in tuple.str(&self.field)?.split_whitespace().enumerate() {
            if index > 0 && index % ROWS_BEFORE_ROOM == 0 {
                out.room().await;
            }
            out.emit(values![if self.lowercase { word.to_lowercase_smolstr() } else { SmolStr::new(word) }]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::bolt;

    #[tokio::test]
    async fn words_are_what_stands_between_unicode_white_space() {
        let mut test = bolt::<SplitWords>("{field: line}", ["line"]).await;
        let text = "\u{3000}One\u{a0}two\t\u{2028}THREE\u{200b}four \u{85} a\u{1c}b\0c\n";
        test.execute(values![text]).await.into_result().unwrap();
        let words: Vec<_> = text.split_whitespace().map(|word| values![word]).collect();
        assert_eq!(test.take_rows(), words);
        test.execute(values![" \t "]).await.into_result().unwrap();
        assert!(test.take_rows().is_empty());
    }

    #[tokio::test]
    async fn lowercase_follows_unicode() {
        let mut test = bolt::<SplitWords>("{field: line, lowercase: true, output: w}", ["line"]).await;
        test.execute(values!["ÀÉ Straße"]).await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["àé"], values!["straße"]]);
    }

    #[tokio::test]
    async fn a_text_of_very_many_words_awaits_room() {
        let mut test = bolt::<SplitWords>("{field: line}", ["line"]).await;
        test.execute(values!["w ".repeat(100_000)]).await.into_result().unwrap();
        assert_eq!(test.take_rows().len(), 100_000);
    }

    #[tokio::test]
    async fn a_field_that_is_not_text_fails_the_tuple() {
        let mut test = bolt::<SplitWords>("{field: line}", ["line"]).await;
        let error = test.execute(values![1]).await.into_result().unwrap_err();
        assert_eq!(error.to_string(), "field `line` is i64, expected string");
        assert_eq!((test.acked(), test.failed()), (0, 1));
    }
}
