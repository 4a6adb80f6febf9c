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
    insta::assert_snapshot!(told(&load(folder.path()).unwrap().warnings), @r#"3:10: `print` has no effect: the including file defines it; say `override: true` at the include to prefer this one"#);
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
