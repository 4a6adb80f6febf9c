//! What a bolt writes to is down: stock spouts at their defaults lose nothing, and the cause is told.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Fault, Setup, bound, secs, within};

/// Lines of the input; the sink must get each.
const LINES: usize = 2_000;

/// More than three times as long as five retries from 100 ms take.
const OUTAGE: u64 = 10;

fn topology(name: &str) -> String {
    format!("{}/topologies/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the input, and the file that stands for the outage.
fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let lines: String = (0..LINES).map(|n| format!("line-{n}\n")).collect();
    fs::write(folder.path().join("in.txt"), lines)?;
    File::create(folder.path().join("DOWN"))?;
    Ok(folder)
}

/// How many different lines have arrived.
fn arrived(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("out.txt")).unwrap_or_default();
    text.lines().collect::<BTreeSet<_>>().len()
}

async fn all_arrive(folder: &Path) -> Result<()> {
    // The next try may be as far away as the outage was long.
    within(bound(secs(3 * OUTAGE)), "all lines arrive", async || {
        let arrived = arrived(folder);
        Ok(if arrived == LINES { Ok(()) } else { Err(format!("{arrived} of {LINES}")) })
    })
    .await
}

#[tokio::test]
async fn outage_of_a_sink_on_a_cluster_loses_nothing_and_is_told() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let folder = folder()?;
    let set = format!("folder={}", folder.path().display());
    cluster.succeed(["submit", &topology("outage"), "--set", &set]).await?;
    let down = Fault::begins();
    within(bound(secs(3 * OUTAGE)), "the outage is told", async || {
        let described = cluster.describe("outage").await?;
        let spout = described.components.iter().find(|of| of.id == "lines").context("the spout")?;
        let told = spout.retrying.as_ref().filter(|of| of.for_ms >= 1000 * OUTAGE && of.tuples > 0);
        Ok(match told {
            Some(told) if told.reason.starts_with("`store`: cannot store line-") => Ok(()),
            _ => Err(format!("{:?} after {:?}", spout.retrying, down.elapsed())),
        })
    })
    .await?;
    let text = cluster.succeed(["describe", "outage"]).await?;
    ensure!(text.contains("\nlines is retrying "), "{text}");
    fs::remove_file(folder.path().join("DOWN"))?;
    all_arrive(folder.path()).await?;

    let errors: Value = serde_json::from_str(&cluster.succeed(["errors", "outage", "--output", "json"]).await?)?;
    ensure!(
        errors[0]["component"] == "store" && errors[0]["kind"] == "cannot store line-#: the store is down",
        "{errors}"
    );
    within(bound(secs(3)), "nothing is retried any more, and nothing was given up", async || {
        let described = cluster.describe("outage").await?;
        let spout = described.components.iter().find(|of| of.id == "lines").context("the spout")?;
        let is_good = spout.retrying.is_none() && spout.acked == LINES as u64 && spout.gave_up == 0;
        Ok(if is_good { Ok(()) } else { Err(format!("{spout:?}")) })
    })
    .await?;
    cluster.succeed(["kill", "outage", "-w", "10"]).await?;
    cluster.ends_well().await
}

/// Runs a topology in one process: exit code, standard output and standard error.
async fn local(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-topologies"));
    command.arg("local").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[tokio::test]
async fn outage_of_a_sink_in_one_process_loses_nothing() -> Result<()> {
    let folder = folder()?;
    let set = format!("folder={}", folder.path().display());
    let file = topology("outage");
    let down = Fault::begins();
    let run = async {
        let arguments = [&file, "--set", &set, "--for", "40s", "--output", "json"];
        local(&arguments).await
    };
    let outage = async {
        let is_over = || if down.elapsed() > secs(OUTAGE) { Ok(()) } else { Err("not yet") };
        within(secs(60), "the outage is over", async || Ok(is_over())).await?;
        fs::remove_file(folder.path().join("DOWN"))?;
        all_arrive(folder.path()).await
    };
    tokio::pin!(run);
    tokio::select! {
        biased;
        outcome = outage => outcome?,
        outcome = &mut run => anyhow::bail!("the run ended early: {outcome:?}"),
    }
    let (code, output, errors) = run.await?;
    ensure!(code == Some(0), "{code:?}: {errors}");
    let summary: Value = serde_json::from_str(&output)?;
    ensure!(summary["components"][0]["gave_up"] == 0 && summary["components"][0]["acked"] == LINES, "{summary}");
    Ok(())
}

#[tokio::test]
async fn flood_of_failures_is_logged_in_few_lines_and_told_by_its_cause() -> Result<()> {
    let count = 100_000;
    let set = format!("count={count}");
    let (code, output, errors) = local(&[&topology("flood"), "--set", &set, "--output", "json"]).await?;
    ensure!(code == Some(1), "tuples were given up, and the run ended with {code:?}");
    let logged = errors.lines().count();
    ensure!(logged < 300, "{logged} lines for {count} failures");
    let summary: Value = serde_json::from_str(&output)?;
    ensure!(summary["status"] == "failed" && summary["error"]["code"] == "gave_up", "{summary}");
    let listed = &summary["recent_errors"];
    let (cause, given_up) = (&listed[0], &listed[1]);
    ensure!(cause["component"] == "store" && cause["count"] == count, "{listed}");
    ensure!(cause["message"].as_str().is_some_and(|of| of.starts_with("cannot store ")), "{listed}");
    ensure!(given_up["component"] == "numbers" && given_up["count"] == count, "{listed}");
    ensure!(given_up["message"].as_str().is_some_and(|of| of.contains("`store`: cannot store ")), "{listed}");
    Ok(())
}
