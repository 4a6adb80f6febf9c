//! Every value of the chart, changed alone.

mod flips;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Namespace, Shell, World, chart, say};
use flips::{Flip, all_flips};

/// A definition like that of the Prometheus operator, as far as the API server looks.
const SERVICE_MONITORS: &str = include_str!("values/service-monitors.yaml");
/// What shows on a cluster alone, of which it depends.
const DEPENDENT: &[&str] = &["openVolumes"];
/// How many renderings go on at once.
const AT_ONCE: usize = 4;

/// The objects of a rendering, as JSON.
type Objects = BTreeSet<String>;

pub(crate) async fn each_value_changed_alone_gives_objects_that_the_api_server_accepts(world: &World) -> Result<()> {
    let begun = Instant::now();
    let values = fs::read_to_string(chart().join("values.yaml"))?;
    let flips = all_flips(&serde_yaml::from_str(&values)?)?;
    let namespace = world.namespace().await?;
    let shell = namespace.shell.clone();
    world.cluster().await?.define("servicemonitors.monitoring.coreos.com", SERVICE_MONITORS, world.undo()).await?;

    // What the values are that a change needs to show, and the changes on top of them.
    let mut settings: BTreeMap<String, Value> = BTreeMap::new();
    for flip in &flips {
        settings.insert(flip.background.to_string(), flip.background.clone());
        settings.insert(flip.values.to_string(), flip.values.clone());
    }
    let rendered = render_all(&shell, settings.into_values().collect()).await?;
    let rendered_in = begun.elapsed();
    let mut documents: BTreeMap<&str, String> = BTreeMap::new();
    let mut idle = Vec::new();
    for flip in &flips {
        let (before, after) = (&rendered[&flip.background.to_string()], &rendered[&flip.values.to_string()]);
        if before == after && !DEPENDENT.contains(&flip.path.as_str()) {
            idle.push(flip.path.as_str());
        }
        for object in after {
            documents.entry(object).or_insert_with(|| file_name(flip));
        }
    }
    ensure!(idle.is_empty(), "these values change nothing in what is rendered: {idle:?}");

    let base = &rendered[&Value::Object(serde_json::Map::new()).to_string()];
    let folder = tempfile::tempdir()?;
    for (number, object) in base.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.json")), object)?;
    }
    let errors = dry_run(&namespace, folder.path()).await?;
    ensure!(errors.is_empty(), "the chart as it is: {errors}");

    let folder = tempfile::tempdir()?;
    for (number, (object, name)) in documents.iter().filter(|(object, _)| !base.contains(**object)).enumerate() {
        fs::write(folder.path().join(format!("{name}.{number}.json")), object)?;
    }
    let errors = dry_run(&namespace, folder.path()).await?;
    // Some changes leave the profile on purpose.
    let errors: Vec<&str> =
        errors.lines().filter(|line| !line.starts_with("Warning: would violate PodSecurity")).collect();
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    say(&format!(
        "{} values changed alone: rendered in {rendered_in:.1?}, {} different objects accepted after {:.1?}",
        flips.len(),
        documents.len(),
        begun.elapsed()
    ));
    Ok(())
}

fn file_name(flip: &Flip) -> String {
    flip.path.replace(['/', '[', ']'], "_")
}

/// Has the API server look at every object in a folder: what it objects to.
async fn dry_run(namespace: &Namespace, folder: &Path) -> Result<String> {
    let folder = folder.display().to_string();
    let answer = namespace.try_kubectl(&["create", "--dry-run=server", "-f", &folder]).await?;
    Ok(answer.errors.replace(&folder, ""))
}

/// What each of these values gives.
async fn render_all(shell: &Shell, all: Vec<Value>) -> Result<BTreeMap<String, Objects>> {
    let folder = tempfile::tempdir()?;
    let mut rendered = BTreeMap::new();
    let mut waiting = all.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((number, values)) = waiting.next()
        {
            let (shell, file) = (shell.clone(), folder.path().join(format!("{number}.json")));
            fs::write(&file, values.to_string())?;
            running.spawn(async move {
                let objects = render(&shell, &file).await.with_context(|| format!("with {values}"));
                (values.to_string(), objects)
            });
        }
        let Some(done) = running.join_next().await else { return Ok(rendered) };
        let (values, objects) = done?;
        rendered.insert(values, objects?);
    }
}

async fn render(shell: &Shell, values: &Path) -> Result<Objects> {
    let (chart, values) = (chart().display().to_string(), values.display().to_string());
    let text = shell.run(&["helm", "template", "galerna", &chart, "-f", &values]).await?;
    let mut objects = Objects::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = Value::deserialize(document)?;
        if !object.is_null() {
            objects.insert(object.to_string());
        }
    }
    ensure!(!objects.is_empty(), "nothing is rendered");
    Ok(objects)
}
