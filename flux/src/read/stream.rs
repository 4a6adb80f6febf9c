//! Entries of `streams:` and their groupings.

use super::object::custom_class;
use super::reader::Reader;
use crate::definition::{GroupingDefinition, GroupingKind, Stream};
use crate::node::{Node, Text};
use crate::problems::{Fault, did_you_mean, one_of, shown};

pub(super) fn stream(node: &Node, reader: &mut Reader<'_>) -> Option<Stream> {
    let section = reader.section(node, "a stream", &["name", "from", "to", "grouping"], &["id"])?;
    // A label for people, as in Flux.
    let name = section.get("name").and_then(|node| reader.text(node, "`name`"));
    let from = reader.required_text(&section, "from");
    let to = reader.required_text(&section, "to");
    let grouping = match section.get("grouping") {
        Some(node) => grouping(node, reader),
        None => {
            let fault = Fault::new(section.at, "a stream without `grouping`");
            reader.fault(fault.help("add for example `grouping: {type: SHUFFLE}`"));
            None
        }
    };
    Some(Stream { at: section.at, name, from, to, grouping })
}

fn grouping(node: &Node, reader: &mut Reader<'_>) -> Option<GroupingDefinition> {
    let section = reader.section(node, "a grouping", &["type", "args", "streamId", "customClass"], &[])?;
    let stream = section.get("streamId").and_then(|node| reader.text(node, "`streamId`"));
    let arguments = reader.items(section.get("args"), "`args`", |node, reader| reader.text(node, "a field's name"));
    let custom = section.get("customClass").and_then(|node| custom_class(node, reader));
    let name = reader.required_text(&section, "type")?;
    let kind = kind(&name, reader)?;
    let takes_fields = matches!(kind, GroupingKind::Fields | GroupingKind::PartialKey);
    if let (false, Some(entry)) = (takes_fields, section.entry("args").filter(|entry| !entry.value.is_null())) {
        reader.warning(entry.key.at, format!("`args` have no effect: {} grouping takes no fields", kind.name()));
    }
    match (kind, section.entry("customClass")) {
        (GroupingKind::Custom, None) => {
            let fault = Fault::new(name.at, "CUSTOM grouping without `customClass`");
            reader.fault(fault.help("name one that the program registers: `customClass: {className: ...}`"));
            return None;
        }
        (GroupingKind::Custom, Some(_)) if custom.is_none() => return None,
        (GroupingKind::Custom, _) | (_, None) => {}
        (_, Some(entry)) => {
            reader.error(entry.key.at, format!("`customClass` with {} grouping, expected CUSTOM", kind.name()));
        }
    }
    Some(GroupingDefinition { at: name.at, kind, arguments, stream, custom })
}

/// The grouping of a name, written in whatever case.
fn kind(name: &Text, reader: &mut Reader<'_>) -> Option<GroupingKind> {
    let normal = name.text.to_ascii_uppercase().replace('-', "_");
    let names = || GroupingKind::ALL.iter().map(|(name, _)| *name);
    let known = GroupingKind::ALL.iter().find(|(known, _)| *known == normal).map(|(_, kind)| *kind);
    if known.is_none() {
        let near = did_you_mean(&normal, names());
        let fault = Fault::new(name.at, format!("unknown grouping `{}`{near}", shown(&name.text)));
        reader.fault(fault.help(format!("expected {}", one_of(names()))));
    }
    known
}
