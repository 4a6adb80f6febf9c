//! The kind of an error: its message without values.

/// Characters of a message that its kind is taken from.
const LONGEST: usize = 300;

/// The message with a placeholder for each number and each quoted text: equal for errors that differ in values
/// alone. Numbers include hexadecimal ones, identifiers such as UUIDs, and numbers in words such as `row7`; text in
/// double or single quotes is a value, text in backticks is a name and stays.
pub(crate) fn kind_of(message: &str) -> String {
    let mut kind = String::new();
    let mut rest = message.char_indices().nth(LONGEST).map_or(message, |(end, _)| &message[..end]);
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' | '\'' => quoted(rest, first, kind.chars().last()),
            _ if first.is_alphanumeric() => word(rest),
            _ => None,
        };
        match len {
            Some(len) => {
                kind.push('#');
                rest = &rest[len..];
            }
            None => {
                let end = if first.is_alphanumeric() { word_end(rest) } else { first.len_utf8() };
                kind.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    kind
}

/// The length of a quoted text at the start. A quote behind a letter is an apostrophe.
fn quoted(text: &str, quote: char, before: Option<char>) -> Option<usize> {
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    text[1..].find(quote).map(|end| end + 2)
}

/// The length of a word at the start that is a value: it has a digit.
fn word(text: &str) -> Option<usize> {
    let mut end = word_end(text);
    if !text[..end].contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // Numbers with points, times, addresses, identifiers: `1.5`, `10:30:00`, `10.0.0.1:80`, `4f1c-88`.
    while let Some(joint) = text[end..].chars().next().filter(|c| matches!(c, '.' | ':' | '-' | '_' | ',')) {
        let next = &text[end + joint.len_utf8()..];
        let more = word_end(next);
        if more == 0 || !next[..more].contains(|c: char| c.is_ascii_digit()) {
            break;
        }
        end += joint.len_utf8() + more;
    }
    Some(end)
}

/// Where the letters and digits at the start end.
fn word_end(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_that_differ_in_values_have_one_kind() {
        for (message, kind) in [
            ("line 17 is bad", "line # is bad"),
            ("no such user \"anna\": it's gone", "no such user #: it's gone"),
            ("cannot parse 'a b' as integer", "cannot parse # as integer"),
            ("`store`: connection to 10.0.0.1:5432 refused", "`store`: connection to # refused"),
            ("id 4f1c9a02-88aa-41b1-9e5f-000000000001 is unknown", "id # is unknown"),
            ("took 1.5s, limit 2s", "took #, limit #"),
            ("panicked at src/main.rs:12:5: no", "panicked at src/main.rs:#: no"),
            ("an unclosed \"quote", "an unclosed \"quote"),
            ("", ""),
        ] {
            assert_eq!(kind_of(message), kind, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_message_has_a_kind(message in ".{0,400}") {
            let kind = kind_of(&message);
            prop_assert!(kind.len() <= message.len());
        }
    }
}
