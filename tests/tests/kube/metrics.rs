//! What Prometheus and Kubernetes are told, by way of the API server.

mod series;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};

use crate::harness::{Release, State, World, say};
use series::Series;

/// The ports that metrics and health are served at.
const NIMBUS: u16 = 9627;
const SUPERVISOR: u16 = 9628;

/// All series of all pods of a part.
async fn scrape(galerna: &Release, part: &str, port: u16) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for pod in galerna.namespace.pods(part).await? {
        let answer = galerna.namespace.request(pod.name(), port, "/metrics").await?;
        ensure!(answer.is_good(), "{} serves no metrics: {}", pod.name(), answer.errors);
        all.extend(series::read(pod.name(), &answer.output)?);
    }
    Ok(all)
}

/// The sum of a metric over all pods, of a component of the topology.
fn sum(all: &[Series], name: &str, component: &str) -> f64 {
    let is_meant = |series: &&Series| {
        series.name == name && series.label("topology") == "measured" && series.label("component") == component
    };
    all.iter().filter(is_meant).map(|series| series.value).sum()
}

pub(crate) async fn every_daemon_serves_its_own_series_and_says_that_it_is_ready(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/bounded.yaml");
    galerna.client.order(&["apply", file, "--wait", "--name", "measured"]).await?;
    galerna.client.stands("measured", bound(secs(30)), "it finishes", State::is_finished).await?;

    let supervisors = asked_within(bound(secs(5)), "supervisors serve the final counts", async || {
        let all = scrape(&galerna, "supervisor", SUPERVISOR).await?;
        let counts = [
            ("galerna_task_emitted_total", "numbers", 200_000.0),
            ("galerna_task_acked_total", "numbers", 200_000.0),
            ("galerna_task_executed_total", "half", 200_000.0),
            ("galerna_stream_emitted_total", "half", 100_000.0),
            ("galerna_stream_executed_total", "end", 100_000.0),
        ];
        let wrong = counts.map(|(name, component, expected)| (name, component, sum(&all, name, component), expected));
        let wrong: Vec<_> = wrong.iter().filter(|(_, _, count, expected)| count != expected).collect();
        Ok(if wrong.is_empty() { Ok(all) } else { Err(format!("{wrong:?}")) })
    })
    .await?;
    let nimbuses = scrape(&galerna, "nimbus", NIMBUS).await?;
    let leaders: f64 =
        nimbuses.iter().filter(|series| series.name == "galerna_nimbus_is_leader").map(|series| series.value).sum();
    ensure!(leaders == 1.0, "{leaders} lead");
    let builds = nimbuses.iter().chain(&supervisors).filter(|series| series.name == "galerna_build_info").count();
    ensure!(builds == galerna.pods().await?.len() - 1, "{builds} daemons say what they were built of");
    let names = |all: &[Series]| all.iter().map(|series| series.name.clone()).collect::<BTreeSet<_>>();
    say(&format!(
        "{} series of {} metrics by nimbus, {} of {} by supervisors",
        nimbuses.len(),
        names(&nimbuses).len(),
        supervisors.len(),
        names(&supervisors).len()
    ));

    for (part, port) in [("nimbus", NIMBUS), ("supervisor", SUPERVISOR)] {
        for pod in galerna.namespace.pods(part).await? {
            for path in ["/livez", "/readyz"] {
                let answer = galerna.namespace.request(pod.name(), port, path).await?;
                ensure!(answer.is_good(), "{} at {path}: {}", pod.name(), answer.errors);
                let are_good = answer.output.lines().any(|check| check.starts_with("[+] "))
                    && answer.output.lines().all(|check| !check.starts_with("[-] "));
                ensure!(are_good, "{} at {path} says: {}", pod.name(), answer.output);
            }
        }
    }
    galerna.client.kill("measured").await?;
    world.leave(galerna).await
}
