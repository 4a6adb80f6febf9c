//! Nodes -> YAML that is read back to the same nodes.

use std::fmt::Write;

use crate::node::{Entry, Kind, Node};
use crate::scalar::{Meaning, Scalar, is_old_boolean, meaning_of};

/// The tag of what came about by substitution: it is text or not as its place asks for.
pub(crate) const SET: &str = "set";

/// A list that is no longer than this stands in one line.
const LINE: usize = 100;
/// YAML finds keys beyond 1,024 characters only behind a `?`.
const LONG_KEY: usize = 1_000;

/// A map as a document.
pub(super) fn print(root: &Node) -> String {
    let mut printer = Printer { text: String::new() };
    match &root.kind {
        Kind::Map(entries) if !entries.is_empty() => printer.map(entries, 0, false),
        _ => printer.value(root, 0, false),
    }
    printer.text
}

struct Printer {
    text: String,
}

impl Printer {
    /// What stands behind the `:` of a key or the `-` of an item at column `column`.
    fn value(&mut self, node: &Node, column: usize, is_item: bool) {
        if let Some(inline) = inline(node) {
            self.text.push_str(if inline.is_empty() { "" } else { " " });
            self.text.push_str(&inline);
            self.text.push('\n');
            return;
        }
        // The first line of an item's content stands beside its dash.
        self.text.push(if is_item { ' ' } else { '\n' });
        match &node.kind {
            Kind::Map(entries) => self.map(entries, column + 2, is_item),
            Kind::List(items) => self.list(items, column + 2, is_item),
            Kind::Scalar(scalar) => {
                self.text.pop();
                self.literal(&scalar.text, column + 2);
            }
            Kind::Ref(_) | Kind::Unknown => {}
        }
    }

    fn map(&mut self, entries: &[Entry], column: usize, mut is_indented: bool) {
        for Entry { key, value } in entries {
            self.indent(column, &mut is_indented);
            let key = string(&key.text);
            if key.chars().count() > LONG_KEY {
                let _ = writeln!(self.text, "? {key}");
                self.indent(column, &mut false);
            } else {
                self.text.push_str(&key);
            }
            self.text.push(':');
            self.value(value, column, false);
        }
    }

    fn list(&mut self, items: &[Node], column: usize, mut is_indented: bool) {
        for item in items {
            self.indent(column, &mut is_indented);
            self.text.push('-');
            self.value(item, column, true);
        }
    }

    /// A text of several lines as it is.
    fn literal(&mut self, text: &str, column: usize) {
        self.text.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(column, &mut false);
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    fn indent(&mut self, column: usize, is_indented: &mut bool) {
        if !std::mem::take(is_indented) {
            self.text.extend(std::iter::repeat_n(' ', column));
        }
    }
}

/// A node in one line, where it has room there.
fn inline(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar(scalar) => (!is_literal(scalar)).then(|| self::scalar(scalar)),
        Kind::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        Kind::List(items) => {
            let items = items.iter().map(|item| match &item.kind {
                Kind::Scalar(of) if !is_literal(of) => Some(scalar(of)).filter(|text| text != "!set"),
                _ => None,
            });
            let items = items.collect::<Option<Vec<_>>>()?;
            Some(format!("[{}]", items.join(", "))).filter(|text| text.len() <= LINE)
        }
        Kind::Ref(_) | Kind::Unknown => Some("~".to_owned()),
    }
}

fn scalar(of: &Scalar) -> String {
    // What means nothing but text is text, however it was written.
    if meaning_of(&of.text) == Meaning::Text {
        return string(&of.text);
    }
    match (of.is_plain, of.is_open) {
        (true, false) if of.text.is_empty() => "~".to_owned(),
        (true, false) => of.text.to_string(),
        (false, false) => quoted(&of.text),
        (true, true) => format!("!{SET} {}", of.text).trim_end().to_owned(),
        (false, true) => format!("!{SET} {}", quoted(&of.text)),
    }
}

fn string(text: &str) -> String {
    if is_bare(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text needs no quotes, in whatever place and to whoever reads it.
fn is_bare(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'))
        && !text.ends_with(' ')
        && text.chars().all(is_plain)
        && meaning_of(text) == Meaning::Text
        && !is_old_boolean(text)
}

/// Whether a scalar is text of several lines that can be shown as such.
fn is_literal(of: &Scalar) -> bool {
    let text = &*of.text;
    let content = text.strip_suffix('\n').unwrap_or(text);
    content.contains('\n')
        && meaning_of(text) == Meaning::Text
        && !content.starts_with([' ', '\n'])
        && !content.ends_with('\n')
        && content.split('\n').all(|line| !line.ends_with(' ') && !line.chars().any(needs_escape))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            '\r' => write!(quoted, "\\r"),
            other if needs_escape(other) && u32::from(other) <= 0xff => write!(quoted, "\\x{:02x}", u32::from(other)),
            other if needs_escape(other) => write!(quoted, "\\u{:04x}", u32::from(other)),
            plain => write!(quoted, "{plain}"),
        };
    }
    quoted.push('"');
    quoted
}

/// What YAML takes for the end of a line, does not take at all, or nobody sees.
fn needs_escape(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
