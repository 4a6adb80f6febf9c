//! `${name}`: done on the scalars of the parsed file, so that places stay true, comments are left
//! alone, and a value is never read as YAML.

mod java_properties;
mod template;
mod variables;

pub(crate) use java_properties::parse_properties;
pub(crate) use variables::Variables;

use crate::node::{Kind, Node};
use crate::problems::{Fault, Problems};
use crate::scalar::Scalar;
use crate::source::Span;
use template::{Failure, Template};

/// Replaces what stands in `node` and below. A scalar whose names cannot be resolved becomes
/// [`Kind::Unknown`].
pub(crate) fn substitute(node: &mut Node, variables: &mut Variables, problems: &mut Problems) {
    match &mut node.kind {
        Kind::Scalar(scalar) if scalar.text.contains("${") => match replaced(scalar, node.at, variables) {
            Ok(new) => *scalar = new,
            Err(faults) => {
                faults.into_iter().for_each(|fault| problems.fault(fault));
                node.kind = Kind::Unknown;
            }
        },
        Kind::List(items) => items.iter_mut().for_each(|item| substitute(item, variables, problems)),
        Kind::Map(entries) => {
            let mut is_changed = false;
            for entry in entries.iter_mut() {
                substitute(&mut entry.value, variables, problems);
                if entry.key.text.contains("${") {
                    let key = Scalar { text: entry.key.text.as_str().into(), is_plain: true, is_open: false };
                    match replaced(&key, entry.key.at, variables) {
                        Ok(new) => entry.key.text = new.text.to_string(),
                        Err(faults) => faults.into_iter().for_each(|fault| problems.fault(fault)),
                    }
                    is_changed = true;
                }
            }
            if is_changed {
                drop_duplicates(entries, problems);
            }
        }
        _ => {}
    }
}

/// Two keys may have become one.
fn drop_duplicates(entries: &mut Vec<crate::node::Entry>, problems: &mut Problems) {
    let mut seen = std::collections::BTreeSet::new();
    entries.retain(|entry| {
        let is_new = seen.insert(entry.key.text.clone());
        if !is_new {
            problems.error(entry.key.at, format!("duplicate key `{}`", crate::problems::shown(&entry.key.text)));
        }
        is_new
    });
}

fn replaced(scalar: &Scalar, at: Span, variables: &mut Variables) -> Result<Scalar, Vec<Fault>> {
    let located = |failure: Failure| {
        let fault = Fault::new(part_of(scalar, at, failure.start, failure.length), failure.message);
        match failure.help {
            Some(help) => fault.help(help),
            None => fault,
        }
    };
    let template = Template::parse(&scalar.text).map_err(|failure| vec![located(failure)])?;
    let text = template.resolve(variables).map_err(|failures| failures.into_iter().map(located).collect::<Vec<_>>())?;
    Ok(match template.is_reference() {
        true => Scalar { text: text.into(), is_plain: scalar.is_plain, is_open: true },
        // `a${b}` is whatever it would be, had it been written so.
        false => {
            Scalar { text: text.into(), is_plain: scalar.is_plain, is_open: scalar.is_plain && template.has_names() }
        }
    })
}

/// The place of some characters of a scalar, where it stands in one line without escapes; else its
/// own.
fn part_of(scalar: &Scalar, at: Span, start: usize, length: usize) -> Span {
    let count = scalar.text.chars().count();
    let quotes = (at.width as usize).checked_sub(count);
    match quotes {
        Some(quotes @ (0 | 2)) => {
            Span { column: at.column + (quotes / 2 + start) as u32, width: length.max(1) as u32, ..at }
        }
        _ => at,
    }
}
