//! Collects everything that is wrong, so that one run tells it all.

use galerna_topology_api::nearest;

use crate::diagnostic::{Diagnostic, Excerpt, FluxError, Severity};
use crate::source::{Sources, Span};

/// More problems than these are counted, not told: a generated file may be wrong everywhere.
const MOST: usize = 200;

/// One thing that is wrong, before its place is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The place; nothing while an error is on its way to somebody who knows.
    pub(crate) at: Option<Span>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: Span, message: impl Into<String>) -> Self {
        Self { at: Some(at), message: message.into(), help: None }
    }

    /// A fault whose place is for others to add.
    pub(crate) fn unplaced(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What follows from something that was told already, and is not told again.
    pub(crate) fn told() -> Self {
        Self::unplaced(String::new())
    }

    /// Adds a place, if there is none yet.
    pub(crate) fn or_at(mut self, at: Span) -> Self {
        self.at.get_or_insert(at);
        self
    }

    /// In one line, for errors while a topology runs.
    pub(crate) fn in_one_line(&self, sources: &Sources) -> String {
        match self.at {
            Some(at) => format!("{} ({})", self.message, sources.place(at)),
            None => self.message.clone(),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<(Severity, Fault)>,
    untold: usize,
}

impl Problems {
    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>) {
        self.push(Severity::Error, Fault::new(at, message));
    }

    pub(crate) fn warning(&mut self, at: Span, message: impl Into<String>) {
        self.push(Severity::Warning, Fault::new(at, message));
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.push(Severity::Error, fault);
    }

    fn push(&mut self, severity: Severity, fault: Fault) {
        if fault.message.is_empty()
            || self.found.iter().any(|(_, known)| known.at == fault.at && known.message == fault.message)
        {
            return;
        }
        if self.found.len() < MOST {
            self.found.push((severity, fault));
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(severity, _)| *severity == Severity::Error)
    }

    /// All of them by place.
    pub(crate) fn into_diagnostics(self, sources: &Sources) -> Vec<Diagnostic> {
        let mut found = self.found;
        found.sort_by_key(|(_, fault)| fault.at.map(|at| (at.file, at.line, at.column)));
        let mut told: Vec<_> = found.into_iter().map(|(severity, fault)| locate(severity, fault, sources)).collect();
        if self.untold > 0 {
            let fault = Fault::unplaced(format!("{} more problems are not shown", self.untold));
            told.push(locate(Severity::Error, fault, sources));
        }
        told
    }

    pub(crate) fn into_error(self, sources: &Sources) -> FluxError {
        FluxError { diagnostics: self.into_diagnostics(sources) }
    }
}

fn locate(severity: Severity, fault: Fault, sources: &Sources) -> Diagnostic {
    let place = fault.at.unwrap_or_default();
    // A place in line 0 is a file as a whole.
    let excerpt = fault.at.filter(|at| at.line > 0).map(|at| Excerpt {
        text: sources.line(at.file, at.line).unwrap_or_default().to_owned(),
        width: at.width as usize,
    });
    Diagnostic {
        file: sources.name(place.file).to_owned(),
        line: place.line.max(1) as usize,
        column: place.column.max(1) as usize,
        severity,
        message: fault.message,
        help: fault.help,
        excerpt,
    }
}

/// `` ; did you mean `x`? ``, or nothing when no candidate is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // Comparing costs the product of the lengths, and nobody means a name this long.
    if name.len() > 200 {
        return String::new();
    }
    nearest(name, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        None => "nothing".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}

/// Text as a message shows it: in one line, and not too much of it.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let start: String = text.chars().take(MOST).map(plain).collect();
    if text.chars().nth(MOST).is_some() { format!("{start}...") } else { start }
}
