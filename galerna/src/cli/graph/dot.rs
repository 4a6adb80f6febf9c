//! A topology in Graphviz's language.

use std::fmt::Write;

use galerna_topology_api::Topology;

use super::{edges_of, lines_of};

pub(super) fn draw(topology: &Topology) -> String {
    let mut text = format!("digraph {} {{\n    rankdir=LR;\n    node [shape=box];\n", quoted(&[topology.name()]));
    for (place, component) in topology.components().iter().enumerate() {
        let style = if component.is_spout() { ", style=rounded" } else { "" };
        let _ = writeln!(text, "    n{place} [label={}{style}];", quoted(&lines_of(component)));
    }
    for (from, to, label) in edges_of(topology) {
        let _ = writeln!(text, "    n{from} -> n{to} [label={}];", quoted(&[label]));
    }
    text.push_str("}\n");
    text
}

/// Lines as one quoted string. A backslash would start an escape of Graphviz's own.
fn quoted(lines: &[impl AsRef<str>]) -> String {
    let escaped = lines.iter().map(|line| {
        let line = line.as_ref().replace('\\', "\\\\").replace('"', "\\\"");
        line.replace(char::is_control, " ")
    });
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}
