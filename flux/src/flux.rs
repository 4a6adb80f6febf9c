//! Reading a topology's file: what is asked for, and how it is answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galerna_topology_api::Topology;

use crate::assemble::{Assembled, assemble, pool};
use crate::construct::Shared;
use crate::definition::{Definition, Setting};
use crate::diagnostic::{Diagnostic, FluxError};
use crate::load::{Loader, folder_of, read_text};
use crate::parse::{Form, parse};
use crate::problems::{Problems, shown};
use crate::read::{Reader, settings};
use crate::registry::Registry;
use crate::resolved::{AbsolutePath, absolute, make_absolute, text_of};
use crate::source::{Source, Sources, Span};
use crate::substitute::{Variables, parse_properties};

/// A topology's file, to be read together with what is given beside it. Nothing is read before
/// [`build`](Self::build) or [`load`](Self::load).
///
/// ```
/// # use galerna_flux::{Flux, Registry};
/// let error = Flux::parse("name: empty\nsprouts: []\n").build(&Registry::new()).unwrap_err();
/// assert_eq!(error.diagnostics[0].message, "unknown key `sprouts` in a topology; did you mean `spouts`?");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Flux {
    name: PathBuf,
    /// The text, if it does not lie in the file of that name.
    text: Option<String>,
    substitutions: BTreeMap<String, String>,
    properties: Vec<PathBuf>,
    config: Vec<(String, String)>,
    form: Form,
    /// From where on relative paths are made absolute, if they are.
    folder: Option<PathBuf>,
}

/// A topology, and what is to be said about its file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The topology.
    pub topology: Topology,
    /// What is not as it seems, but no reason not to run.
    pub warnings: Vec<Diagnostic>,
    /// The files that were read: the topology's own first, then properties and what it includes.
    pub files: Vec<PathBuf>,
    /// The topology's file with everything resolved: what it includes, substitutions, config set
    /// beside it. [`Flux::resolved`] reads it to an equal topology, with an equal definition.
    pub definition: String,
    /// The paths that stand as absolute ones in the definition, if
    /// [`absolute_paths`](Flux::absolute_paths) were asked for. The topology has them as they were.
    pub made_absolute: Vec<AbsolutePath>,
}

impl Flux {
    /// The file at this path.
    pub fn read(path: impl AsRef<Path>) -> Self {
        Self::new(path.as_ref().to_owned(), None)
    }

    /// A text in place of a file; includes are looked for in the folder that the name says.
    pub fn from_text(name: impl AsRef<Path>, text: impl Into<String>) -> Self {
        Self::new(name.as_ref().to_owned(), Some(text.into()))
    }

    /// A text in place of a file called `topology.yaml`.
    pub fn parse(text: impl Into<String>) -> Self {
        Self::from_text("topology.yaml", text)
    }

    /// The [definition](Loaded::definition) of a topology that was loaded before. Nothing in it is
    /// substituted or included, and `!set` before a scalar says that it was substituted.
    pub fn resolved(definition: impl Into<String>) -> Self {
        Self { form: Form::Resolved, ..Self::from_text("resolved-topology.yaml", definition) }
    }

    fn new(name: PathBuf, text: Option<String>) -> Self {
        Self {
            name,
            text,
            substitutions: BTreeMap::new(),
            properties: Vec::new(),
            config: Vec::new(),
            form: Form::Written,
            folder: None,
        }
    }

    /// Gives `${name}` a value. A name that no file refers to is an error.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.substitutions.insert(name.into(), value.into());
        self
    }

    /// Gives `${…}` the values of a properties file as Java has them; others are fine.
    pub fn properties(mut self, file: impl AsRef<Path>) -> Self {
        self.properties.push(file.as_ref().to_owned());
        self
    }

    /// Sets a config key over what the file says; the value is written as in YAML.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((key.into(), value.into()));
        self
    }

    /// Has relative paths stand in the [definition](Loaded::definition) as absolute ones, from this
    /// folder on, and `${topology.dir}` be an absolute path. Paths are what components read as
    /// `PathBuf`.
    pub fn absolute_paths(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Reads it all and builds the topology.
    ///
    /// # Errors
    /// With everything that is wrong, unless a file is no YAML at all.
    pub fn build(&self, registry: &Registry) -> Result<Topology, FluxError> {
        self.load(registry).map(|loaded| loaded.topology)
    }

    /// As [`build`](Self::build), with the warnings and the names of the files.
    ///
    /// # Errors
    /// With everything that is wrong, unless a file is no YAML at all.
    pub fn load(&self, registry: &Registry) -> Result<Loaded, FluxError> {
        let mut sources = Sources::default();
        let mut problems = Problems::default();
        let Some(mut definition) = self.definition(&mut sources, &mut problems) else {
            return Err(problems.into_error(&sources));
        };
        let pool = pool(&definition.components, registry, &mut problems);
        let shared = Arc::new(Shared { pool, sources });
        let assembled = assemble(&definition, registry, shared.clone(), &mut problems);
        let sources = &shared.sources;
        let Some(Assembled { topology, paths }) = assembled else { return Err(problems.into_error(sources)) };
        let made_absolute = match &self.folder {
            Some(folder) => make_absolute(&mut definition, &paths, folder),
            None => Vec::new(),
        };
        Ok(Loaded {
            topology,
            warnings: problems.into_diagnostics(sources),
            files: sources.files(),
            definition: text_of(&definition),
            made_absolute,
        })
    }

    fn definition(&self, sources: &mut Sources, problems: &mut Problems) -> Option<Definition> {
        let text = match &self.text {
            Some(text) => Ok(text.clone()),
            None => read_text(&self.name),
        };
        let (text, failure) = text.map_or_else(|failure| (String::new(), Some(failure)), |text| (text, None));
        let main = sources.add(Source { name: self.name.clone(), text, is_file: self.text.is_none() });
        if let Some(message) = failure {
            problems.error(whole(main), format!("cannot read `{}`: {message}", self.name.display()));
            return None;
        }
        let folder = folder_of(&self.name);
        let folder = self.folder.as_ref().map_or(folder.clone(), |from| absolute(&folder, from));
        let mut variables = Variables::new(self.substitutions.clone(), folder.to_string_lossy().into_owned());
        for file in &self.properties {
            self.read_properties(file, &mut variables, sources, problems);
        }
        let path = vec![self.name.canonicalize().unwrap_or_else(|_| self.name.clone())];
        let included = BTreeMap::new();
        let mut loader =
            Loader { sources, problems, variables: &mut variables, form: self.form, path, included, files: 1 };
        let mut definition = loader.load(main)?;
        definition.at = Span { file: main, line: 1, column: 1, width: 1 };
        // An included file that could not be read may well refer to them.
        if !definition.is_incomplete {
            for (text, message) in variables.unused() {
                let width = text.chars().count() as u32;
                let file = sources.add(Source { name: "--set".into(), text, is_file: false });
                problems.error(Span { file, line: 1, column: 1, width }, message);
            }
        }
        for (key, value) in &self.config {
            self.override_config(key, value, &mut definition, sources, problems);
        }
        Some(definition)
    }

    fn read_properties(&self, path: &Path, variables: &mut Variables, sources: &mut Sources, problems: &mut Problems) {
        let read = read_text(path);
        let text = read.clone().unwrap_or_default();
        let file = sources.add(Source { name: path.to_owned(), text, is_file: true });
        let (at, message) = match read.map(|text| parse_properties(&text)) {
            Ok(Ok(properties)) => return variables.read(properties),
            Ok(Err((line, message))) => (Span { file, line: line as u32, column: 1, width: 1 }, message),
            Err(message) => (whole(file), format!("cannot read `{}`: {message}", path.display())),
        };
        problems.error(at, message);
        variables.miss_some();
    }

    /// Reads `key=value` as the file would be read, at places in just that text.
    fn override_config(
        &self,
        key: &str,
        value: &str,
        definition: &mut Definition,
        sources: &mut Sources,
        problems: &mut Problems,
    ) {
        let file = sources.add(Source { name: "-c".into(), text: format!("{key}={value}"), is_file: false });
        let width = key.chars().count();
        let at = Span { file, line: 1, column: 1, width: width as u32 };
        if key.trim().is_empty() || key.contains('\n') {
            return problems.error(at, format!("`{}` is no config key", shown(key)));
        }
        // Blanks in the key's place keep the columns of the value true.
        let padded = format!("{}{value}", " ".repeat(width + 1));
        let value = match parse(&padded, file, Form::Written, problems) {
            Ok(Some(node)) => node,
            Ok(None) => crate::node::Node {
                at: Span { column: at.column + at.width + 1, ..at },
                kind: crate::node::Kind::Scalar(crate::scalar::Scalar::plain("")),
            },
            Err(fault) => return problems.fault(fault),
        };
        let key = crate::node::Key { at, text: key.to_owned(), is_merge: false };
        let map = crate::node::Node { at, kind: crate::node::Kind::Map(vec![crate::node::Entry { key, value }]) };
        for setting in settings(&map, &mut Reader::new(problems)) {
            let same = |known: &&mut Setting| known.key.text == setting.key.text;
            match definition.config.iter_mut().find(same) {
                Some(known) => *known = setting,
                None => definition.config.push(setting),
            }
        }
    }
}

/// A file as a whole.
fn whole(file: u32) -> Span {
    Span { file, ..Span::default() }
}
