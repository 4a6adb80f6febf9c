//! Files that are made to hurt are refused, and soon.

use crate::components::{error, registry};
use galerna_flux::Flux;

fn refusal(text: &str) -> String {
    error(text).diagnostics[0].message.clone()
}

#[test]
fn alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(refusal(&text), "more than 100000 values once aliases are expanded");
}

#[test]
fn long_text_named_often_is_refused() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 1000].join(", "));
    assert_eq!(refusal(&text), "more than 16777216 bytes of text once aliases are expanded");
}

#[test]
fn merge_bomb_is_refused() {
    let mut text = "a0: &a0 {".to_owned();
    text.push_str(&(0..1000).map(|n| format!("k{n}: 1, ")).collect::<String>());
    text.push_str("}\nb:\n");
    for n in 0..1000 {
        text.push_str(&format!("  - {{<<: [*a0, *a0], z: {n}}}\n"));
    }
    assert!(refusal(&text).contains("once aliases are expanded"));
}

#[test]
fn alias_inside_of_what_it_names_is_refused() {
    assert_eq!(refusal("a: &a [*a]\n"), "this alias stands inside of what it names");
}

#[test]
fn deep_nesting_is_refused() {
    assert_eq!(refusal(&"[".repeat(1_000_000)), "nested more than 64 deep");
    assert_eq!(refusal(&"- ".repeat(100_000)), "nested more than 64 deep");
    assert_eq!(
        refusal(&format!("a: &a {}{}\nb: {}*a{}", "[".repeat(40), "]".repeat(40), "[".repeat(40), "]".repeat(40))),
        "nested more than 64 deep"
    );
}

#[test]
fn huge_text_is_refused() {
    assert_eq!(refusal(&"#".repeat(5 << 20)), "the file has 5242880 bytes, more than 4194304");
    let error = Flux::read("/dev/zero").build(&registry()).unwrap_err();
    assert!(error.diagnostics[0].message.contains("more than 4194304 bytes"), "{error}");
}

#[test]
fn substitutions_cannot_grow_without_end() {
    let text = format!("name: \"{}\"\n", "${a}".repeat(1000));
    let error = Flux::parse(text).set("a", "x".repeat(100_000)).build(&registry()).unwrap_err();
    assert_eq!(error.diagnostics[0].message, "substitutions make the file too large");
    let error = crate::components::error(&format!("name: \"{}\"\n", "${a:-".repeat(1000)));
    assert!(error.to_string().contains("defaults in defaults"), "{error}");
}

#[test]
fn thousands_of_problems_are_counted_not_told() {
    let text: String = (0..20_000).map(|n| format!("wrong{n}: 1\n")).collect();
    let error = error(&text);
    assert_eq!(error.diagnostics.len(), 201);
    assert!(error.diagnostics[200].message.ends_with("more problems are not shown"), "{error}");
}
