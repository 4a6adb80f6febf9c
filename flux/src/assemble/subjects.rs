//! Where in the files the subjects of a topology's problems stand.

use galerna_topology_api::{ConfigKey, InvalidTopology, KeyStatus, Problem, Subject, TopologyConfig, nearest};

use crate::definition::{Definition, GroupingDefinition, Setting, Vertex};
use crate::node::Text;
use crate::problems::{Fault, Problems};
use crate::scalar::is_old_boolean;
use crate::source::Span;

/// What was declared to the builder, in its order.
pub(super) struct Subjects<'a> {
    pub(super) definition: &'a Definition,
    pub(super) parts: Vec<Part<'a>>,
    /// The inputs of each part.
    pub(super) wired: Vec<Vec<Wired<'a>>>,
}

pub(super) struct Part<'a> {
    pub(super) vertex: &'a Vertex,
    pub(super) id: &'a Text,
    /// Whether it stands in for one that could not be made.
    pub(super) is_placeholder: bool,
    /// Whether no other of this id came before.
    pub(super) is_first: bool,
}

pub(super) struct Wired<'a> {
    pub(super) from: &'a Text,
    pub(super) grouping: &'a GroupingDefinition,
}

impl Subjects<'_> {
    /// Notes the problems of a topology at their places.
    pub(super) fn tell(&self, invalid: InvalidTopology, problems: &mut Problems) {
        // Warnings are told whether or not there are errors.
        self.tell_warnings(&invalid.problems, problems);
        let mut errors = invalid.problems;
        errors.retain(|problem| !problem.is_warning);
        // Where nothing else is wrong, nothing can be a consequence of it.
        let is_anything_told = problems.has_errors();
        errors.retain(|problem| !(is_anything_told && self.is_consequence(problem)));
        for problem in errors {
            let fault = Fault::new(self.place(&problem.subject), problem.message);
            problems.fault(match self.config_value(&problem.subject) {
                Some(text) if is_old_boolean(&text) => fault.help("YAML 1.2 has only `true` and `false` as booleans"),
                _ => fault,
            });
        }
    }

    /// Notes the warnings of a topology at their places. Those of configs are told by
    /// [`tell_config_warnings`](Self::tell_config_warnings).
    pub(super) fn tell_warnings(&self, all: &[Problem], problems: &mut Problems) {
        let is_of_config =
            |problem: &Problem| matches!(problem.subject, Subject::Config(_) | Subject::ComponentConfig(..));
        for warning in all.iter().filter(|problem| problem.is_warning && !is_of_config(problem)) {
            problems.warning(self.place(&warning.subject), warning.message.clone());
        }
    }

    /// Notes what has no effect in the configs.
    pub(super) fn tell_config_warnings(&self, problems: &mut Problems) {
        let configs = self.parts.iter().map(|part| &part.vertex.config);
        for settings in std::iter::once(&self.definition.config).chain(configs) {
            let config: TopologyConfig =
                settings.iter().map(|setting| (setting.key.text.as_str().into(), setting.value.clone())).collect();
            for problem in config.problems().into_iter().filter(|problem| problem.is_warning) {
                let at = settings.iter().find(|setting| setting.key.text == problem.key).map(|setting| setting.key.at);
                problems.warning(at.unwrap_or(self.definition.at), problem.message);
            }
        }
    }

    /// Whether a problem only follows from one that was told already.
    fn is_consequence(&self, problem: &Problem) -> bool {
        match problem.subject {
            Subject::Topology => self.definition.is_incomplete,
            Subject::Component(index) => {
                let is_without_input = self.wired.get(index).is_some_and(Vec::is_empty);
                is_without_input && (self.definition.is_incomplete || self.is_meant_by_a_stream(index))
            }
            Subject::InputFrom(..) => self.definition.is_incomplete,
            Subject::InputStream(index, number) => {
                let from = self.wired.get(index).and_then(|wired| wired.get(number)).map(|wired| &wired.from.text);
                self.parts.iter().any(|part| part.is_placeholder && Some(&part.id.text) == from)
            }
            _ => false,
        }
    }

    /// Whether a component is not fed only because of what is wrong with a stream, or because it
    /// goes by the id of another.
    fn is_meant_by_a_stream(&self, index: usize) -> bool {
        let Some(part) = self.parts.get(index) else { return false };
        let ids = || self.parts.iter().map(|part| part.id.text.as_str());
        let means_this = |to: &Text| {
            to.text == part.id.text
                || (!ids().any(|id| id == to.text) && nearest(&to.text, ids()) == Some(part.id.text.as_str()))
        };
        !part.is_first || self.definition.streams.iter().filter_map(|stream| stream.to.as_ref()).any(means_this)
    }

    fn place(&self, subject: &Subject) -> Span {
        self.place_if_any(subject).unwrap_or(self.definition.at)
    }

    fn place_if_any(&self, subject: &Subject) -> Option<Span> {
        let part = |index: &usize| self.parts.get(*index);
        let object = |index: &usize| part(index).map(|part| &part.vertex.object);
        let wired = |index: &usize, number: &usize| self.wired.get(*index)?.get(*number);
        match subject {
            Subject::Name => {
                let name = self.definition.config.iter().find(|setting| setting.key.text == "topology.name");
                name.map(|setting| setting.value_at).or(self.definition.name.as_ref().map(|name| name.at))
            }
            Subject::Config(key) => setting_place(&self.definition.config, key),
            Subject::Component(index) => part(index).map(|part| part.id.at),
            Subject::Property(index, name) => {
                let properties = &object(index)?.recipe.properties;
                let property = properties.iter().find(|property| property.key.text == *name);
                property.map(|property| property.value.at).or(part(index).map(|part| part.id.at))
            }
            Subject::Id(index) => part(index).map(|part| part.id.at),
            Subject::Parallelism(index) => {
                part(index)?.vertex.parallelism.map(|(_, at)| at).or(object(index).map(|object| object.at))
            }
            Subject::Tasks(index) => {
                let vertex = part(index)?.vertex;
                vertex.tasks.or(vertex.parallelism).map(|(_, at)| at).or(object(index).map(|object| object.at))
            }
            Subject::ComponentConfig(index, key) => setting_place(&part(index)?.vertex.config, key),
            Subject::InputFrom(index, number) => wired(index, number).map(|wired| wired.from.at),
            Subject::InputStream(index, number) => {
                let wired = wired(index, number)?;
                Some(wired.grouping.stream.as_ref().map_or(wired.from.at, |stream| stream.at))
            }
            Subject::InputGrouping(index, number) => wired(index, number).map(|wired| wired.grouping.at),
            Subject::InputField(index, number, field) => {
                wired(index, number)?.grouping.arguments.get(*field).map(|field| field.at)
            }
            _ => None,
        }
    }

    /// The text that a config key is set to.
    fn config_value(&self, subject: &Subject) -> Option<String> {
        let (settings, key) = match subject {
            Subject::Config(key) => (&self.definition.config, key),
            Subject::ComponentConfig(index, key) => (&self.parts.get(*index)?.vertex.config, key),
            _ => return None,
        };
        let setting = settings.iter().find(|setting| setting.key.text == *key)?;
        setting.value.as_str().map(str::to_owned)
    }
}

/// The value where the key is known, else the key.
fn setting_place(settings: &[Setting], key: &str) -> Option<Span> {
    let setting = settings.iter().find(|setting| setting.key.text == key)?;
    let is_known = ConfigKey::find(key).is_some_and(|key| key.status != KeyStatus::Ignored);
    Some(if is_known { setting.value_at } else { setting.key.at })
}
