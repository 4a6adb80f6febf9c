//! Files that include others.

use std::path::Path;

use galerna_flux::{Flux, Loaded};
use tempfile::TempDir;

use crate::components::{registry, told};

const MAIN: &str = "\
name: main
config: {topology.workers: 2}
includes:
  - file: parts/bolts.yaml
spouts:
  - {id: lines, className: lines, properties: {path: a}}
streams:
  - {from: lines, to: print, grouping: {type: SHUFFLE}}
";

const BOLTS: &str = "\
name: included
config: {topology.workers: 3, mine: 1}
includes: [{file: more.yaml, resource: false}]
bolts:
  - {id: print, className: print}
";

const MORE: &str = "\
bolts:
  - {id: split, className: split, properties: {field: \"${field:-line}\"}}
streams:
  - {from: lines, to: split, grouping: {type: SHUFFLE}}
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &Path) -> Result<Loaded, String> {
    let loaded = Flux::read(folder.join("main.yaml")).load(&registry());
    loaded.map_err(|error| error.to_string().replace(&*folder.to_string_lossy(), "DIR"))
}

#[test]
fn includes_are_merged_recursively_and_the_including_file_wins() {
    let folder = folder(&[("main.yaml", MAIN), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", MORE)]);
    let loaded = load(folder.path()).unwrap();
    let ids: Vec<_> = loaded.topology.components().iter().map(|component| component.id.as_str()).collect();
    assert_eq!((loaded.topology.name(), ids), ("main", vec!["lines", "print", "split"]));
    assert_eq!((loaded.topology.config().workers(), loaded.topology.config().get("mine").is_some()), (2, true));
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn override_lets_the_included_file_win() {
    let main = MAIN.replace("bolts.yaml", "bolts.yaml\n    override: true");
    let folder = folder(&[("main.yaml", &main), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", MORE)]);
    let loaded = load(folder.path()).unwrap();
    assert_eq!((loaded.topology.name(), loaded.topology.config().workers()), ("included", 3));
}

#[test]
fn what_both_define_is_warned_of() {
    let more = MORE.replace("streams:", "  - {id: print, className: print}\nstreams:");
    let folder = folder(&[("main.yaml", MAIN), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", &more)]);
    let warnings = told(&load(folder.path()).unwrap().warnings).replace(&*folder.path().to_string_lossy(), "DIR");
    insta::assert_snapshot!(warnings, @r#"3:10: `print` has no effect: it is defined at DIR/parts/bolts.yaml:5:10; say `override: true` at the include to prefer this one"#);
}

#[test]
fn problems_in_included_files_are_told_at_their_place() {
    let more = MORE.replace("field:", "fild:");
    let folder = folder(&[("main.yaml", MAIN), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", &more)]);
    insta::assert_snapshot!(load(folder.path()).unwrap_err(), @r#"
error: unknown property `fild`; did you mean `field`?
 --> DIR/parts/more.yaml:2:48
  |
2 |   - {id: split, className: split, properties: {fild: "${fild:-line}"}}
  |                                                ^^^^

1 error
"#);
}

#[test]
fn file_that_includes_itself_is_refused_with_the_path() {
    let more = format!("includes: [{{file: ../main.yaml}}]\n{MORE}");
    let folder = folder(&[("main.yaml", MAIN), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", &more)]);
    insta::assert_snapshot!(load(folder.path()).unwrap_err(), @r#"
error: `../main.yaml` includes itself: main.yaml -> bolts.yaml -> more.yaml -> main.yaml
 --> DIR/parts/more.yaml:1:19
  |
1 | includes: [{file: ../main.yaml}]
  |                   ^^^^^^^^^^^^

1 error
"#);
}

#[test]
fn missing_include_is_told_and_nothing_that_follows_from_it() {
    let folder = folder(&[("main.yaml", MAIN)]);
    insta::assert_snapshot!(load(folder.path()).unwrap_err(), @r#"
error: cannot include `DIR/parts/bolts.yaml`: No such file or directory (os error 2)
 --> DIR/main.yaml:4:11
  |
4 |   - file: parts/bolts.yaml
  |           ^^^^^^^^^^^^^^^^

1 error
"#);
}

/// What `warnings` say, without the name of the folder.
fn warnings(loaded: &Loaded, folder: &TempDir) -> String {
    told(&loaded.warnings).replace(&*folder.path().to_string_lossy(), "DIR")
}

/// The inputs of all bolts.
fn inputs(loaded: &Loaded) -> Vec<String> {
    let components = loaded.topology.components().iter();
    components.flat_map(|to| to.inputs.iter().map(|input| format!("{} -> {}", input.from, to.id))).collect()
}

#[test]
fn file_included_by_two_files_counts_once_and_without_a_warning() {
    let base = "\
bolts: [{id: print, className: print}]
workerHooks: [{className: hook}]
streams: [{from: lines, to: print, grouping: {type: SHUFFLE}}]
";
    let main = MAIN.split("streams:").next().unwrap().replace(
        "  - file: parts/bolts.yaml\n",
        "  - file: parts/left.yaml\n  - file: parts/right.yaml\n  - {file: ./parts/base.yaml, override: true}\n",
    );
    let left = "includes: [{file: base.yaml}]\nconfig: {left: 1}\n";
    let right = "includes: [{file: ../parts/base.yaml}]\nconfig: {right: 1}\n";
    let files =
        [("main.yaml", &*main), ("parts/left.yaml", left), ("parts/right.yaml", right), ("parts/base.yaml", base)];
    let folder = folder(&files);
    let loaded = load(folder.path()).unwrap();
    assert_eq!((warnings(&loaded, &folder), inputs(&loaded)), (String::new(), vec!["lines -> print".to_owned()]));
    assert_eq!((loaded.topology.worker_hooks().len(), loaded.files.len()), (1, 4));
    assert_eq!(loaded.definition.matches("from:").count(), 1, "{}", loaded.definition);
}

#[test]
fn bolt_of_one_of_two_files_that_include_a_third_is_warned_of_at_its_place() {
    let left = "includes: [{file: base.yaml}]\nbolts: [{id: print, className: print}]\n";
    let base = "bolts: [{id: print, className: print}]\n";
    let main = MAIN.replace("- file: parts/bolts.yaml\n", "- file: parts/left.yaml\n  - file: parts/base.yaml\n");
    let folder = folder(&[("main.yaml", &*main), ("parts/left.yaml", left), ("parts/base.yaml", base)]);
    let loaded = load(folder.path()).unwrap();
    insta::assert_snapshot!(warnings(&loaded, &folder), @"1:14: `print` has no effect: it is defined at DIR/parts/left.yaml:2:14; say `override: true` at the include to prefer this one");
}

#[test]
fn stream_given_again_by_an_included_file_counts_once_with_a_warning() {
    let more = MORE.replace("to: split", "to: print");
    let folder = folder(&[("main.yaml", MAIN), ("parts/bolts.yaml", BOLTS), ("parts/more.yaml", &more)]);
    let failed = load(folder.path()).unwrap_err();
    assert!(failed.contains("bolt `split` has no input"), "{failed}");
    let both = format!("{more}  - {{from: lines, to: split, grouping: {{type: SHUFFLE}}}}\n");
    std::fs::write(folder.path().join("parts/more.yaml"), both).unwrap();
    let loaded = load(folder.path()).unwrap();
    assert_eq!(inputs(&loaded), ["lines -> print", "lines -> split"]);
    insta::assert_snapshot!(warnings(&loaded, &folder), @"4:5: `print` receives `lines` already, by the same grouping (DIR/main.yaml:8:5); this stream has no effect");
}
