//! `validate`: all that is wrong with topology files.

use std::fmt::Write;
use std::path::PathBuf;

use galerna_flux::{Diagnostic, Registry, Severity};
use galerna_topology_api::Topology;
use serde_json::{Value, json};

use super::args::{Output, Validate};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::numbers::plural;

/// What came of one file.
struct Checked {
    file: PathBuf,
    /// The topology, if the file describes one.
    topology: Option<Topology>,
    problems: Vec<Diagnostic>,
}

pub(super) fn run(args: &Validate, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut checked = Vec::new();
    for file in &args.files {
        let (topology, problems) = match args.settings.flux(file).load(registry) {
            Ok(loaded) => (Some(loaded.topology), loaded.warnings),
            Err(error) => (None, error.diagnostics),
        };
        checked.push(Checked { file: file.clone(), topology, problems });
    }
    match args.output {
        Output::Text => io.print(&render(&checked))?,
        Output::Json => {
            let problems: Vec<Value> = checked.iter().flat_map(|of| &of.problems).map(as_json).collect();
            io.print(&format!("{}\n", json!({ "problems": problems })))?;
        }
    }
    let is_valid = checked.iter().all(|of| of.topology.is_some());
    Ok(if is_valid { Exit::Done } else { Exit::Failed })
}

fn as_json(problem: &Diagnostic) -> Value {
    let mut object = json!({
        "file": problem.file.to_string_lossy(),
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity.to_string(),
        "message": problem.message,
    });
    if let Some(help) = &problem.help {
        object["help"] = json!(help);
    }
    object
}

fn render(checked: &[Checked]) -> String {
    let mut text = String::new();
    for Checked { file, topology, problems } in checked {
        for problem in problems {
            let _ = writeln!(text, "{problem}\n");
        }
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut verdict = vec![match topology {
            Some(topology) => format!("valid, {}", describe(topology)),
            None => plural(errors, "error"),
        }];
        if warnings > 0 {
            verdict.push(plural(warnings, "warning"));
        }
        let _ = writeln!(text, "{}: {}", file.display(), verdict.join(", "));
    }
    text
}

fn describe(topology: &Topology) -> String {
    let spouts = topology.components().iter().filter(|component| component.is_spout()).count();
    let bolts = topology.components().len() - spouts;
    format!("topology `{}` of {} and {}", topology.name(), plural(spouts, "spout"), plural(bolts, "bolt"))
}
