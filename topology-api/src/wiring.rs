//! What a bolt can compare its properties with before anything runs.

use smol_str::SmolStr;

use crate::fields::Fields;
use crate::suggest::did_you_mean;

/// The place of a bolt in its topology, and what the bolt finds wrong with it. Passed to
/// [`Bolt::check`](crate::Bolt::check).
#[derive(Debug)]
pub struct Wiring<'a> {
    pub(crate) component: &'a str,
    pub(crate) task_count: u32,
    pub(crate) inputs: Vec<WiredInput<'a>>,
    /// The property that is wrong, and what is wrong with it.
    pub(crate) problems: Vec<(SmolStr, String)>,
}

/// A stream that a bolt receives. Inputs from unknown components or streams are left out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WiredInput<'a> {
    /// The component that emits the stream.
    pub from: &'a str,
    /// The stream's name.
    pub stream: &'a str,
    /// The fields that the stream declares.
    pub fields: &'a Fields,
}

impl<'a> Wiring<'a> {
    /// The id of the bolt.
    pub fn component_id(&self) -> &str {
        self.component
    }

    /// How many tasks the bolt has.
    pub fn task_count(&self) -> u32 {
        self.task_count
    }

    /// The streams that the bolt receives.
    pub fn inputs(&self) -> &[WiredInput<'a>] {
        &self.inputs
    }

    /// Reports a wrong property of the bolt. State in the message what would be accepted.
    pub fn problem(&mut self, property: &str, message: impl Into<String>) {
        self.problems.push((property.into(), message.into()));
    }

    /// Requires a field, named by a property, in every input.
    pub fn expect_field(&mut self, property: &str, field: &str) {
        for input in self.inputs.iter().filter(|input| input.fields.index_of(field).is_none()) {
            let WiredInput { from, stream, fields } = input;
            let near = did_you_mean(field, fields.iter());
            let message = format!("stream `{stream}` of `{from}` has no field `{field}`{near} (fields: {fields})");
            self.problems.push((property.into(), message));
        }
    }
}
