//! Text of unknown origin, made fit for terminals and reports.

use std::fmt::Write;

/// The first `most` characters of a text, without characters that act on a terminal: control characters other than
/// line breaks, and those that change the direction of text, are escaped as in Rust (`\u{1b}`). `…` stands for the
/// rest.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * most));
    for (number, character) in text.chars().enumerate() {
        if number == most {
            shown.push('…');
            break;
        }
        let is_direction = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_direction || (character.is_control() && character != '\n') {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminal_sequences_are_escaped_and_long_texts_cut() {
        assert_eq!(printable("a\u{1b}[2J\r\0\u{202e}b\nc", 100), "a\\u{1b}[2J\\r\\u{0}\\u{202e}b\nc");
        assert_eq!(printable("zwölf", 3), "zwö…");
        assert_eq!(printable("zwölf", 5), "zwölf");
    }
}
