//! `types`: what YAML can name.

use std::fmt::Write;

use galerna_flux::{Registry, TypeInfo};
use galerna_topology_api::nearest;
use serde_json::json;

use super::args::{Output, Types};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;

pub(super) fn run(args: &Types, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let types = chosen(registry.types(), &args.names)?;
    match args.output {
        Output::Text => io.print(&render(&types))?,
        Output::Json => {
            let types = serde_json::to_value(&types);
            let types = types.map_err(|error| Failure::new("output", format!("cannot encode the types: {error}")))?;
            io.print(&format!("{}\n", json!({ "types": types })))?;
        }
    }
    Ok(Exit::Done)
}

/// The types that have one of these names, or all.
fn chosen(all: Vec<TypeInfo>, names: &[String]) -> Result<Vec<TypeInfo>, Failure> {
    let answers_to = |of: &TypeInfo, name: &String| of.name == *name || of.aliases.contains(name);
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|of| answers_to(of, name))) {
        let known = all.iter().flat_map(|of| std::iter::once(&of.name).chain(&of.aliases)).map(String::as_str);
        let near = nearest(unknown, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::new("unknown_type", format!("unknown type `{unknown}`{near}")));
    }
    let is_chosen = |of: &TypeInfo| names.is_empty() || names.iter().any(|name| answers_to(of, name));
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn render(types: &[TypeInfo]) -> String {
    let mut text = String::new();
    for of in types {
        let _ = writeln!(text, "{} ({})", of.name, of.kind);
        for line in [&of.summary].into_iter().filter(|summary| !summary.is_empty()) {
            let _ = writeln!(text, "  {line}");
        }
        if !of.aliases.is_empty() {
            let _ = writeln!(text, "  also: {}", of.aliases.join(", "));
        }
        properties(of, &mut text);
        if !of.example.is_empty() {
            let _ = writeln!(text, "  example:");
            for line in of.example.trim_end().lines() {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
        }
        text.push('\n');
    }
    text
}

fn properties(of: &TypeInfo, text: &mut String) {
    if of.properties.is_empty() {
        return;
    }
    let _ = writeln!(text, "  properties:");
    let width = of.properties.iter().map(|property| property.name.chars().count()).max().unwrap_or(0);
    for property in &of.properties {
        let required = if property.is_required { ", required" } else { "" };
        let _ = writeln!(text, "    {:<width$}  {}{required}", property.name, property.kind);
    }
}
