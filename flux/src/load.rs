//! Reads a topology's file and everything that it includes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::definition::{Definition, Object, Vertex};
use crate::node::Text;
use crate::parse::{Form, MOST_BYTES, parse};
use crate::problems::{Problems, shown};
use crate::read;
use crate::source::{Source, Sources, Span};
use crate::substitute::{Variables, substitute};

/// Includes in includes, at most.
const MOST_DEPTH: usize = 16;
/// Files of one topology, at most.
const MOST_FILES: usize = 64;

/// Reads files and merges what they define.
pub(crate) struct Loader<'a> {
    pub(crate) sources: &'a mut Sources,
    pub(crate) problems: &'a mut Problems,
    pub(crate) variables: &'a mut Variables,
    pub(crate) form: Form,
    /// The files that are being read, each included by the one before it.
    pub(crate) path: Vec<PathBuf>,
    /// The included files, each by the folder that its own includes are relative to and its identity. A file
    /// that several others include has one number, so that equal places are one definition.
    pub(crate) included: BTreeMap<(PathBuf, PathBuf), u32>,
    pub(crate) files: usize,
}

impl Loader<'_> {
    /// Reads the source of a number. Nothing if it cannot be read as a whole.
    pub(crate) fn load(&mut self, file: u32) -> Option<Definition> {
        let parsed = parse(self.sources.text(file), file, self.form, self.problems);
        let root = match parsed {
            Ok(Some(root)) => Some(root),
            Ok(None) => {
                let whole = Span { file, ..Span::default() };
                self.problems.error(whole, "the file is empty; a topology has `name`, `spouts`, `bolts` and `streams`");
                None
            }
            Err(fault) => {
                self.problems.fault(fault);
                None
            }
        };
        let mut root = root?;
        if self.form == Form::Written {
            substitute(&mut root, self.variables, self.problems);
        }
        let (mut definition, includes) = read::definition(&root, self.problems);
        let folder = folder_of(self.sources.name(file));
        for include in includes {
            match self.include(&folder, &include.file) {
                Some(included) => definition.take_in(included, include.is_override, self.sources, self.problems),
                None => definition.is_incomplete = true,
            }
        }
        Some(definition)
    }

    fn include(&mut self, folder: &Path, file: &Text) -> Option<Definition> {
        if self.form == Form::Resolved {
            self.problems.error(file.at, "a topology with everything resolved includes nothing");
            return None;
        }
        let path = folder.join(&file.text);
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        self.files += 1;
        if self.path.len() >= MOST_DEPTH || self.files >= MOST_FILES {
            let message = format!("more than {MOST_DEPTH} includes in each other, or {MOST_FILES} files");
            self.problems.error(file.at, message);
            return None;
        }
        if let Some(from) = self.path.iter().position(|known| *known == identity) {
            let mut names: Vec<_> = self.path[from..].iter().map(|path| name_of(path)).collect();
            names.push(name_of(&identity));
            self.problems.error(file.at, format!("`{}` includes itself: {}", shown(&file.text), names.join(" -> ")));
            return None;
        }
        match self.source_of(&path, identity.clone()) {
            Ok(number) => {
                self.path.push(identity);
                let definition = self.load(number);
                self.path.pop();
                definition
            }
            Err(message) => {
                self.problems.error(file.at, format!("cannot include `{}`: {message}", path.display()));
                None
            }
        }
    }

    /// The number of an included file, which is read once.
    fn source_of(&mut self, path: &Path, identity: PathBuf) -> Result<u32, String> {
        let folder = folder_of(path);
        let key = (folder.canonicalize().unwrap_or(folder), identity);
        if let Some(number) = self.included.get(&key) {
            return Ok(*number);
        }
        let number = self.sources.add(Source { name: path.to_owned(), text: read_text(path)?, is_file: true });
        self.included.insert(key, number);
        Ok(number)
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Reads a file that people write, so never more than such a file holds.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MOST_BYTES {
        return Err(format!("it has more than {MOST_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("it is not UTF-8 text (line {line})")
    })
}

impl Definition {
    /// Adds what an included file defines. Where both define something, the included one counts
    /// only if it overrides. Definitions from the same place of a file, which came by several includes, are one.
    fn take_in(&mut self, other: Self, is_override: bool, sources: &Sources, problems: &mut Problems) {
        if self.name.is_none() || (is_override && other.name.is_some()) {
            self.name = other.name;
        }
        for setting in other.config {
            match self.config.iter_mut().find(|known| known.key.text == setting.key.text) {
                Some(known) if is_override => *known = setting,
                Some(_) => {}
                None => self.config.push(setting),
            }
        }
        let mut merge = Merge { is_override, sources, problems };
        merge.take_in(&mut self.components, other.components);
        merge.take_in(&mut self.spouts, other.spouts);
        merge.take_in(&mut self.bolts, other.bolts);
        merge.take_in(&mut self.worker_hooks, other.worker_hooks);
        let known: BTreeSet<Span> = self.streams.iter().map(|stream| stream.at).collect();
        self.streams.extend(other.streams.into_iter().filter(|stream| !known.contains(&stream.at)));
        self.is_incomplete |= other.is_incomplete;
    }
}

/// What has an id.
trait Identified {
    fn object(&self) -> &Object;

    fn id(&self) -> Option<&Text> {
        self.object().id.as_ref()
    }
}

impl Identified for Object {
    fn object(&self) -> &Object {
        self
    }
}

impl Identified for Vertex {
    fn object(&self) -> &Object {
        &self.object
    }
}

/// How definitions of an included file are taken in.
struct Merge<'a> {
    is_override: bool,
    sources: &'a Sources,
    problems: &'a mut Problems,
}

impl Merge<'_> {
    fn take_in<T: Identified>(&mut self, own: &mut Vec<T>, others: Vec<T>) {
        // Duplicates within the included file remain duplicates.
        let count = own.len();
        for other in others {
            let own_before = &own[..count];
            if own_before.iter().any(|known| known.object().at == other.object().at) {
                continue;
            }
            let id = other.id().map(|id| id.text.as_str());
            let known = own_before.iter().position(|known| id.is_some() && known.id().map(|id| id.text.as_str()) == id);
            match known.map(|index| &mut own[index]) {
                Some(known) if self.is_override => *known = other,
                Some(known) => self.warn(known.object(), &other),
                None => own.push(other),
            }
        }
    }

    fn warn(&mut self, known: &Object, other: &impl Identified) {
        let Some(id) = other.id() else { return };
        let place = self.sources.place(known.id.as_ref().map_or(known.at, |id| id.at));
        let message = format!("`{}` has no effect: it is defined at {place}", shown(&id.text));
        self.problems.warning(id.at, format!("{message}; say `override: true` at the include to prefer this one"));
    }
}
