//! `<<`: a map takes in the entries of others. Its own come first, then those of the first map
//! named, and so on.

use std::collections::BTreeSet;

use super::limits::{Budget, Size};
use crate::node::{Entry, Kind, Node};
use crate::problems::{Fault, Problems};

/// Resolves all merges below `node`, innermost first.
pub(super) fn merge(node: &mut Node, problems: &mut Problems, budget: &mut Budget) -> Result<(), Fault> {
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().try_for_each(|item| merge(item, problems, budget)),
        Kind::Map(entries) => {
            for entry in entries.iter_mut() {
                merge(&mut entry.value, problems, budget)?;
            }
            if entries.iter().any(|entry| entry.key.is_merge) {
                merge_into(entries, problems, budget)?;
            }
            Ok(())
        }
        Kind::Scalar(_) | Kind::Ref(_) | Kind::Unknown => Ok(()),
    }
}

fn merge_into(entries: &mut Vec<Entry>, problems: &mut Problems, budget: &mut Budget) -> Result<(), Fault> {
    let (merges, own): (Vec<_>, Vec<_>) = std::mem::take(entries).into_iter().partition(|entry| entry.key.is_merge);
    let mut known: BTreeSet<String> = own.iter().map(|entry| entry.key.text.clone()).collect();
    *entries = own;
    for Entry { key, value } in merges {
        let sources = match value.kind {
            Kind::List(items) => items,
            _ => vec![value],
        };
        for source in sources {
            let found = source.found();
            let Kind::Map(merged) = source.kind else {
                let fault = Fault::new(source.at, format!("`<<` takes a map or a list of maps, found {found}"));
                problems.fault(fault.help("name an anchored map, as in `<<: *defaults`"));
                continue;
            };
            for entry in merged {
                budget.spend(Size::of(&entry.value), key.at)?;
                if known.insert(entry.key.text.clone()) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(())
}
