//! The types that the tests' files name.

use galerna_flux::{Diagnostic, Flux, FluxError, Ref, Registry, TypeDoc};
use galerna_topology_api::{
    Bolt, BoltResult, CustomGrouping, Emitter, ManualBolt, ManualEmitter, Next, Result, Spout, SpoutEmitter, Streams,
    TaskId, Tuple, Value, WorkerHook, human::HumanDuration,
};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(crate) struct Lines {
    #[allow(dead_code, reason = "shows in the config only")]
    pub(crate) path: String,
    #[serde(default)]
    #[allow(dead_code, reason = "shows in the config only")]
    follow: bool,
}

impl Spout for Lines {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["line"])
    }
    async fn next(&mut self, _: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        Ok(Next::Exhausted)
    }
}

/// Declares its properties as fields, so that a test sees what it was given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by Debug only")]
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    count: Option<u16>,
    #[serde(default)]
    ratio: Option<f64>,
    #[serde(default)]
    is_on: Option<bool>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default)]
    wait: Option<HumanDuration>,
    #[serde(default)]
    table: BTreeMap<String, i64>,
    #[serde(default)]
    retries: Option<Retries>,
    #[serde(default)]
    anything: Option<Anything>,
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    Text,
    Tsv,
    JsonLines,
}

#[derive(Deserialize, Debug, Clone)]
#[allow(dead_code, reason = "read by Debug only")]
pub(crate) struct Retries {
    limit: u32,
    #[serde(default)]
    backoff: Option<HumanDuration>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by Debug only")]
pub(crate) enum Anything {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Anything>),
}

impl Bolt for Probe {
    /// Its config as the name of a field.
    fn output(&self) -> Streams {
        Streams::default_fields([format!("{self:?}")])
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[derive(Deserialize)]
pub(crate) struct Split {
    field: String,
    #[serde(default)]
    lowercase: bool,
}

impl Bolt for Split {
    fn output(&self) -> Streams {
        Streams::default_fields(["word"]).stream("rest", [self.field.clone(), self.lowercase.to_string()])
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[derive(Deserialize)]
pub(crate) struct Print {}

impl ManualBolt for Print {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut ManualEmitter<'_>) -> BoltResult {
        Ok(())
    }
}

/// What `components:` holds.
#[derive(Deserialize)]
pub(crate) struct Pool {
    pub(crate) size: usize,
    #[serde(default)]
    pub(crate) parent: Option<Ref<Pool>>,
}

pub(crate) struct Label(String);

#[derive(Deserialize)]
pub(crate) struct Lookup {
    pool: Ref<Pool>,
    #[serde(default)]
    others: Vec<Ref<Pool>>,
}

impl Bolt for Lookup {
    fn output(&self) -> Streams {
        let sizes = self.others.iter().chain([&self.pool]).map(|pool| pool.size + pool.parent.iter().count() * 100);
        let shared = std::sync::Arc::as_ptr(&self.pool) as usize;
        Streams::default_fields([format!("{:?}", sizes.collect::<Vec<_>>())]).stream("at", [shared.to_string()])
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[derive(Deserialize)]
pub(crate) struct Panics {
    #[serde(default, deserialize_with = "panics")]
    #[allow(dead_code, reason = "never made")]
    field: u32,
}

fn panics<'de, D: serde::Deserializer<'de>>(_: D) -> Result<u32, D::Error> {
    panic!("boom")
}

impl Bolt for Panics {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[derive(Deserialize, Clone)]
pub(crate) struct Nth {
    n: usize,
}

impl CustomGrouping for Nth {
    fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
        chosen.push(self.n as TaskId);
    }
}

#[derive(Deserialize)]
pub(crate) struct Hook {}

impl WorkerHook for Hook {}

#[derive(Deserialize)]
pub(crate) struct Limits {
    least: u32,
    #[serde(default)]
    most: Option<u32>,
}

pub(crate) fn registry() -> Registry {
    Registry::new()
        .spout::<Lines>("lines")
        .bolt::<Split>("split")
        .bolt::<Probe>("probe")
        .bolt::<Lookup>("lookup")
        .bolt::<Panics>("panics")
        .manual_bolt::<Print>("print")
        .component::<Pool>("pool")
        .component_factory("label", |text: String| Ok(Label(text)))
        .bolt_factory("fails", |_: Print| -> Result<Split> { Err("no luck today".into()) })
        .grouping::<Nth>("nth")
        .worker_hook::<Hook>("hook")
        .alias("org.apache.storm.flux.wrappers.bolts.LogInfoBolt", "print")
        .factory("split", "on", |field: String| Ok(Split { field, lowercase: false }))
        .factory("split", "never", |(): ()| -> Result<Split> { Err("not this way".into()) })
        .config_method("split", "lowercase", |split: &mut Split, (yes,): (bool,)| split.lowercase = yes)
        .config_method("probe", "withLimits", |probe: &mut Probe, limits: Limits| {
            probe.words.push(format!("{}..{:?}", limits.least, limits.most));
        })
        .config_method("lookup", "withPool", |lookup: &mut Lookup, pool: Ref<Pool>| lookup.others.push(pool))
        .describe("split", TypeDoc { summary: "splits lines into words", yaml_example: "className: split\n" })
}

impl Label {
    #[allow(dead_code, reason = "a label is only ever referred to by mistake")]
    fn text(&self) -> &str {
        &self.0
    }
}

pub(crate) fn read(text: &str) -> Flux {
    Flux::parse(text)
}

pub(crate) fn error(text: &str) -> FluxError {
    read(text).build(&registry()).unwrap_err()
}

/// `line:column: message`, one a line.
pub(crate) fn told(diagnostics: &[Diagnostic]) -> String {
    let line = |found: &Diagnostic| {
        let help = found.help.iter().map(|help| format!("\n  {help}")).collect::<String>();
        format!("{}:{}: {}{help}\n", found.line, found.column, found.message)
    };
    diagnostics.iter().map(line).collect()
}

/// A good topology whose only bolt is a probe with these lines as its properties; what it was given.
pub(crate) fn probed(properties: &str) -> Result<String, FluxError> {
    probed_with(properties, |flux| flux)
}

pub(crate) fn probed_with(properties: &str, with: impl Fn(Flux) -> Flux) -> Result<String, FluxError> {
    let text = format!(
        "name: t\nspouts: [{{id: a, className: lines, properties: {{path: x}}}}]\nstreams: [{{from: a, to: p, \
         grouping: {{type: shuffle}}}}]\nbolts:\n  - id: p\n    className: probe\n{properties}"
    );
    let flux = with(read(&text));
    flux.build(&registry())?;
    let topology = crate::resolved::read_again(&flux, &registry());
    let given = topology.component("p").unwrap().output.get("default").unwrap().fields.to_string();
    // Only what was given says something.
    let given = given.trim_start_matches("[Probe { ").trim_end_matches(" }]");
    let is_given = |part: &&str| !part.ends_with(": None") && !part.ends_with(": []") && !part.ends_with(": {}");
    Ok(given.split(", ").filter(is_given).collect::<Vec<_>>().join(", "))
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only deserialized")]
pub(crate) struct Flat {
    name: String,
    #[serde(flatten)]
    retries: Retries,
}

impl Bolt for Flat {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}
