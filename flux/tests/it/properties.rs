//! What holds for every file.

use galerna_flux::Flux;
use proptest::prelude::*;

use crate::components::registry;

const GOOD: &str = include_str!("good.yaml");

/// Every message of whatever goes wrong, rendered as well.
fn read(text: &str) -> Vec<(usize, usize, String)> {
    match Flux::parse(text).set("input", "a").load(&registry()) {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.diagnostics.into_iter().map(|found| (found.line, found.column, found.message)).collect()
        }
    }
}

/// Changes that people and machines make: bytes, lines, pieces of syntax.
fn mutated(text: &str, edits: &[(usize, u8, usize)]) -> String {
    const PIECES: [&str; 24] = [
        "", "\n", " ", "\t", ": ", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "${", "}", "$${", "\"", "'", "|\n",
        "!!str ", "# ", "---\n", "é", "\u{0}",
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for (at, kind, length) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length).min(chars.len());
        match kind % 4 {
            0 => drop(chars.drain(at..end)),
            1 => {
                let copy: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, copy);
            }
            _ => drop(chars.splice(at..at, PIECES[*length % PIECES.len()].chars())),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn good_file_is_good() {
    assert_eq!(read(GOOD), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_file_never_panics(edits in prop::collection::vec((any::<usize>(), any::<u8>(), 0..40usize), 1..6)) {
        read(&mutated(GOOD, &edits));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC*", lines in "([-:{}\\[\\]&*!|>'\"%@`a ,?#$\n\t]|\\$\\{a)*") {
        read(&text);
        read(&lines);
        Flux::parse(format!("name: {text}")).config(text, lines).load(&registry()).ok();
    }

    #[test]
    fn substitution_moves_no_position(value in "\\PC{0,40}") {
        let text = |name: &str| format!(
            "name: {name}\nspouts: [{{id: a, className: lines, properties: {{path: \"{name} {name}\", wrong: 1}}}}]\nbolts: 5\n"
        );
        let places = |text: String| {
            let error = Flux::parse(text).set("x", value.as_str()).build(&registry()).unwrap_err();
            error.diagnostics.iter().map(|found| (found.line, found.column)).collect::<Vec<_>>()
        };
        let substituted = places(text("${x}"));
        prop_assert!(substituted.contains(&(2, 68)) && substituted.contains(&(3, 8)), "{:?}", substituted);
    }
}
