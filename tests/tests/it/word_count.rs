//! The first topology that a newcomer submits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::harness::{Client, Development, Setup, bound, secs, within};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/word-count");

/// How often each word stands in the text, counted without any topology.
fn expected() -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for word in fs::read_to_string(format!("{FOLDER}/text.txt"))?.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

/// What the topology has written: a word and its count on each line.
fn counted(path: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(path)?;
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (word, count) = line.split_once('\t').with_context(|| format!("`{line}` has no tab"))?;
        ensure!(counts.insert(word.to_owned(), count.parse()?).is_none(), "`{word}` is counted twice");
    }
    Ok(counts)
}

/// Submits the word count, over two workers, and has seen that it counts right, finishes by itself
/// and is gone after `kill`.
async fn words_are_counted(client: &Client, folder: &Path) -> Result<()> {
    let output = folder.join("counts.tsv");
    let (file, set) = (format!("{FOLDER}/topology.yaml"), format!("output={}", output.display()));
    client.succeed(["submit", &file, "--set", &set, "--workers", "2"]).await?;
    let described = within(bound(secs(8)), "the word count finishes", async || {
        let described = client.succeed(["describe", "word-count", "--output", "json"]).await?;
        let described: Value = serde_json::from_str(&described).context("`describe --output json`")?;
        let is_finished = described.to_string().contains("FINISHED");
        Ok(if is_finished { Ok(described) } else { Err(described.to_string()) })
    })
    .await?;
    ensure!(counted(&output)? == expected()?, "{:?} is not {:?}; {described}", counted(&output)?, expected()?);
    let listed = client.succeed(["list"]).await?;
    ensure!(listed.contains("word-count") && listed.contains("FINISHED"), "{listed}");
    let supervisors: Value = serde_json::from_str(&client.succeed(["supervisors", "--output", "json"]).await?)?;
    let supervisors = supervisors.as_array().context("`supervisors --output json`")?;
    ensure!(supervisors.len() == 2, "{supervisors:?}");
    ensure!(supervisors.iter().all(|supervisor| supervisor["used"] == 0), "slots are not free: {supervisors:?}");

    client.succeed(["kill", "word-count"]).await?;
    within(bound(secs(2)), "it is removed", async || {
        let listed = client.succeed(["list"]).await?;
        Ok(if listed.contains("word-count") { Err(listed) } else { Ok(()) })
    })
    .await
}

#[tokio::test]
async fn word_count_over_two_supervisors_is_exact_finishes_and_is_removed_by_kill() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    words_are_counted(&cluster.client(), cluster.folder()).await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn word_count_on_a_development_cluster_does_the_same() -> Result<()> {
    let development = Development::start().await?;
    words_are_counted(&development.client, development.folder()).await?;
    development.ends_well().await
}
