//! What daemons serve over HTTP: health, and metrics that are exact, documented and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use galerna_coordination::metrics::{Exposition, Metric};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Cluster, Sequence, Setup, bound, lease, secs, within};

/// The status of an answer, and its text.
async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(secs(5), answer).await.with_context(|| format!("{address} does not answer"))??;
    let (head, text) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
    Ok((status, text.to_owned()))
}

async fn scrape(address: &str) -> Result<Exposition> {
    let (status, text) = get(address, "/metrics").await?;
    ensure!(status == 200, "{address}: {status}: {text}");
    Exposition::read(&text).map_err(|problem| anyhow::anyhow!("{address}: {problem}"))
}

async fn scrape_supervisors(cluster: &Cluster) -> Result<Vec<Exposition>> {
    let mut scraped = Vec::new();
    for address in &cluster.supervisor_https {
        scraped.push(scrape(address).await?);
    }
    Ok(scraped)
}

fn sum(scraped: &[Exposition], name: &str, labels: &[(&str, &str)]) -> f64 {
    scraped.iter().filter_map(|one| one.sum(name, labels)).sum()
}

/// What each component has counted, as supervisors export it, as far as `describe` tells it, too.
fn exported(scraped: &[Exposition], component: &Value) -> BTreeMap<String, f64> {
    let id = component["id"].as_str().unwrap_or_default();
    let counts = ["emitted", "executed", "acked", "failed", "replayed", "gave_up", "restarts", "errors"];
    let of = |count: &str| sum(scraped, &format!("galerna_task_{count}_total"), &[("component", id)]);
    counts.into_iter().map(|count| (count.to_owned(), of(count))).collect()
}

#[tokio::test]
async fn scraped_counts_are_those_of_describe_and_health_tells_who_is_ready() -> Result<()> {
    let cluster = Setup::supervisors(2).nimbuses(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let all: Vec<&String> = cluster.nimbus_https.iter().chain(&cluster.supervisor_https).collect();
    within(bound(secs(5)), "all daemons are ready", async || {
        for address in &all {
            let (status, text) = get(address, "/readyz").await?;
            if status != 200 || get(address, "/livez").await?.0 != 200 {
                return Ok(Err(format!("{address}: {status}: {text}")));
            }
        }
        Ok(Ok(()))
    })
    .await?;
    let (mut leaders, mut executors) = (0.0, 0.0);
    for address in &cluster.nimbus_https {
        let scraped = scrape(address).await?;
        leaders += scraped.sum("galerna_nimbus_is_leader", &[]).context("nimbus does not say whether it leads")?;
        executors +=
            scraped.sum("galerna_topology_executors_assigned", &[("topology", "sequence")]).unwrap_or_default();
    }
    ensure!((leaders, executors) == (1.0, 6.0), "{leaders} lead, {executors} executors are assigned");
    let running = scrape_supervisors(&cluster).await?;
    within(bound(secs(5)), "all tasks are told to run", async || {
        let up = sum(&scrape_supervisors(&cluster).await?, "galerna_task_up", &[("topology", "sequence")]);
        Ok(if up == 10.0 { Ok(()) } else { Err(format!("{up} tasks are up")) })
    })
    .await?;

    // Counts of a worker that is killed go on.
    let worker = sequence.state().await?.worker_of("pass")?.clone();
    sequence.kill_worker(&worker)?;
    sequence.worker_exits(&worker, bound(secs(1))).await?;
    sequence.is_whole(bound(secs(6))).await?;
    sequence.finishes_with_nothing_lost().await?;

    let described = cluster.succeed(["describe", "sequence", "--output", "json"]).await?;
    let described: Value = serde_json::from_str(&described)?;
    let scraped = scrape_supervisors(&cluster).await?;
    let components = described["components"].as_array().context("no components are described")?;
    ensure!(components.len() == 3, "{described}");
    for component in components {
        let expected: BTreeMap<String, f64> = exported(&scraped, component)
            .into_keys()
            .map(|count| (count.clone(), component[&count].as_f64().unwrap_or_default()))
            .collect();
        let found = exported(&scraped, component);
        ensure!(found == expected, "{}: {found:?} is exported, {expected:?} described", component["id"]);
        let before = exported(&running, component);
        ensure!(before.iter().all(|(count, value)| *value <= found[count]), "{before:?} became {found:?}");
        ensure!(found["emitted"] > 0.0 || component["id"] == "note", "nothing was counted: {found:?}");
    }
    ensure!(sum(&scraped, "galerna_worker_launches_total", &[]) >= 3.0, "launches are not counted");

    sequence.is_removed_by_kill(secs(3)).await?;
    within(bound(secs(3)), "series of a topology that is gone vanish", async || {
        let scraped = scrape_supervisors(&cluster).await?;
        let left = scraped.iter().map(|one| one.samples("galerna_task_emitted_total", &[]).count()).sum::<usize>();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} are left")) })
    })
    .await?;

    // Without the store nobody is ready, and everybody lives.
    cluster.etcd.kill()?;
    for address in &all {
        within(bound(lease() + secs(3)), "it says what is missing", async || {
            let (status, text) = get(address, "/readyz").await?;
            Ok(if status == 503 && text.contains("[-]") { Ok(()) } else { Err(format!("{status}: {text}")) })
        })
        .await?;
        let (status, text) = get(address, "/livez").await?;
        ensure!(status == 200, "{address}: {text}");
    }
    cluster.etcd.restart()?;
    cluster.knows_supervisors(2, bound(lease() + secs(4))).await?;
    cluster.ends_well().await
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

const PAGE: &str = "docs/guide/metrics.md";

/// All metrics, each with the daemons that have it.
fn all_metrics() -> BTreeMap<&'static str, (Metric, BTreeSet<&'static str>)> {
    let mut all: BTreeMap<&str, (Metric, BTreeSet<&str>)> = BTreeMap::new();
    for (daemon, metrics) in [("nimbus", galerna_nimbus::metrics()), ("supervisor", galerna_supervisor::metrics())] {
        for metric in metrics {
            all.entry(metric.name).or_insert_with(|| (metric, BTreeSet::new())).1.insert(daemon);
        }
    }
    all
}

fn table(title: &str, metrics: &[Metric]) -> String {
    let mut table = format!("### {title}\n\n| metric | type | labels | |\n|---|---|---|---|\n");
    for metric in metrics {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help);
    }
    table + "\n"
}

fn tables() -> String {
    let all = all_metrics();
    let is_of = |metric: &Metric, daemons: &[&str]| all[metric.name].1.iter().copied().eq(daemons.iter().copied());
    let own = |metrics: Vec<Metric>, daemons: &[&str]| -> Vec<Metric> {
        metrics.into_iter().filter(|metric| is_of(metric, daemons)).collect()
    };
    [
        table("Of supervisors", &own(galerna_supervisor::metrics(), &["supervisor"])),
        table("Of nimbus", &own(galerna_nimbus::metrics(), &["nimbus"])),
        table("Of each daemon", &own(galerna_nimbus::metrics(), &["nimbus", "supervisor"])),
    ]
    .concat()
}

/// All names in a text that look like those of metrics.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
    words.filter(|word| ["galerna_", "process_"].iter().any(|prefix| word.starts_with(prefix))).collect()
}

/// Those that no daemon exports.
fn unknown<'a>(names: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let all = all_metrics();
    let is_known = |name: &str| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_histogram = |family| all.get(family).is_some_and(|(metric, _)| metric.kind.to_string() == "histogram");
        // Several are spoken of by what they begin with.
        let are_several = name.ends_with('_') && all.keys().any(|known| known.starts_with(name));
        // A histogram has no sample of its bare name, but is spoken of by it.
        // Components choose the names of their own metrics.
        let is_users = name.starts_with("galerna_user_");
        is_users || all.contains_key(name) || are_several || family.is_some_and(is_histogram)
    };
    names.iter().copied().filter(|name| !is_known(name)).collect()
}

#[test]
fn metrics_page_is_up_to_date() -> Result<()> {
    let page = fs::read_to_string(file(PAGE))?;
    let (before, rest) = page.split_once("<!-- tables -->\n\n").context("no tables begin")?;
    let (_, after) = rest.split_once("<!-- end of tables -->").context("no tables end")?;
    let wanted = format!("{before}<!-- tables -->\n\n{}<!-- end of tables -->{after}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(file(PAGE), &wanted)?;
    }
    ensure!(fs::read_to_string(file(PAGE))? == wanted, "run: UPDATE_DOCS=1 cargo test -p galerna-tests metrics_page");
    let unknown = unknown(&mentioned(&wanted));
    ensure!(unknown.is_empty(), "no daemon exports {unknown:?}");
    Ok(())
}

#[test]
fn dashboard_asks_only_for_metrics_that_there_are() -> Result<()> {
    fn questions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => found.push(text),
                        _ => questions(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| questions(value, found)),
            _ => {}
        }
    }
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(file("deploy/helm/galerna/dashboards/galerna.json"))?)?;
    let mut asked = Vec::new();
    questions(&dashboard, &mut asked);
    let names: BTreeSet<&str> = asked.iter().flat_map(|question| mentioned(question)).collect();
    ensure!(names.len() > 20, "only {names:?} are asked for");
    ensure!(names.iter().all(|name| !name.ends_with('_')), "{names:?}");
    let unknown = unknown(&names);
    ensure!(unknown.is_empty(), "no daemon exports {unknown:?}");
    let all = all_metrics();
    let bare =
        names.iter().filter(|name| all.get(*name).is_some_and(|(metric, _)| metric.kind.to_string() == "histogram"));
    let bare: Vec<_> = bare.collect();
    ensure!(bare.is_empty(), "histograms have no samples of their bare names: {bare:?}");
    Ok(())
}
