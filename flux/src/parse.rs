//! Text -> [`Node`]s with exact places; anchors, aliases and merges resolved, everything bounded.

mod limits;
mod merge;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as Range, Tag};

use crate::node::{Entry, Key, Kind, Node};
use crate::problems::{Fault, Problems, did_you_mean, shown};
use crate::resolved::SET;
use crate::scalar::Scalar;
use crate::source::Span;

use limits::Budget;
pub(crate) use limits::{Form, MOST_BYTES};

/// Reads one document. Duplicate keys go to `problems`, the first one stays; what makes the text
/// unreadable as a whole is the error.
pub(crate) fn parse(text: &str, file: u32, form: Form, problems: &mut Problems) -> Result<Option<Node>, Fault> {
    let start = Span { file, line: 1, column: 1, width: 1 };
    let most_bytes = form.most_bytes();
    if text.len() > most_bytes {
        let whole = Span { line: 0, ..start };
        return Err(Fault::new(whole, format!("the file has {} bytes, more than {most_bytes}", text.len())));
    }
    let mut parser = Parser::new_from_str(text);
    let mut tree =
        Tree { file, form, problems, frames: Vec::new(), anchors: BTreeMap::new(), budget: form.budget(), root: None };
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, range) = event.map_err(|error| tree.syntax(&error))?;
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                return Err(Fault::new(tree.span(range), "a second document; a file holds one topology"));
            }
        }
        tree.event(event, range)?;
    }
    match tree.root {
        Some(mut root) => {
            let most_nodes = tree.budget;
            merge::merge(&mut root, tree.problems, &mut { most_nodes })?;
            Ok((!root.is_null()).then_some(root))
        }
        None => Ok(None),
    }
}

/// A finished node that an anchor names.
struct Anchored {
    node: Node,
    size: limits::Size,
}

/// A list or a map that is not finished.
struct Frame {
    at: Span,
    anchor: usize,
    size: limits::Size,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: BTreeMap<String, Span>, key: Option<Key> },
}

struct Tree<'a> {
    file: u32,
    form: Form,
    problems: &'a mut Problems,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    budget: Budget,
    root: Option<Node>,
}

impl Tree<'_> {
    fn span(&self, range: Range) -> Span {
        let (start, end) = (range.start, range.end);
        let is_one_line = start.line() == end.line() && end.col() > start.col();
        let width = if is_one_line { end.col() - start.col() } else { 1 };
        Span { file: self.file, line: start.line() as u32, column: start.col() as u32 + 1, width: width as u32 }
    }

    fn too_deep(&self, at: Span) -> Fault {
        Fault::new(at, format!("nested more than {} deep", self.form.most_depth()))
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let mark = *error.marker();
        let at = self.span(Range { start: mark, end: mark });
        let at = Span { line: at.line.max(1), ..at };
        let info = error.info();
        // Its own limit, far above ours, counts brackets before we see them.
        if info.contains("recursion limit") {
            return self.too_deep(at);
        }
        let fault = Fault::new(at, format!("not valid YAML: {info}"));
        if info.contains("tab") { fault.help("YAML is indented by blanks, not by tabs") } else { fault }
    }

    fn event(&mut self, event: Event<'_>, range: Range) -> Result<(), Fault> {
        let at = self.span(range);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_open = self.form == Form::Resolved && tag.as_deref().is_some_and(is_set);
                let tag = tag.filter(|_| !is_open);
                let is_plain = is_plain(style, tag.as_deref(), at)?;
                let size = limits::Size::of_scalar(&text);
                let scalar = Scalar { text: text.as_ref().into(), is_plain, is_open };
                self.add(Node { at, kind: Kind::Scalar(scalar) }, size, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", at)?;
                self.open(at, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", at)?;
                self.open(at, anchor, Items::Map { entries: Vec::new(), seen: BTreeMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(Fault::new(at, "this alias stands inside of what it names"));
                };
                let (node, size) = (anchored.node.clone(), anchored.size);
                self.add(node, size, 0).map_err(|fault| Fault { at: Some(at), ..fault })
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Span, anchor: usize, items: Items) -> Result<(), Fault> {
        if self.frames.len() >= self.form.most_depth() {
            return Err(self.too_deep(at));
        }
        // A collection covers many characters; its first one is enough to point at.
        let at = Span { width: 1, ..at };
        self.frames.push(Frame { at, anchor, size: limits::Size::ONE, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let kind = match frame.items {
            Items::List(items) => Kind::List(items),
            Items::Map { entries, .. } => Kind::Map(entries),
        };
        // What lies inside was counted as it came; only the collection itself is new.
        self.budget.spend(limits::Size::ONE, frame.at)?;
        self.place(Node { at: frame.at, kind }, frame.size, frame.anchor)
    }

    fn add(&mut self, node: Node, size: limits::Size, anchor: usize) -> Result<(), Fault> {
        if self.frames.len() + size.depth > self.form.most_depth() {
            return Err(self.too_deep(node.at));
        }
        self.budget.spend(size, node.at)?;
        self.place(node, size, anchor)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, mut node: Node, size: limits::Size, anchor: usize) -> Result<(), Fault> {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size = frame.size.with(size);
        match &mut frame.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, seen, key } => match key.take() {
                None => *key = Some(key_of(node)?),
                Some(key) => {
                    // Nothing has no place of its own; the key that it was left out behind has.
                    if node.as_scalar().is_some_and(|scalar| scalar.text.is_empty() && scalar.is_plain) {
                        node.at = key.at;
                    }
                    match seen.get(&key.text) {
                        Some(first) if !key.is_merge => {
                            let message = format!("duplicate key `{}`", shown(&key.text));
                            let help = format!("its first value stands on line {}", first.line);
                            self.problems.fault(Fault::new(key.at, message).help(help));
                        }
                        _ => {
                            seen.insert(key.text.clone(), key.at);
                            entries.push(Entry { key, value: node });
                        }
                    }
                }
            },
        }
        Ok(())
    }
}

fn key_of(node: Node) -> Result<Key, Fault> {
    match node.kind {
        Kind::Scalar(scalar) => {
            let is_merge = scalar.is_plain && &*scalar.text == "<<";
            Ok(Key { at: node.at, text: scalar.text.to_string(), is_merge })
        }
        _ => Err(Fault::new(node.at, format!("{} as a key; keys are text", node.found()))
            .help("a value that starts with `{` or `[` needs quotes, as in \"{...}\"")),
    }
}

/// Whether a scalar means what its text says; a tag overrules the quotes.
fn is_plain(style: ScalarStyle, tag: Option<&Tag>, at: Span) -> Result<bool, Fault> {
    let Some(tag) = tag else { return Ok(style == ScalarStyle::Plain) };
    match tag.suffix.as_str() {
        "str" if tag.is_yaml_core_schema() => Ok(false),
        "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(true),
        _ => Err(unknown_tag(tag, at)),
    }
}

/// Whether a tag says that the scalar came about by substitution.
fn is_set(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == SET
}

fn check_tag(tag: Option<&Tag>, expected: &str, at: Span) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(unknown_tag(tag, at)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, at: Span) -> Fault {
    let known = ["str", "int", "float", "bool", "null", "seq", "map"];
    let near = did_you_mean(&tag.suffix, known);
    Fault::new(at, format!("the tag `{}{}` means nothing here{near}", tag.handle, shown(&tag.suffix)))
}
