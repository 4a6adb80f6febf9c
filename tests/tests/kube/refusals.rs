//! What helm refuses, and how it says so.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::harness::{World, chart, say};

/// Settings that are wrong, and what the message must name.
const BAD: &[(&str, &[&str])] = &[
    ("nimbus.replicas=0", &["/nimbus/replicas", "minimum"]),
    ("nimbus.replicas=two", &["/nimbus/replicas", "want integer"]),
    ("supervisor.slots=0", &["/supervisor/slots", "minimum"]),
    ("supervisor.replicas=-1", &["/supervisor/replicas", "minimum"]),
    ("supervisor.memory=much", &["/supervisor/memory", "pattern"]),
    ("supervisor.slot=3", &["/supervisor", "slot"]),
    ("superviser.slots=3", &["superviser"]),
    ("etcd.replicas=2", &["/etcd/replicas", "1, 3"]),
    ("image.pullPolicy=Sometimes", &["/image/pullPolicy", "IfNotPresent"]),
    ("image.repository=", &["/image/repository", "minLength"]),
    ("supervisor.resources=big", &["/supervisor/resources", "want object"]),
    ("externalEtcd.endpoints[0]=etcd:2379", &["/externalEtcd/endpoints/0", "https?://"]),
    ("fullnameOverride=a.b", &["/fullnameOverride", "pattern"]),
    ("lease=0", &["/lease", "minimum"]),
    ("prune=maybe", &["/prune", "want boolean"]),
    ("topologies[0].definition=x", &["/topologies/0", "name"]),
    ("metrics.serviceMonitor.interval=often", &["/metrics/serviceMonitor/interval"]),
    // What a schema cannot say.
    ("etcd.enabled=false", &["externalEtcd.endpoints"]),
    ("supervisor.leaveWithin=300", &["terminationGracePeriodSeconds"]),
];

pub(crate) async fn chart_is_clean_and_bad_values_are_refused_with_what_is_wrong(world: &World) -> Result<()> {
    let begun = Instant::now();
    let shell = &world.cluster().await?.shell;
    let chart = chart().display().to_string();
    let told = shell.run(&["helm", "lint", "--strict", &chart]).await?;
    ensure!(!told.contains("WARNING"), "helm lint says: {told}");
    shell.run(&[&format!("{chart}/../../manifests/render"), "--check"]).await?;
    for (setting, expected) in BAD {
        let answer = shell.answer(&["helm", "template", "galerna", &chart, "--set", setting]).await?;
        ensure!(!answer.is_good(), "`--set {setting}` is taken");
        for part in *expected {
            ensure!(answer.errors.contains(part), "`--set {setting}` should name `{part}`: {}", answer.errors);
        }
        ensure!(
            answer.errors.lines().count() <= 8,
            "`--set {setting}` is not refused in a few words: {}",
            answer.errors
        );
    }
    say(&format!("lint and {} refusals in {:.1?}", BAD.len(), begun.elapsed()));
    Ok(())
}
