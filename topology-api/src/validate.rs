//! Checks a declared topology, finding everything that is wrong at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use smol_str::SmolStr;

use crate::builder::{Draft, TopologyBuilder};
use crate::config::TopologyConfig;
use crate::engine::ErasedBolt;
use crate::fields::{StreamSpec, Streams};
use crate::grouping::Grouping;
use crate::suggest::did_you_mean;
use crate::tasks::TaskId;
use crate::topology::{Component, ComponentKind, Input, Topology};
use crate::wiring::{WiredInput, Wiring};

/// What a problem is about. Components and inputs are counted in the order of their declaration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subject {
    /// The topology as a whole.
    Topology,
    /// The topology's name.
    Name,
    /// A key of the topology's config.
    Config(SmolStr),
    /// A property of a component.
    Property(usize, SmolStr),
    /// A component as a whole: how it was made, what it declares, that it is never fed.
    Component(usize),
    /// A component's id.
    Id(usize),
    /// A component's number of executors.
    Parallelism(usize),
    /// A component's number of tasks.
    Tasks(usize),
    /// A key of a component's own config.
    ComponentConfig(usize, SmolStr),
    /// Where an input comes from.
    InputFrom(usize, usize),
    /// The stream of an input.
    InputStream(usize, usize),
    /// The grouping of an input.
    InputGrouping(usize, usize),
    /// A field that the grouping of an input names.
    InputField(usize, usize, usize),
}

/// One thing that is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong and what would be accepted.
    pub message: String,
    /// Whether the topology can run nevertheless.
    pub is_warning: bool,
}

/// All that is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopology {
    /// The topology's name.
    pub topology: SmolStr,
    /// At least one problem that is not a warning.
    pub problems: Vec<Problem>,
}

impl std::error::Error for InvalidTopology {}

impl fmt::Display for InvalidTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topology `{}` is not valid", self.topology)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}", problem.message))
    }
}

pub(crate) fn validate(builder: TopologyBuilder) -> Result<Topology, InvalidTopology> {
    let mut check = Check { bolts: Vec::new(), outputs: Vec::new(), by_id: BTreeMap::new(), problems: Vec::new() };
    check.topology(&builder);
    for (index, draft) in builder.drafts.iter().enumerate() {
        check.component(index, draft, &builder.config);
    }
    for (index, draft) in builder.drafts.iter().enumerate() {
        for (number, input) in draft.inputs.iter().enumerate() {
            check.input(&builder.drafts, index, number, input);
        }
    }
    for (index, draft) in builder.drafts.iter().enumerate() {
        check.properties(index, draft, &builder.config);
        check.receivers(&builder.drafts, index);
    }
    check.cycles(&builder.drafts);
    check.threads(&builder);
    let mut problems = check.problems;
    problems.sort_by(|a, b| a.subject.cmp(&b.subject));
    if problems.iter().any(|problem| !problem.is_warning) {
        return Err(InvalidTopology { topology: builder.name, problems });
    }
    Ok(number_tasks(builder, check.outputs, problems))
}

/// Numbers the tasks from 1, component after component, and takes the drafts over.
fn number_tasks(builder: TopologyBuilder, outputs: Vec<Streams>, warnings: Vec<Problem>) -> Topology {
    let mut next: TaskId = 1;
    let config = builder.config;
    let components = builder.drafts.into_iter().zip(outputs).map(|(draft, output)| {
        let (executors, tasks) = size_of(&draft, &config);
        let first = next;
        next += tasks;
        Component {
            id: draft.id,
            kind: draft.kind,
            type_name: draft.type_name,
            executors,
            tasks: first..next,
            is_blocking: draft.is_blocking,
            config: draft.config,
            output,
            inputs: each_once(draft.inputs),
            load: draft.load,
        }
    });
    let components = components.collect();
    Topology { name: builder.name, config, components, worker_hooks: builder.worker_hooks, warnings }
}

/// Each stream of a component once: a bolt that receives a stream twice would process its tuples twice.
fn each_once(inputs: Vec<Input>) -> Vec<Input> {
    let mut kept: Vec<Input> = Vec::with_capacity(inputs.len());
    for input in inputs {
        if !kept.iter().any(|known| known.is_same_stream(&input)) {
            kept.push(input);
        }
    }
    kept
}

/// The numbers of executors and tasks of a component, with the topology's defaults and limits.
fn size_of(draft: &Draft, config: &TopologyConfig) -> (u32, u32) {
    let config = config.overridden_by(&draft.config);
    let executors = draft.executors.min(config.max_task_parallelism().unwrap_or(u32::MAX));
    let tasks = draft.tasks.or_else(|| config.tasks()).unwrap_or(executors);
    (executors, tasks)
}

/// The most tasks a topology may have: numbers and tables of them stay small.
const MOST_TASKS: u32 = 1_000_000;

struct Check {
    /// The bolts, and nothing for spouts and what could not be made.
    bolts: Vec<Option<Box<dyn ErasedBolt>>>,
    outputs: Vec<Streams>,
    by_id: BTreeMap<SmolStr, usize>,
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, subject: Subject, message: String) {
        self.problems.push(Problem { subject, message, is_warning: false });
    }

    fn warning(&mut self, subject: Subject, message: String) {
        self.problems.push(Problem { subject, message, is_warning: true });
    }

    fn topology(&mut self, builder: &TopologyBuilder) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = &builder.name;
        if name.is_empty() || name.len() > 200 || !name.chars().all(is_plain) || name.starts_with('.') {
            let allowed = "letters, digits, `-`, `_` and `.`, up to 200 of them, not starting with `.`";
            self.problem(Subject::Name, format!("`{name}` is no name for a topology; allowed are {allowed}"));
        }
        if !builder.drafts.iter().any(|draft| matches!(draft.kind, ComponentKind::Spout(_))) {
            self.problem(Subject::Topology, "a topology needs at least one spout".to_owned());
        }
        for found in builder.config.problems() {
            let subject = Subject::Config(found.key);
            self.problems.push(Problem { subject, message: found.message, is_warning: found.is_warning });
        }
        let tasks: u64 = builder.drafts.iter().map(|draft| u64::from(size_of(draft, &builder.config).1)).sum();
        if tasks > MOST_TASKS.into() {
            self.problem(Subject::Topology, format!("{tasks} tasks are more than {MOST_TASKS}"));
        }
    }

    fn component(&mut self, index: usize, draft: &Draft, config: &TopologyConfig) {
        let id = &draft.id;
        if id.is_empty() || id.starts_with("__") {
            let message = if id.is_empty() {
                "a component needs an id".to_owned()
            } else {
                format!("`{id}`: ids that start with `__` are reserved")
            };
            self.problem(Subject::Id(index), message);
        }
        if self.by_id.insert(id.clone(), index).is_some() {
            self.problem(Subject::Id(index), format!("a second component with the id `{id}`"));
        }
        if draft.executors == 0 {
            self.problem(Subject::Parallelism(index), format!("`{id}` has parallelism 0, expected at least 1"));
        }
        if draft.tasks == Some(0) {
            self.problem(Subject::Tasks(index), format!("`{id}` has 0 tasks, expected at least 1"));
        }
        let (executors, tasks) = size_of(draft, config);
        if executors > tasks && tasks > 0 {
            let message = format!("`{id}` has {executors} executors for {tasks} tasks; an executor needs a task");
            self.problem(Subject::Tasks(index), message);
        }
        for found in draft.config.problems() {
            let subject = Subject::ComponentConfig(index, found.key);
            self.problems.push(Problem { subject, message: found.message, is_warning: found.is_warning });
        }
        match &draft.kind {
            ComponentKind::Bolt(_) if draft.inputs.is_empty() => {
                self.problem(Subject::Component(index), format!("bolt `{id}` has no input"));
            }
            ComponentKind::Spout(_) if !draft.inputs.is_empty() => {
                self.problem(Subject::Component(index), format!("spout `{id}` has an input; only bolts have"));
            }
            _ => {}
        }
        let made = match &draft.kind {
            ComponentKind::Spout(make) => guarded(|| make().map(|spout| (spout.output(), None))),
            ComponentKind::Bolt(make) => guarded(|| make().map(|bolt| (bolt.output(), Some(bolt)))),
        };
        let (output, bolt) = made.unwrap_or_else(|error| {
            self.problem(Subject::Component(index), format!("`{id}` cannot be made: {error}"));
            (Streams::none(), None)
        });
        let needs_ticks = bolt.as_ref().is_some_and(|bolt| bolt.needs_ticks());
        if needs_ticks && config.overridden_by(&draft.config).tick_interval().is_none() {
            let message = format!(
                "`{id}` needs ticks, but `topology.tick.tuple.freq.secs` is not set; set it, for example to 10"
            );
            self.warning(Subject::Component(index), message);
        }
        self.streams(index, id, &output);
        self.bolts.push(bolt);
        self.outputs.push(output);
    }

    fn streams(&mut self, index: usize, id: &str, output: &Streams) {
        let mut seen: Vec<&str> = Vec::new();
        for StreamSpec { id: stream, fields, .. } in output {
            if seen.contains(&stream.as_str()) {
                self.problem(Subject::Component(index), format!("`{id}` declares stream `{stream}` twice"));
            }
            seen.push(stream);
            if stream.is_empty() || stream.starts_with("__") {
                let message =
                    format!("`{id}` declares stream `{stream}`: empty names and names with `__` are reserved");
                self.problem(Subject::Component(index), message);
            }
            let names: Vec<_> = fields.iter().collect();
            if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
                let message = format!("`{id}` declares field `{}` twice on stream `{stream}`", twice.1);
                self.problem(Subject::Component(index), message);
            }
        }
    }

    fn input(&mut self, drafts: &[Draft], index: usize, number: usize, input: &Input) {
        let bolt = &drafts[index].id;
        let Some(&from) = self.by_id.get(&input.from) else {
            let near = did_you_mean(&input.from, drafts.iter().map(|draft| draft.id.as_str()));
            let message = format!("`{bolt}` receives from unknown component `{}`{near}", input.from);
            return self.problem(Subject::InputFrom(index, number), message);
        };
        let Some(stream) = self.outputs[from].get(&input.stream).cloned() else {
            let streams = self.outputs[from].clone();
            let names: Vec<_> = streams.iter().map(|stream| format!("`{}`", stream.id)).collect();
            let near = did_you_mean(&input.stream, streams.iter().map(|stream| stream.id.as_str()));
            let declared = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message =
                format!("`{}` declares no stream `{}`{near} (declared: {declared})", input.from, input.stream);
            return self.problem(Subject::InputStream(index, number), message);
        };
        self.grouping(index, number, input, &stream);
        let first = drafts[index].inputs[..number].iter().find(|known| known.is_same_stream(input));
        let Input { from, stream, grouping } = input;
        if first.is_some_and(|first| first.grouping.is_same(grouping)) {
            let message = format!("`{bolt}` receives stream `{stream}` of `{from}` already, by the same grouping");
            self.warning(Subject::InputGrouping(index, number), message);
        } else if let Some(first) = first {
            let message = format!(
                "`{bolt}` receives stream `{stream}` of `{from}` by two groupings: {} and {grouping}",
                first.grouping
            );
            self.problem(Subject::InputGrouping(index, number), message);
        }
    }

    /// Finds streams that some bolt must receive, and none does.
    fn receivers(&mut self, drafts: &[Draft], index: usize) {
        let id = &drafts[index].id;
        let is_received = |stream: &SmolStr| {
            drafts.iter().flat_map(|draft| &draft.inputs).any(|input| input.from == *id && input.stream == *stream)
        };
        let unheard = self.outputs[index].iter().filter(|stream| stream.needs_receiver && !is_received(&stream.id));
        let unheard: Vec<_> = unheard.map(|stream| stream.id.clone()).collect();
        for stream in unheard {
            let message = format!("no bolt receives stream `{stream}` of `{id}`, so its tuples would be lost");
            self.problem(Subject::Component(index), message);
        }
    }

    /// Has a bolt compare its properties with its inputs, as far as these are known.
    fn properties(&mut self, index: usize, draft: &Draft, config: &TopologyConfig) {
        let Some(bolt) = &self.bolts[index] else { return };
        let known = draft.inputs.iter().filter_map(|input| {
            let stream = self.outputs[*self.by_id.get(&input.from)?].get(&input.stream)?;
            Some(WiredInput { from: &input.from, stream: &input.stream, fields: &stream.fields })
        });
        let task_count = size_of(draft, config).1;
        let mut wiring = Wiring { component: &draft.id, task_count, inputs: known.collect(), problems: Vec::new() };
        let checked = guarded(|| {
            bolt.check(&mut wiring);
            Ok(())
        });
        let found = wiring.problems;
        if let Err(error) = checked {
            self.problem(Subject::Component(index), format!("`{}` cannot be checked: {error}", draft.id));
        }
        for (property, message) in found {
            let message = format!("`{property}` of `{}`: {message}", draft.id);
            self.problem(Subject::Property(index, property), message);
        }
    }

    fn grouping(&mut self, index: usize, number: usize, input: &Input, stream: &StreamSpec) {
        let subject = Subject::InputGrouping(index, number);
        let place = format!("stream `{}` of `{}`", input.stream, input.from);
        match (&input.grouping, stream.is_direct) {
            (Grouping::Direct, false) => {
                self.problem(subject.clone(), format!("{place} is not direct; choose another grouping than DIRECT"));
            }
            (Grouping::Direct, true) => {}
            (other, true) => {
                self.problem(
                    subject.clone(),
                    format!("{place} is direct; its grouping is {}, expected DIRECT", other.name()),
                );
            }
            _ => {}
        }
        let Some(fields) = input.grouping.fields() else { return };
        if fields.is_empty() {
            self.problem(subject, format!("{} grouping names no field", input.grouping.name()));
        }
        for (place_in_args, field) in fields.iter().enumerate() {
            if stream.fields.index_of(field).is_none() {
                let near = did_you_mean(field, stream.fields.iter());
                let message = format!("{place} has no field `{field}`{near} (fields: {})", stream.fields);
                self.problem(Subject::InputField(index, number, place_in_args), message);
            }
        }
    }

    /// Warns of more executors than there are threads for them, at the component with the most.
    fn threads(&mut self, builder: &TopologyBuilder) {
        let config = &builder.config;
        let sharing = builder.drafts.iter().enumerate().filter(|(_, draft)| !draft.is_blocking);
        let sizes: Vec<_> = sharing.map(|(index, draft)| (size_of(draft, config).0, index)).collect();
        let executors: u64 = sizes.iter().map(|(executors, _)| u64::from(*executors)).sum();
        let (workers, lanes) = (config.workers() as u64, config.worker_lanes() as u64);
        let threads = workers.saturating_mul(lanes);
        let largest = sizes.iter().max_by_key(|(executors, index)| (*executors, Reverse(*index)));
        let Some((_, largest)) = largest.filter(|_| executors > threads) else { return };
        let of_workers =
            if workers == 1 { "1 worker has".to_owned() } else { format!("each of {workers} workers has") };
        let message = format!(
            "the topology asks for {executors} executors that do not block, but {of_workers} {lanes} lanes: \
             executors beyond {threads} share threads; ask for fewer, or set `topology.workers` or `topology.worker.lanes`"
        );
        self.warning(Subject::Parallelism(*largest), message);
    }

    /// Finds components that receive, over others, from themselves, and shows the path of each
    /// cycle once.
    fn cycles(&mut self, drafts: &[Draft]) {
        let receivers = |from: usize| {
            let is_receiver = move |draft: &Draft| draft.inputs.iter().any(|input| input.from == drafts[from].id);
            (0..drafts.len()).filter(move |&to| is_receiver(&drafts[to]))
        };
        let mut is_done = vec![false; drafts.len()];
        for start in 0..drafts.len() {
            // Depth first with an explicit path, so that no graph can exhaust the stack.
            let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
            if !is_done[start] {
                path.push((start, receivers(start).collect()));
            }
            while let Some((node, rest)) = path.last_mut() {
                let node = *node;
                let Some(next) = rest.pop() else {
                    is_done[node] = true;
                    path.pop();
                    continue;
                };
                if let Some(from) = path.iter().position(|(on_path, _)| *on_path == next) {
                    let ids: Vec<_> = path[from..].iter().map(|(at, _)| drafts[*at].id.as_str()).collect();
                    let message =
                        format!("a cycle: {} -> {}; graphs with cycles are refused", ids.join(" -> "), drafts[next].id);
                    self.problem(Subject::Component(next), message);
                } else if !is_done[next] {
                    path.push((next, receivers(next).collect()));
                }
            }
        }
    }
}

/// Runs a user's constructor; a panic in it is an error like any other.
fn guarded<T>(make: impl FnOnce() -> crate::error::Result<T>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)) {
        Ok(made) => made.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a message")))
        }
    }
}
