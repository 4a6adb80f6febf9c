//! `${…}` in all its forms.

use crate::components::{probed, probed_with, read, registry, told};

fn given(properties: &str, sets: &[(&str, &str)]) -> String {
    match probed_with(properties, |flux| sets.iter().fold(flux, |flux, (name, value)| flux.set(*name, *value))) {
        Ok(given) => given,
        Err(error) => told(&error.diagnostics),
    }
}

#[test]
fn names_are_replaced_any_number_per_line_and_with_defaults() {
    let sets = [("a", "x"), ("b", "y")];
    assert_eq!(given("    properties: {text: \"${a}-${b}${a}\"}", &sets), "text: Some(\"x-yx\")");
    assert_eq!(given("    properties: {text: \"${c:-${b}!}\"}", &[("b", "y")]), "text: Some(\"y!\")");
    assert_eq!(given("    properties: {text: \"${c:-${d:-deep}}\"}", &[]), "text: Some(\"deep\")");
    assert_eq!(given("    properties: {text: \"${c:-}\"}", &[]), "");
    assert_eq!(given("    properties: {text: \"$${a} $a $$ {}\"}", &[]), "text: Some(\"${a} $a $$ {}\")");
    assert_eq!(given("    # ${nothing}\n    properties:\n      text: ${topology.dir}/f", &[]), "text: Some(\"./f\")");
    assert!(given("    properties: {text: \"${ENV-PATH}\"}", &[]).contains('/'));
}

#[test]
fn whole_scalar_takes_the_type_that_its_place_asks_for() {
    let all = "    properties: {text: \"${n}\", count: \"${n}\", ratio: \"${n}\", words: [\"${n}\"]}";
    assert_eq!(given(all, &[("n", "7")]), "text: Some(\"7\"), count: Some(7), ratio: Some(7.0), words: [\"7\"]");
    assert_eq!(
        given("    properties:\n      text: ${n}\n      isOn: ${b}", &[("n", "7"), ("b", "true")]),
        "text: Some(\"7\"), is_on: Some(true)"
    );
    assert_eq!(
        given("    parallelism: ${n}\n    config: {topology.debug: \"${b}\"}", &[("n", "2"), ("b", "false")]),
        ""
    );
}

#[test]
fn value_cannot_inject_yaml() {
    let value = "x, count: 5} # \n${b}";
    assert_eq!(given("    properties: {text: \"${a}\"}", &[("a", value)]), format!("text: Some({value:?})"));
}

#[test]
fn names_without_value_and_values_without_use_are_told_with_the_nearest() {
    insta::assert_snapshot!(given("    properties: {text: \"a ${inptu} b\", words: [\"${ENV-NO_SUCH_VARIABLE}\"]}", &[("input", "x")]), @r#"
7:27: `${inptu}` has no value; did you mean `input`?
  give it a value by `--set inptu=...`, or a default as in `${inptu:-value}`
7:49: the environment has no `NO_SUCH_VARIABLE`
  set it, or give it a default as in `${ENV-NO_SUCH_VARIABLE:-value}`
1:1: no file refers to `${input}`; did you mean `inptu`?
"#);
    insta::assert_snapshot!(given("    properties: {text: \"${a\"}", &[]), @r#"
7:25: `${` without its `}`
  write `$${` where `${` is meant literally
"#);
    insta::assert_snapshot!(given("    properties: {text: \"${}\"}", &[]), @r#"
7:25: `${}` names nothing that could be substituted
  write `$${` where `${` is meant literally
"#);
    insta::assert_snapshot!(given("    properties: {count: \"${n}\"}", &[("n", "many")]), @r#"7:25: `count` is the string `many`, expected a whole number from 0 to 65535"#);
}

#[test]
fn undefined_name_is_underlined_and_causes_no_other_message() {
    let error = probed("    properties: {count: \"${n}\"}").unwrap_err();
    insta::assert_snapshot!(error, @r#"
error: `${n}` has no value
 --> topology.yaml:7:26
  |
7 |     properties: {count: "${n}"}
  |                          ^^^^
  = help: give it a value by `--set n=...`, or a default as in `${n:-value}`

1 error
"#);
}

#[test]
fn properties_files_give_values_and_may_hold_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dev.properties");
    std::fs::write(&file, "# development\nwords.file = a.txt\nother=1\n").unwrap();
    let text = "    properties: {text: \"${words.file}\"}";
    assert_eq!(probed_with(text, |flux| flux.properties(&file)).unwrap(), "text: Some(\"a.txt\")");
    assert_eq!(probed_with(text, |flux| flux.properties(&file).set("words.file", "b")).unwrap(), "text: Some(\"b\")");
    std::fs::write(&file, "a=1\nb=\\u12\n").unwrap();
    let error = read("name: ${a}").properties(&file).build(&registry()).unwrap_err();
    let place = |found: &galerna_flux::Diagnostic| (found.file.ends_with("dev.properties"), found.line);
    assert!(error.diagnostics.iter().any(|found| place(found) == (true, 2)), "{error}");
    assert!(!error.to_string().contains("has no value"), "{error}");
}
