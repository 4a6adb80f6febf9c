//! A topology in Mermaid.

use std::fmt::Write;

use galerna_topology_api::Topology;

use super::{edges_of, lines_of};

pub(super) fn draw(topology: &Topology) -> String {
    let mut text = String::from("flowchart LR\n");
    for (place, component) in topology.components().iter().enumerate() {
        let label: Vec<String> = lines_of(component).iter().map(|line| escaped(line)).collect();
        let label = label.join("<br/>");
        // Spouts stand in stadiums, bolts in boxes. Ids may be words of Mermaid's, so nodes are numbered.
        let _ = match component.is_spout() {
            true => writeln!(text, "    n{place}([\"{label}\"])"),
            false => writeln!(text, "    n{place}[\"{label}\"]"),
        };
    }
    for (from, to, label) in edges_of(topology) {
        let _ = writeln!(text, "    n{from} -->|\"{}\"| n{to}", escaped(&label));
    }
    text
}

/// Text within Mermaid's quotes, where `#` starts an entity and `<` a tag.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | '&' | '<' | '>' | '\\' | '`' | ';' => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
            control if control.is_control() => escaped.push(' '),
            plain => escaped.push(plain),
        }
    }
    escaped
}
