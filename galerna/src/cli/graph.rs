//! `graph`: a topology as a drawing, in a language that other tools draw.

mod dot;
mod mermaid;

use galerna_flux::Registry;
use galerna_topology_api::{Component, DEFAULT_STREAM, Grouping, Input, Topology};

use super::args::{Graph, GraphFormat};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;

pub(super) fn run(args: &Graph, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let topology = args.settings.load(&args.file, registry, io)?;
    let drawing = match args.format {
        GraphFormat::Mermaid => mermaid::draw(&topology),
        GraphFormat::Dot => dot::draw(&topology),
    };
    io.print(&drawing)?;
    Ok(Exit::Done)
}

/// What stands in a component's box: its id, then its type and how wide it runs.
fn lines_of(component: &Component) -> Vec<String> {
    let mut about = Vec::new();
    about.extend(component.type_name.as_ref().map(ToString::to_string));
    match (component.executors, component.task_count()) {
        (1, 1) => {}
        (executors, tasks) if executors == tasks => about.push(format!("×{executors}")),
        (executors, tasks) => about.push(format!("×{executors}, {tasks} tasks")),
    }
    let mut lines = vec![component.id.to_string()];
    if !about.is_empty() {
        lines.push(about.join(" "));
    }
    lines
}

/// What stands at an edge: the stream, unless it is the default one, and the grouping.
fn label_of(input: &Input) -> String {
    let grouping = grouping_of(&input.grouping);
    if input.stream == DEFAULT_STREAM { grouping } else { format!("{}: {grouping}", input.stream) }
}

/// The grouping with what it groups by: `FIELDS [word]`.
pub(super) fn grouping_of(grouping: &Grouping) -> String {
    match (grouping, grouping.fields()) {
        (Grouping::Custom(custom), _) => format!("CUSTOM {}", custom.name()),
        (grouping, Some(fields)) => format!("{} {fields}", grouping.name()),
        (grouping, None) => grouping.name().to_owned(),
    }
}

/// Each edge as the places of its ends among the components, and its label.
fn edges_of(topology: &Topology) -> impl Iterator<Item = (usize, usize, String)> {
    let place_of = |id: &str| topology.components().iter().position(|component| component.id == id);
    topology.components().iter().enumerate().flat_map(move |(to, component)| {
        component.inputs.iter().filter_map(move |input| Some((place_of(&input.from)?, to, label_of(input))))
    })
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::{Bolt, BoltResult, Emitter, Next, Result, Spout, SpoutEmitter, Streams};
    use galerna_topology_api::{TopologyBuilder, Tuple};

    use super::*;

    struct Source;

    impl Spout for Source {
        type MessageId = ();

        fn output(&self) -> Streams {
            Streams::default_fields(["a", "b"]).stream("late \"ones\"", ["a"])
        }

        async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            Ok(Next::Exhausted)
        }
    }

    struct Sink;

    impl Bolt for Sink {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
    }

    fn awkward() -> Topology {
        let mut builder = TopologyBuilder::new("awkward");
        builder.spout("in <&> \"quoted\"", || Source).type_name("source");
        let bolt = builder.bolt("end", || Sink).parallelism(2).tasks(4);
        let bolt = bolt.fields("in <&> \"quoted\"", ["a", "b"]);
        bolt.input("in <&> \"quoted\"", "late \"ones\"", Grouping::All);
        builder.build().unwrap()
    }

    #[test]
    fn mermaid_shows_components_streams_and_groupings_escaped() {
        let expected = r##"flowchart LR
    n0(["in #60;#38;#62; #34;quoted#34;<br/>source"])
    n1["end<br/>×2, 4 tasks"]
    n0 -->|"FIELDS [a, b]"| n1
    n0 -->|"late #34;ones#34;: ALL"| n1
"##;
        assert_eq!(mermaid::draw(&awkward()), expected);
    }

    #[test]
    fn dot_shows_components_streams_and_groupings_escaped() {
        let expected = r#"digraph "awkward" {
    rankdir=LR;
    node [shape=box];
    n0 [label="in <&> \"quoted\"\nsource", style=rounded];
    n1 [label="end\n×2, 4 tasks"];
    n0 -> n1 [label="FIELDS [a, b]"];
    n0 -> n1 [label="late \"ones\": ALL"];
}
"#;
        assert_eq!(dot::draw(&awkward()), expected);
    }
}
