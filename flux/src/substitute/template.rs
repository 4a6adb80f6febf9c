//! A text with `${name}`, `${name:-default}` and `$${` in it.

use super::Variables;

/// Defaults in defaults, at most.
const MOST_DEPTH: usize = 16;

/// A text taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name { name: String, default: Option<Template>, start: usize, length: usize },
}

/// What is wrong with some characters of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The first character.
    pub(super) start: usize,
    /// How many characters.
    pub(super) length: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { chars: &chars, at: 0 };
        reader.parts(0)
    }

    /// Whether it is one `${…}` and nothing else.
    pub(super) fn is_reference(&self) -> bool {
        matches!(self.0.as_slice(), [Part::Name { .. }])
    }

    pub(super) fn has_names(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Name { .. }))
    }

    /// The text with all names replaced; else every name that has no value.
    pub(super) fn resolve(&self, variables: &mut Variables) -> Result<String, Vec<Failure>> {
        let mut text = String::new();
        let mut failures = Vec::new();
        self.append(variables, &mut text, &mut failures);
        if failures.is_empty() { Ok(text) } else { Err(failures) }
    }

    fn append(&self, variables: &mut Variables, text: &mut String, failures: &mut Vec<Failure>) {
        for part in &self.0 {
            let (name, default, start, length) = match part {
                Part::Text(plain) => {
                    text.push_str(plain);
                    continue;
                }
                Part::Name { name, default, start, length } => (name, default, *start, *length),
            };
            variables.refer(name);
            let failure = |message, help| Failure { start, length, message, help };
            match (variables.get(name), default) {
                (Some(value), default) => {
                    // A name in a default that is not needed counts as used nevertheless.
                    default.iter().for_each(|default| default.refer(variables));
                    if variables.spend(value.len()) {
                        text.push_str(&value);
                    } else {
                        failures.push(failure("substitutions make the file too large".to_owned(), None));
                    }
                }
                (None, Some(default)) => default.append(variables, text, failures),
                // The reason for this one was told, and an empty message is not.
                (None, None) if variables.is_incomplete() => failures.push(failure(String::new(), None)),
                (None, None) => {
                    let (message, help) = variables.undefined(name);
                    failures.push(failure(message, Some(help)));
                }
            }
        }
    }

    fn refer(&self, variables: &mut Variables) {
        for part in &self.0 {
            if let Part::Name { name, default, .. } = part {
                variables.refer(name);
                default.iter().for_each(|default| default.refer(variables));
            }
        }
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn is_next(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(index, c)| self.chars.get(self.at + index) == Some(&c))
    }

    /// Reads up to the end, or in a default (depth > 0) up to the `}` that ends it.
    fn parts(&mut self, depth: usize) -> Result<Template, Failure> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        while let Some(&c) = self.chars.get(self.at) {
            if self.is_next("$${") {
                plain.push_str("${");
                self.at += 3;
            } else if self.is_next("${") {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(self.name(depth)?);
            } else if c == '}' && depth > 0 {
                break;
            } else {
                plain.push(c);
                self.at += 1;
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    fn name(&mut self, depth: usize) -> Result<Part, Failure> {
        let start = self.at;
        let failure = |length: usize, message: &str| Failure {
            start,
            length,
            message: message.to_owned(),
            help: Some("write `$${` where `${` is meant literally".to_owned()),
        };
        if depth >= MOST_DEPTH {
            return Err(failure(2, &format!("defaults in defaults, more than {MOST_DEPTH} deep")));
        }
        self.at += 2;
        let mut name = String::new();
        let default = loop {
            match self.chars.get(self.at) {
                Some('}') => break None,
                Some(_) if self.is_next(":-") => {
                    self.at += 2;
                    break Some(self.parts(depth + 1)?);
                }
                Some(&c) if c != '$' && c != '{' => {
                    name.push(c);
                    self.at += 1;
                }
                _ => return Err(failure(2, "`${` without its `}`")),
            }
        };
        if self.chars.get(self.at) != Some(&'}') {
            return Err(failure(2, "`${` without its `}`"));
        }
        self.at += 1;
        let length = self.at - start;
        if name.trim().is_empty() || name.trim() != name {
            return Err(failure(length, &format!("`${{{name}}}` names nothing that could be substituted")));
        }
        Ok(Part::Name { name, default, start, length })
    }
}
