//! What is documented is what there is.

use std::fmt::Write;

use galerna::flux::TypeInfo;
use galerna::prelude::*;

use crate::support::{call, file, root};

const INTRO: &str = "\
# Stock components

What YAML can name without a line of Rust. `galerna types` prints the same. This page is written by a test:
`UPDATE_DOCS=1 cargo test -p galerna stock_components_page`.

Reliable spouts take `retries`, `on_give_up` and `dead_letter`: see [Dead letters](dead-letters.md). Durations are written `100ms`, `5s`, `1h30m`; sizes `64KiB`, `16MiB`.

[Files](files.md) tells how files are recognized, compressed files and bad lines are read, and written files end.
";

fn page(types: &[TypeInfo]) -> String {
    let mut page = INTRO.to_owned();
    for (kind, title) in [("spout", "Spouts"), ("bolt", "Bolts")] {
        let _ = write!(page, "\n## {title}\n");
        for of in types.iter().filter(|of| of.kind.to_string() == kind) {
            let _ = write!(page, "\n### {}\n{}\n", of.name, of.summary);
            if !of.aliases.is_empty() {
                let aliases: Vec<_> = of.aliases.iter().map(|alias| format!("`{alias}`")).collect();
                let _ = write!(page, "\nAlso: {}\n", aliases.join(", "));
            }
            let _ = write!(page, "\n```yaml\n{}\n```\n", of.example.trim_end());
            if !of.properties.is_empty() {
                page.push_str("\n| property | takes | |\n|---|---|---|\n");
            }
            for property in &of.properties {
                let required = if property.is_required { "required" } else { "" };
                let _ = writeln!(page, "| `{}` | {} | {required} |", property.name, property.kind.replace('|', "\\|"));
            }
        }
    }
    page
}

#[test]
fn stock_components_page_is_up_to_date() {
    let path = root().join("docs/guide/components.md");
    let page = page(&Registry::stock().types());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "run: UPDATE_DOCS=1 cargo test -p galerna stock_components_page");
}

/// A topology around the documented block of a type: spouts get a bolt that takes all of them,
/// bolts a spout that has the fields that stand in the examples.
fn around(of: &TypeInfo) -> String {
    let indented = |block: &str| block.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let ids = of.example.lines().filter_map(|line| line.trim_start().strip_prefix("- id: "));
    let ids: Vec<&str> = ids.map(|id| id.split([' ', ',']).next().unwrap_or(id)).collect();
    let (spouts, bolts, stream) = if of.kind.to_string() == "spout" {
        (of.example.clone(), "- {id: end-of-all, className: \"null\"}".to_owned(), ("", "end-of-all"))
    } else {
        let fields = "[line, word, count, number, name, age, level, message, text, key, value, ts]";
        let spout = format!("- {{id: start-of-all, className: values, properties: {{fields: {fields}, rows: []}}}}");
        (spout, of.example.clone(), ("start-of-all", ""))
    };
    let edge = |id: &&str| {
        let (from, to) = if stream.0.is_empty() { (*id, stream.1) } else { (stream.0, *id) };
        format!("  - {{from: {from}, to: {to}, grouping: {{type: SHUFFLE}}}}\n")
    };
    let streams: String = ids.iter().map(edge).collect();
    format!("name: example\nspouts:\n{}bolts:\n{}streams:\n{streams}", indented(&spouts), indented(&bolts))
}

#[test]
fn every_documented_block_of_a_stock_type_is_valid() {
    let types = Registry::stock().types();
    assert!(types.len() >= 16, "{} stock types", types.len());
    for of in &types {
        assert!(!of.summary.is_empty(), "{} has no summary", of.name);
        assert!(of.example.contains(&of.name), "the example of {} does not name it", of.name);
        let yaml = around(of);
        let (_folder, path) = file("topology.yaml", &yaml);
        let ran = call(["validate", &path]);
        assert_eq!(ran.code, 0, "{}:\n{yaml}\n{}", of.name, ran.stdout);
    }
}

#[test]
fn types_prints_every_type_with_properties_and_example() {
    let text = call(["types"]).expect(0).stdout;
    let json = call(["types", "--output", "json"]).expect(0).json();
    let types = json["types"].as_array().cloned().unwrap_or_default();
    for of in Registry::stock().types() {
        assert!(text.contains(&format!("{} ({})", of.name, of.kind)), "{}", of.name);
        assert!(types.iter().any(|found| found["name"] == of.name.as_str()), "{}", of.name);
        for property in &of.properties {
            assert!(text.contains(&property.name), "{}: {}", of.name, property.name);
        }
    }
    let one = call(["types", "org.apache.storm.testing.TestWordSpout"]).expect(0).stdout;
    assert!(one.contains("className: ") && !one.contains("file-lines"), "{one}");
}

#[test]
fn topologies_of_the_readme_are_valid() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let blocks: Vec<&str> = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "no YAML in the README");
    for block in blocks {
        let (_folder, path) = file("words.yaml", block);
        let ran = call(["validate", &path, "--set", "input=README.md"]);
        assert_eq!(ran.code, 0, "{block}\n{}", ran.stdout);
    }
}
