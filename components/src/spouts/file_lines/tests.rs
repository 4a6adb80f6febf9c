use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use galerna_topology_api::{Error, Next};
use galerna_worker::testing::SpoutHarness;
use tokio::time::advance;

use super::FileLines;
use crate::harness::{spout, spout_task, texts};

fn properties(path: &Path, more: &str) -> String {
    format!("{{path: '{}', {more}}}", path.display())
}

pub(super) async fn open(path: &Path, more: &str) -> SpoutHarness {
    spout::<FileLines>(&properties(path, more)).await
}

async fn lines_of_task(path: &Path, task: u32, tasks: u32) -> Vec<String> {
    let test = spout_task::<FileLines>(&properties(path, ""), task, tasks).await.unwrap();
    let rows = test.complete().await.unwrap();
    rows.into_iter().map(|row| row[0].to_string()).collect()
}

pub(super) fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What reading `text` to its end fails with, and the lines before.
async fn failure(text: &[u8], more: &str) -> (Error, Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, text).unwrap();
    let mut test = open(&path, more).await;
    let error = test.exhaust().await.unwrap_err();
    (error, texts(&test).into_iter().map(str::to_owned).collect(), path.display().to_string())
}

#[tokio::test(start_paused = true)]
async fn every_line_comes_once_without_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, "one\r\n\n  zwölf \u{2028}x\nlast").unwrap();
    assert_eq!(lines_of_task(&path, 0, 2).await, ["one", "", "  zwölf \u{2028}x", "last"]);
    assert!(lines_of_task(&path, 1, 2).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_ends_at_once() {
    assert!(lines_of_task(Path::new("/dev/null"), 0, 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_file_is_a_fatal_error_that_names_it() {
    let error = spout_task::<FileLines>("{path: /no/such/file}", 0, 1).await.err().unwrap();
    assert!(error.is_fatal());
    assert_eq!(error.to_string(), "cannot read /no/such/file: No such file or directory (os error 2)");
    let error = spout_task::<FileLines>("{path: '/no/such/*'}", 0, 1).await.err().unwrap();
    assert_eq!(error.to_string(), "no file matches /no/such/*");
}

#[tokio::test(start_paused = true)]
async fn a_binary_file_is_one_error_that_names_the_byte_after_the_lines_before_it() {
    let (error, lines, path) = failure(b"fine\nbad \xff\xfe\n", "").await;
    assert!(error.is_fatal());
    let remedy = "`on_bad_line: skip` would leave the line out, `lossy` would replace such bytes";
    assert_eq!(error.to_string(), format!("byte 9 of {path} is not UTF-8 text; {remedy}"));
    assert_eq!(lines, ["fine"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_beyond_the_limit_is_one_error_that_names_its_byte() {
    let (error, lines, path) = failure(b"fine\n0123456789\n", "max_line: 8").await;
    let what = format!("the line at byte 5 of {path} is longer than 8 bytes (`max_line`)");
    assert_eq!(error.to_string(), format!("{what}; `on_bad_line: skip` would leave the line out"));
    assert_eq!(lines, ["fine"]);
}

#[tokio::test(start_paused = true)]
async fn lossy_replaces_and_counts_what_is_not_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, b"a\xffb\nfine\n").unwrap();
    for lossy in ["encoding: lossy", "on_bad_line: lossy"] {
        let mut test = open(&path, lossy).await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test), ["a\u{fffd}b", "fine"]);
        assert_eq!(test.context().counter("lines_replaced").value(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn skip_leaves_out_and_counts_bad_lines_and_lists_the_first_of_each_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), b"1\n\xff\n2\nvery very long\n\xff\n3").unwrap();
    fs::write(folder.path().join("b"), b"\xff").unwrap();
    fs::write(folder.path().join("c"), b"4\n").unwrap();
    let mut test = open(folder.path(), "on_bad_line: skip, max_line: 8").await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["1", "2", "3", "4"]);
    assert_eq!(test.context().counter("lines_refused").value(), 4);
    let told = "is not UTF-8 text; the line is left out, and further ones of this source are only counted";
    let errors = [("a", 2), ("b", 0)]
        .map(|(name, byte)| format!("byte {byte} of {} {told}", folder.path().join(name).display()));
    assert_eq!(test.reported(), errors);
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_no_part_of_the_first_line_even_if_a_run_resumes_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let position = format!("position: '{}'", folder.path().join("position").display());
    fs::write(&path, "\u{feff}id,name\n\u{feff}1,a\n").unwrap();
    for _ in 0..2 {
        let mut test = open(&path, &position).await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test), ["id,name", "\u{feff}1,a"]);
        test.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn utf_16_is_an_error_that_names_it_and_skip_leaves_the_file_out() {
    let bytes = b"\xff\xfea\0\n\0b\0\n\0";
    let (error, lines, path) = failure(bytes, "on_bad_line: lossy").await;
    let what = format!("{path} is UTF-16 text by its byte order mark; only UTF-8 can be read");
    assert_eq!((error.to_string(), lines.len()), (what, 0));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), bytes).unwrap();
    fs::write(folder.path().join("b"), "fine").unwrap();
    let mut test = open(folder.path(), "on_bad_line: skip").await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["fine"]);
    assert_eq!(test.reported().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_line_comes_again_and_the_input_ends_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, "one\ntwo\n").unwrap();
    let mut test = open(&path, "retries: {limit: 1, backoff: 1s}").await;
    test.exhaust().await.unwrap();
    test.ack(0).await;
    test.fail(1).await;
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["one", "two", "two"]);
}

#[tokio::test(start_paused = true)]
async fn the_files_of_a_pattern_and_of_a_folder_are_dealt_to_the_tasks() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.log", "b.log", "c.log", "d.log", "e.log"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    fs::create_dir(folder.path().join("dir.log")).unwrap();
    append(&folder.path().join(".hidden"), "no");
    append(&folder.path().join("f.log.tmp"), "no");
    for path in [folder.path().to_owned(), folder.path().join("*.log")] {
        let mut lines = Vec::new();
        for task in 0..3 {
            let of_task = lines_of_task(&path, task, 3).await;
            assert!(of_task.is_sorted());
            lines.extend(of_task);
        }
        lines.sort();
        assert_eq!(lines, ["a.log", "b.log", "c.log", "d.log", "e.log"]);
    }
}

#[tokio::test(start_paused = true)]
async fn following_sees_lines_only_when_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "one\ntw");
    let mut test = open(&path, "follow: true").await;
    test.run_until(1).await.unwrap();
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    append(&path, "o\n");
    test.run_until(2).await.unwrap();
    assert_eq!(texts(&test), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn following_survives_rotation_by_renaming_and_by_cutting_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "one\n");
    let mut test = open(&path, "follow: true").await;
    test.run_until(1).await.unwrap();
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    append(&folder.path().join("log.1"), "late\nunended");
    assert_eq!(test.next().await.unwrap().next, Next::Emitted);
    append(&path, "two\n");
    test.run_until(4).await.unwrap();
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    append(&path, "3\n");
    test.run_until(5).await.unwrap();
    assert_eq!(texts(&test), ["one", "late", "unended", "two", "3"]);
}

#[tokio::test(start_paused = true)]
async fn following_waits_for_a_file_that_is_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut test = open(&path, "follow: true").await;
    assert_eq!(test.reported(), [format!("{} does not exist; waiting for it", path.display())]);
    append(&path, "one\n");
    test.run_until(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn following_a_pattern_does_not_read_a_renamed_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "one\n");
    let mut test = open(&folder.path().join("log*"), "follow: true").await;
    test.run_until(1).await.unwrap();
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    append(&path, "two\n");
    append(&folder.path().join("log.2"), "three\n");
    test.run_until(3).await.unwrap();
    for _ in 0..3 {
        test.ready().await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    }
    let mut lines = texts(&test);
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
}

#[tokio::test(start_paused = true)]
async fn files_moved_into_a_followed_folder_are_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let mut test = open(&inbox, "follow: true").await;
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    for (count, name) in ["b", "a"].into_iter().enumerate() {
        append(&folder.path().join(name), name);
        fs::rename(folder.path().join(name), inbox.join(name)).unwrap();
        test.run_until(count + 1).await.unwrap();
    }
    test.ready().await;
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    assert_eq!(texts(&test), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_resumes_at_the_first_line_that_was_not_acked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let position = format!("position: '{}'", folder.path().join("position").display());
    append(&path, "one\ntwo\nthree\nfour\n");
    let mut first = open(&path, &position).await;
    first.exhaust().await.unwrap();
    for line in [3, 0, 2] {
        first.ack(line).await;
    }
    first.close().await.unwrap();
    let mut second = open(&path, &position).await;
    second.exhaust().await.unwrap();
    assert_eq!(texts(&second), ["two", "three", "four"]);
    for line in 0..3 {
        second.ack(line).await;
    }
    advance(Duration::from_secs(1)).await;
    assert_eq!(second.next().await.unwrap().outcome(), (Next::Exhausted, 0));
    drop(second);
    append(&path, "five\n");
    let mut third = open(&path, &position).await;
    third.exhaust().await.unwrap();
    assert_eq!(texts(&third), ["five"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_file_of_that_name_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let position = format!("position: '{}'", folder.path().join("position").display());
    append(&path, "one\n");
    open(&path, &position).await.complete().await.unwrap();
    append(&folder.path().join("new"), "two\nthree\n");
    fs::rename(folder.path().join("new"), &path).unwrap();
    let mut test = open(&path, &position).await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_holds_when_a_file_was_rotated_while_nobody_looked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let pattern = folder.path().join("log*");
    let position = format!("position: '{}'", folder.path().join("position").display());
    append(&path, "one\n");
    open(&pattern, &position).await.complete().await.unwrap();
    append(&path, "two\n");
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    append(&path, "three\n");
    let mut test = open(&pattern, &position).await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["three", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_pipe_is_refused_rather_than_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut test = open(&path, "").await;
    let error = test.next().await.unwrap_err();
    assert!(error.to_string().contains("it is not a file; use stdin-lines"), "{error}");
}
