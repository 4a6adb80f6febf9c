//! A custom grouping: words by their first letter, so that each task has a part of the alphabet.

use std::sync::Arc;

use galerna::prelude::*;

/// Deals the alphabet to the tasks in order: with two of them, `a`–`m` and `n`–`z`.
pub(crate) struct ByInitial {
    tasks: Arc<[TaskId]>,
    /// The place of the word in a row.
    field: usize,
}

/// What YAML sets under the `properties` of the `customClass`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Properties {
    /// The field with the word.
    pub(crate) field: String,
}

impl ByInitial {
    /// The grouping for one emitting task.
    pub(crate) fn new(properties: &Properties, context: &GroupingContext) -> Self {
        // A field that the stream does not have reads as an empty word.
        let field = context.fields.index_of(&properties.field).unwrap_or(usize::MAX);
        Self { tasks: context.targets.clone(), field }
    }
}

impl CustomGrouping for ByInitial {
    fn choose(&mut self, values: &[Value], chosen: &mut Vec<TaskId>) {
        let initial = values.get(self.field).and_then(Value::as_str).and_then(|word| word.chars().next());
        let letter = initial.map_or('z', |initial| initial.to_ascii_lowercase()).clamp('a', 'z');
        let place = usize::from(letter as u8 - b'a') * self.tasks.len() / 26;
        chosen.extend(self.tasks.get(place));
    }
}
