//! Files that are cut off, grow again, or are replaced by others with the same inode.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use galerna_topology_api::Next;

use super::tests::{append, open};
use crate::harness::texts;

/// Cuts a file off and writes it again, under its inode, as logrotate's `copytruncate` and its log do.
fn rewrite(path: &Path, text: &str) {
    OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn lines(prefix: &str, count: usize) -> String {
    (1..=count).map(|number| format!("{prefix}-{number}\n")).collect()
}

/// A position file in this folder.
fn position_in(folder: &Path) -> String {
    format!("position: '{}'", folder.join("position").display())
}

fn rewritten(path: &Path, byte: usize) -> String {
    format!("{} was rewritten: what stood before byte {byte} has changed; reading it from its start", path.display())
}

#[tokio::test(start_paused = true)]
async fn a_followed_file_that_was_cut_off_and_has_grown_beyond_its_length_is_read_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, &lines("old", 3));
    let mut test = open(&path, "follow: true").await;
    test.run_until(3).await.unwrap();
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    rewrite(&path, &lines("new", 1000));
    test.run_until(1003).await.unwrap();
    append(&path, "last\n");
    test.run_until(1004).await.unwrap();
    let mut expected = lines("old", 3) + &lines("new", 1000);
    expected.push_str("last");
    assert_eq!(texts(&test).join("\n"), expected);
    assert_eq!(test.reported(), [rewritten(&path, 18)]);
}

#[tokio::test(start_paused = true)]
async fn an_equal_beginning_and_an_equal_length_do_not_hide_that_a_file_was_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let header = "#".repeat(2000) + "\n";
    append(&path, &format!("{header}old\n"));
    let mut test = open(&path, "follow: true").await;
    test.run_until(2).await.unwrap();
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    rewrite(&path, &format!("{header}new\n"));
    test.run_until(4).await.unwrap();
    assert_eq!(texts(&test)[3], "new");
    assert_eq!(test.reported(), [rewritten(&path, 2005)]);
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_reads_a_file_again_that_is_rewritten_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, &lines("old", 100_000));
    let mut test = open(&path, "").await;
    test.next().await.unwrap();
    rewrite(&path, &lines("new", 200_000));
    test.exhaust().await.unwrap();
    let read = texts(&test);
    let first_new = read.iter().position(|line| line.starts_with("new")).unwrap();
    assert!(read[..first_new].iter().all(|line| line.starts_with("old-")));
    assert_eq!(read[first_new..].join("\n") + "\n", lines("new", 200_000));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_does_not_append_goes_on_behind_zeros_which_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = std::fs::File::create(&path).unwrap();
    writer.write_all(lines("old", 100_000).as_bytes()).unwrap();
    let mut test = open(&path, "follow: true, max_line: 1KiB").await;
    test.run_until(100_000).await.unwrap();
    writer.write_all(b"lost\n").unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    writer.write_all(lines("new", 10).as_bytes()).unwrap();
    test.run_until(100_010).await.unwrap();
    assert_eq!(texts(&test)[100_000..].join("\n") + "\n", lines("new", 10));
    assert_eq!(test.reported().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_torn_line_that_its_writer_takes_back_costs_no_other_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "one\ntorn");
    let mut test = open(&path, "follow: true").await;
    test.run_until(1).await.unwrap();
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(4).unwrap();
    append(&path, "two\nthree\n");
    test.run_until(3).await.unwrap();
    append(&path, "torn again");
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(14).unwrap();
    test.ready().await;
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    append(&path, "four\n");
    test.run_until(4).await.unwrap();
    assert_eq!(texts(&test), ["one", "two", "three", "four"]);
    assert!(test.reported().is_empty(), "{:?}", test.reported());
}

#[tokio::test(start_paused = true)]
async fn a_position_is_not_used_for_a_file_that_was_rewritten_between_two_runs() {
    for old in [1, 3, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let position = position_in(folder.path());
        append(&path, &lines("old", old));
        open(&path, &position).await.complete().await.unwrap();
        rewrite(&path, &lines("new", 2000));
        let mut test = open(&path, &position).await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test).join("\n") + "\n", lines("new", 2000));
        assert_eq!(test.reported(), [rewritten(&path, lines("old", old).len())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_used_again_after_lines_were_added() {
    for old in [1, 3, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let position = position_in(folder.path());
        append(&path, &lines("old", old));
        for round in 0..3 {
            let mut test = open(&path, &position).await;
            test.exhaust().await.unwrap();
            assert_eq!(texts(&test).len(), if round == 0 { old } else { 1 });
            for line in 0..texts(&test).len() {
                test.ack(line).await;
            }
            test.close().await.unwrap();
            append(&path, "new\n");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_file_of_an_earlier_version_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let position = position_in(folder.path());
    append(&path, "one\ntwo\n");
    open(&path, &position).await.complete().await.unwrap();
    let written = fs::read(folder.path().join("position")).unwrap();
    let mut entries: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&written).unwrap();
    assert!(entries[0].remove("content").is_some());
    fs::write(folder.path().join("position"), serde_json::to_vec(&entries).unwrap()).unwrap();
    append(&path, "three\n");
    let mut test = open(&path, &position).await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["three"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_holds_when_the_file_system_has_another_device_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let position = position_in(folder.path());
    append(&path, "one\ntwo\n");
    open(&path, &position).await.complete().await.unwrap();
    let written = fs::read(folder.path().join("position")).unwrap();
    let mut entries: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&written).unwrap();
    entries[0].insert("device".to_owned(), 123_456_789.into());
    fs::write(folder.path().join("position"), serde_json::to_vec(&entries).unwrap()).unwrap();
    append(&path, "three\n");
    let mut test = open(&path, &position).await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["three"]);
}
