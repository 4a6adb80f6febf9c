//! What a scalar means: YAML 1.2's core schema.

use std::sync::Arc;

use crate::problems::shown;

/// A scalar as it stands in the file, substitutions done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    /// Whether it was written without quotes, so that `5` is a number.
    pub(crate) is_plain: bool,
    /// Whether it came about by substitution, so that it is text or not as its place asks for.
    pub(crate) is_open: bool,
}

/// What a scalar without quotes means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Meaning {
    Null,
    Bool(bool),
    /// An integer; the widest kind, so that what does not fit can be told.
    Int(i128),
    Float(f64),
    Text,
}

impl Scalar {
    pub(crate) fn plain(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), is_plain: true, is_open: false }
    }

    /// What it means where its place does not say what it wants.
    pub(crate) fn meaning(&self) -> Meaning {
        if self.is_plain { meaning_of(&self.text) } else { Meaning::Text }
    }

    /// What it means where its place wants something other than text.
    pub(crate) fn wanted_meaning(&self) -> Meaning {
        if self.is_plain || self.is_open { meaning_of(&self.text) } else { Meaning::Text }
    }

    /// Its text, where its place wants text and it may be that.
    pub(crate) fn as_text(&self) -> Option<&str> {
        (self.is_open || self.meaning() == Meaning::Text).then_some(&self.text)
    }

    /// Whether it means that there is nothing, where that is possible.
    pub(crate) fn is_null(&self) -> bool {
        self.meaning() == Meaning::Null || (self.is_open && self.text.is_empty())
    }

    /// As messages name it.
    pub(crate) fn found(&self) -> String {
        let text = shown(&self.text);
        match self.meaning() {
            Meaning::Null => "null".to_owned(),
            Meaning::Bool(_) => format!("the boolean `{text}`"),
            Meaning::Int(_) => format!("the integer `{text}`"),
            Meaning::Float(_) => format!("the number `{text}`"),
            Meaning::Text => format!("the string `{text}`"),
        }
    }
}

/// Whether YAML 1.1, and so Storm, took this for a boolean.
pub(crate) fn is_old_boolean(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n")
}

/// Reads a scalar without quotes.
pub(crate) fn meaning_of(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        _ => number(text).unwrap_or(Meaning::Text),
    }
}

fn number(text: &str) -> Option<Meaning> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |digits: &str, radix| i128::from_str_radix(digits, radix).ok().map(Meaning::Int);
    if let Some(digits) = text.strip_prefix("0x").filter(|digits| !digits.starts_with(['+', '-'])) {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| !digits.starts_with(['+', '-'])) {
        return radix(digits, 8);
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(Meaning::Float(f64::NEG_INFINITY)),
        ".inf" | ".Inf" | ".INF" => return Some(Meaning::Float(f64::INFINITY)),
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return Some(Meaning::Float(f64::NAN)),
        _ => {}
    }
    // Rust's own parser also takes `inf` and `NaN`, which are text here.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or_else(|_| Meaning::Float(text.parse().unwrap_or(f64::MAX)), Meaning::Int));
    }
    let is_float =
        unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    is_float.then(|| text.parse().ok().map(Meaning::Float)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_2_says() {
        let table = [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("true", Meaning::Bool(true)),
            ("yes", Meaning::Text),
            ("5", Meaning::Int(5)),
            ("-5", Meaning::Int(-5)),
            ("+5", Meaning::Int(5)),
            ("0x1F", Meaning::Int(31)),
            ("0o17", Meaning::Int(15)),
            ("007", Meaning::Int(7)),
            ("1.5", Meaning::Float(1.5)),
            (".5", Meaning::Float(0.5)),
            ("1e3", Meaning::Float(1000.0)),
            ("-.inf", Meaning::Float(f64::NEG_INFINITY)),
            ("inf", Meaning::Text),
            ("1.2.3", Meaning::Text),
            ("5s", Meaning::Text),
            ("0x", Meaning::Text),
            (".", Meaning::Text),
            ("12:30", Meaning::Text),
        ];
        for (text, meaning) in table {
            assert_eq!(meaning_of(text), meaning, "{text}");
        }
    }
}
