//! The properties `retries`, `on_give_up` and `dead_letter`, which all reliable spouts have.

/// Reads a spout from its properties as `derive(Deserialize)` does, and then refuses a retry policy that contradicts
/// itself. For a type with `#[serde(remote = "Self")]` and the fields `retries`, `on_give_up`, `dead_letter`.
macro_rules! spout_with_retries {
    ($type:ty) => {
        $crate::spouts::retries::retry_policy!($type);

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The inherent function that `remote` derives.
                let spout = Self::deserialize(deserializer)?;
                spout.policy().map_err(serde::de::Error::custom)?;
                Ok(spout)
            }
        }
    };
}

/// Adds `policy`, the retry policy of a type with the fields `retries`, `on_give_up`, `dead_letter`.
macro_rules! retry_policy {
    ($type:ty) => {
        impl $type {
            fn policy(&self) -> Result<galerna_topology_api::RetryPolicy, galerna_topology_api::PolicyError> {
                galerna_topology_api::RetryPolicy::new(self.retries, self.on_give_up, self.dead_letter.clone())
            }
        }
    };
}

pub(crate) use {retry_policy, spout_with_retries};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use galerna_topology_api::engine::SpoutCell;
    use galerna_topology_api::{Failure, Next, Spout};
    use galerna_worker::testing::{SpoutHarness, TaskOptions};
    use serde::de::DeserializeOwned;
    use tokio::time::advance;

    use crate::harness::{from_yaml, refusal, texts};
    use crate::spouts::{ExecLines, FileLines, Generator, RandomWords, SocketLines, StdinLines, Values};

    /// A spout with a limit of open tuples.
    async fn limited<S: Spout + DeserializeOwned>(properties: &str, limit: u32) -> SpoutHarness {
        let properties = properties.to_owned();
        let factory = SpoutCell::factory(move || Ok(from_yaml::<S>(&properties)));
        let options = TaskOptions::task(0, 1).config("topology.max.spout.pending", limit);
        SpoutHarness::of(&factory, options).await.unwrap()
    }

    /// With one open tuple allowed, each call emits one.
    async fn check_one_by_one<S: Spout + DeserializeOwned>(properties: &str) {
        let mut test = limited::<S>(properties, 1).await;
        for number in 0..3 {
            test.run_until(number + 1).await.unwrap();
            assert_eq!(test.rows().len(), number + 1, "{properties}");
            test.ack(number).await;
        }
    }

    #[tokio::test]
    async fn stock_spouts_emit_no_more_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        fs::write(&path, "a\nb\nc\nd\n").unwrap();
        check_one_by_one::<FileLines>(&format!("{{path: '{}'}}", path.display())).await;
        check_one_by_one::<Generator>("{count: 1000}").await;
        check_one_by_one::<RandomWords>("{count: 1000}").await;
        check_one_by_one::<Values>("{fields: [a], rows: [[1], [2], [3], [4]]}").await;
        check_one_by_one::<ExecLines>("{command: seq, args: ['1000']}").await;
    }

    #[test]
    fn dead_letters_without_a_limit_are_refused_by_every_stock_spout() {
        fn refuses<S: DeserializeOwned>(properties: &str) {
            let error = refusal::<S>(&format!("{{{properties} dead_letter: {{path: dead.jsonl}}}}"));
            assert!(error.contains("`dead_letter` needs a limit"), "{error}");
            let _: S = from_yaml(&format!("{{{properties} dead_letter: {{path: d}}, retries: {{for: 5s}}}}"));
            let error = refusal::<S>(&format!("{{{properties} on_give_up: dead-letter, retries: {{limit: 1}}}}"));
            assert!(error.contains("needs `dead_letter: {path: FILE}`"), "{error}");
        }
        refuses::<FileLines>("path: a,");
        refuses::<Generator>("");
        refuses::<RandomWords>("");
        refuses::<Values>("fields: [a], rows: [],");
        refuses::<ExecLines>("command: ls,");
        refuses::<StdinLines>("");
        refuses::<SocketLines>("port: 1,");
    }

    /// Reads three lines, the second of which is given up, and then what a later run reads.
    async fn after_giving_up(more: &str, folder: &Path) -> Vec<String> {
        let path = folder.join("input");
        fs::write(&path, "good\nbad\nfine\n").unwrap();
        let place = (path.display(), folder.join("position").display().to_string());
        let properties = format!("{{path: '{}', position: '{}', retries: {{limit: 0}}, {more}}}", place.0, place.1);
        let mut test = limited::<FileLines>(&properties, 10).await;
        test.exhaust().await.unwrap();
        test.ack(0).await;
        test.ack(2).await;
        test.fail_with(1, Failure::failed("parse", "no number")).await;
        assert_eq!(test.given_up().len(), 1);
        test.close().await.unwrap();
        let mut later = limited::<FileLines>(&properties, 10).await;
        later.exhaust().await.unwrap();
        texts(&later).into_iter().map(str::to_owned).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn position_stays_before_a_line_that_was_given_up_unless_it_is_skipped_or_a_dead_letter() {
        let folder = || tempfile::tempdir().unwrap();
        assert_eq!(after_giving_up("", folder().path()).await, ["bad", "fine"]);
        assert_eq!(after_giving_up("on_give_up: hold", folder().path()).await, ["bad", "fine"]);
        assert!(after_giving_up("on_give_up: skip", folder().path()).await.is_empty());
        let with_letters = folder();
        let letters = with_letters.path().join("dead.jsonl");
        let more = format!("dead_letter: {{path: '{}'}}", letters.display());
        assert!(after_giving_up(&more, with_letters.path()).await.is_empty());
        let written = fs::read_to_string(letters).unwrap();
        assert!(written.starts_with(r#"{"values":{"line":"bad"},"reason":"no number","component":"parse","tries":1,"#));
    }

    #[tokio::test(start_paused = true)]
    async fn spout_whose_tuples_all_fail_emits_no_new_ones_beyond_ten_thousand() {
        let mut test = limited::<Generator>("{}", 64).await;
        let mut failed = 0;
        // So fast that no wait is over.
        while test.next().await.unwrap().next == Next::Emitted {
            for number in test.open() {
                test.fail(number).await;
                failed += 1;
            }
        }
        assert_eq!(failed, 10_048);
        advance(Duration::from_millis(100)).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 64));
        assert_eq!(test.replayed(), 64);
    }
}
