//! Relative paths among what components are made of, made absolute: a worker runs in another folder.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::definition::{Definition, Object, Recipe};
use crate::node::{Kind, Node};
use crate::scalar::Scalar;
use crate::source::Span;

/// A scalar that is read as a path: the places of the object that reads it and of the scalar. An
/// anchored scalar has one place in several objects.
pub(crate) type PathUse = (Span, Span);

/// A relative path that stands as an absolute one in [`Loaded::definition`](crate::Loaded::definition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath {
    /// Where it stands: `lines.path`, `lines.constructorArgs[0]`.
    pub property: String,
    /// As the file has it.
    pub from: String,
    /// As it stands there now.
    pub to: String,
}

/// `` `lines.path`: `a.txt` is sent as `/data/a.txt` ``.
impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: `{}` is sent as `{}`", self.property, self.from, self.to)
    }
}

/// Makes all paths in a definition absolute, from this folder on; answers with those that were not.
pub(crate) fn make_absolute(definition: &mut Definition, uses: &BTreeSet<PathUse>, folder: &Path) -> Vec<AbsolutePath> {
    let mut rewriting = Rewriting { uses, folder, object: Span::default(), changed: Vec::new() };
    let Definition { components, spouts, bolts, streams, worker_hooks, .. } = definition;
    let vertices = spouts.iter_mut().chain(bolts).map(|vertex| &mut vertex.object);
    let groupings =
        streams.iter_mut().filter_map(|stream| stream.grouping.as_mut()).filter_map(|of| of.custom.as_mut());
    components.iter_mut().chain(worker_hooks).chain(vertices).chain(groupings).for_each(|of| rewriting.rewrite(of));
    rewriting.changed
}

/// A path from this folder on, without `.` in it. `..` stays: it may lead through a link.
pub(crate) fn absolute(path: &Path, folder: &Path) -> PathBuf {
    folder.join(path).components().collect()
}

struct Rewriting<'a> {
    uses: &'a BTreeSet<PathUse>,
    folder: &'a Path,
    object: Span,
    changed: Vec<AbsolutePath>,
}

impl Rewriting<'_> {
    fn rewrite(&mut self, object: &mut Object) {
        let name = object.id.as_ref().or(object.class.as_ref()).map_or("", |text| &text.text).to_owned();
        let Recipe { object, arguments, properties, factory, methods, .. } = &mut object.recipe;
        self.object = *object;
        self.items(arguments, &format!("{name}.constructorArgs"));
        for property in properties {
            self.node(&mut property.value, &format!("{name}.{}", property.key.text));
        }
        if let Some(call) = factory {
            self.items(&mut call.arguments, &format!("{name}.factoryArgs"));
        }
        for call in methods {
            self.items(&mut call.arguments, &format!("{name}.{}", call.name.text));
        }
    }

    fn items(&mut self, items: &mut [Node], name: &str) {
        for (index, item) in items.iter_mut().enumerate() {
            self.node(item, &format!("{name}[{index}]"));
        }
    }

    fn node(&mut self, node: &mut Node, name: &str) {
        let is_path = self.uses.contains(&(self.object, node.at));
        match &mut node.kind {
            Kind::List(items) => self.items(items, name),
            Kind::Map(entries) => {
                for entry in entries {
                    self.node(&mut entry.value, &format!("{name}.{}", entry.key.text));
                }
            }
            Kind::Scalar(scalar) if is_path && !scalar.text.is_empty() && Path::new(&*scalar.text).is_relative() => {
                let from = scalar.text.to_string();
                let to = absolute(Path::new(&from), self.folder).to_string_lossy().into_owned();
                *scalar = Scalar { text: to.as_str().into(), is_plain: false, is_open: false };
                self.changed.push(AbsolutePath { property: name.to_owned(), from, to });
            }
            Kind::Scalar(_) | Kind::Ref(_) | Kind::Unknown => {}
        }
    }
}
