//! Compressed files, and copies of files that were read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use galerna_topology_api::Next;
use galerna_worker::testing::SpoutHarness;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::time::advance;

use super::tests::{append, open};
use crate::harness::texts;

fn lines(prefix: &str, count: usize) -> String {
    (1..=count).map(|number| format!("{prefix}-{number}\n")).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

/// Polls until a look finds nothing more.
async fn idle(test: &mut SpoutHarness) {
    for _ in 0..3 {
        while test.next().await.unwrap().outcome() != (Next::Idle, 0) {}
        advance(Duration::from_millis(250)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_files_are_read_whatever_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (lines("one", 20_000), lines("two", 20_000));
    // Each format allows several parts in a row.
    fs::write(folder.path().join("a"), [gzip(&one), gzip(&two)].concat()).unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    fs::write(folder.path().join("b.gz"), [skippable, zstd(&one), zstd(""), zstd(&two)].concat()).unwrap();
    fs::write(folder.path().join("c.zst"), "plain\n").unwrap();
    let mut test = open(folder.path(), "").await;
    test.exhaust().await.unwrap();
    let expected = format!("{one}{two}{one}{two}plain");
    assert_eq!(texts(&test).join("\n"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_position_in_a_compressed_file_counts_what_it_decompresses_to() {
    for compress in [gzip, zstd] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let position = format!("position: '{}'", folder.path().join("position").display());
        fs::write(&path, compress(&lines("line", 20_000))).unwrap();
        let mut first = open(&path, &position).await;
        first.exhaust().await.unwrap();
        for line in 0..14_000 {
            first.ack(line).await;
        }
        first.close().await.unwrap();
        let mut second = open(&path, &position).await;
        second.exhaust().await.unwrap();
        assert_eq!((texts(&second).len(), texts(&second)[0]), (6000, "line-14001"));
    }
}

#[tokio::test(start_paused = true)]
async fn incomplete_damaged_and_unknown_compressed_files_are_errors_that_say_so() {
    let whole = [gzip(&lines("line", 10_000)), zstd(&lines("line", 10_000))];
    let half = whole.clone().map(|bytes| bytes[..bytes.len() / 2].to_vec());
    let mut damaged = whole;
    damaged.iter_mut().for_each(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0x55);
    });
    let unknown = [b"\xfd7zXZ\0...".to_vec(), b"BZh91AY...".to_vec()];
    let expected = [
        ("ends too early", half),
        ("its compressed data is damaged: ", damaged),
        ("only gzip and zstd can be read", unknown),
    ];
    for (expected, files) in expected {
        for bytes in files {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            fs::write(&path, bytes).unwrap();
            let error = open(&path, "").await.exhaust().await.unwrap_err();
            assert!(error.is_fatal());
            assert!(error.to_string().starts_with(&format!("cannot read {} at byte ", path.display())), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_file_that_is_still_written_is_waited_for() {
    for compress in [gzip, zstd] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = compress(&lines("line", 10_000));
        let path = folder.path().join("log.1");
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let mut test = open(&folder.path().join("log*"), "follow: true").await;
        idle(&mut test).await;
        assert_eq!(test.reported().len(), 1);
        assert!(test.reported()[0].ends_with("its compressed data ends too early; waiting for the rest"));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&bytes[bytes.len() / 2..]).unwrap();
        test.run_until(10_000).await.unwrap();
        idle(&mut test).await;
        assert_eq!(texts(&test).join("\n") + "\n", lines("line", 10_000));
    }
}

/// Follows `log*`, reads `log`, and lets `rotate` happen to it: what was read then.
async fn lines_after(rotate: impl AsyncFn(&Path, &mut SpoutHarness)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, &lines("old", 1000));
    let mut test = open(&folder.path().join("log*"), "follow: true").await;
    test.run_until(1000).await.unwrap();
    idle(&mut test).await;
    rotate(&path, &mut test).await;
    append(&path, "new\n");
    test.run_until(1001).await.unwrap();
    idle(&mut test).await;
    assert!(test.reported().is_empty(), "{:?}", test.reported());
    let mut lines: Vec<_> = texts(&test).into_iter().map(str::to_owned).collect();
    assert_eq!(lines.drain(..1000).collect::<Vec<_>>().join("\n") + "\n", self::lines("old", 1000));
    lines
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_copied_and_cut_off_comes_once_with_what_was_added_before() {
    let read = lines_after(async |path, _| {
        append(path, "late\n");
        fs::copy(path, path.with_file_name("log.1")).unwrap();
        OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    })
    .await;
    assert_eq!(read.len(), 2);
    assert!(read.contains(&"late".to_owned()) && read.contains(&"new".to_owned()), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_takes_a_while_comes_once() {
    let read = lines_after(async |path, test| {
        let text = fs::read_to_string(path).unwrap();
        for part in text.as_bytes().chunks(1000) {
            append(&path.with_file_name("log.1"), std::str::from_utf8(part).unwrap());
            advance(Duration::from_millis(250)).await;
            assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
        }
        idle(test).await;
        OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    })
    .await;
    assert_eq!(read, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_renamed_and_then_compressed_comes_once() {
    for compress in [gzip, zstd] {
        let read = lines_after(async |path, test| {
            let renamed = path.with_file_name("log.1");
            fs::rename(path, &renamed).unwrap();
            append(path, "");
            idle(test).await;
            let text = fs::read_to_string(&renamed).unwrap();
            let compressed = path.with_file_name("log.2.gz");
            fs::write(&compressed, compress(&text)).unwrap();
            fs::remove_file(renamed).unwrap();
            idle(test).await;
        })
        .await;
        assert_eq!(read, ["new"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_compressed_between_two_runs_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let more = format!("position: '{}'", folder.path().join("position").display());
    let pattern = folder.path().join("log*");
    append(&path, &lines("old", 1000));
    open(&pattern, &more).await.complete().await.unwrap();
    append(&path, "late\n");
    fs::write(folder.path().join("log.1.gz"), gzip(&fs::read_to_string(&path).unwrap())).unwrap();
    fs::remove_file(&path).unwrap();
    append(&path, "new\n");
    for expected in [&["new", "late"][..], &[]] {
        let mut test = open(&pattern, &more).await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test), expected);
        for line in 0..expected.len() {
            test.ack(line).await;
        }
        test.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn small_files_with_the_same_content_are_all_read() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("log*");
    append(&folder.path().join("log.1"), "ok\n");
    let mut test = open(&pattern, "follow: true").await;
    test.run_until(1).await.unwrap();
    append(&folder.path().join("log.2"), "ok\n");
    test.run_until(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_reads_every_file_of_a_pattern_copies_too() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["log.1", "log.2"] {
        append(&folder.path().join(name), &lines("line", 1000));
    }
    let mut test = open(&folder.path().join("log*"), "").await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test).len(), 2000);
}

#[tokio::test(start_paused = true)]
async fn lines_under_way_when_their_file_is_copied_and_cut_off_are_read_again_by_a_later_run() {
    let folder = tempfile::tempdir().unwrap();
    let (log, copy) = (folder.path().join("app.log"), folder.path().join("app.log.1"));
    let pattern = folder.path().join("app.log*");
    let more = format!("follow: true, position: '{}'", folder.path().join("position").display());
    fs::write(&log, lines("line", 100)).unwrap();
    let mut first = open(&pattern, &more).await;
    idle(&mut first).await;
    assert_eq!(texts(&first).len(), 100);
    // The last ten lines are being retried when the file is rotated.
    for line in 0..90 {
        first.ack(line).await;
    }
    fs::copy(&log, &copy).unwrap();
    append(&copy, "late\n");
    fs::write(&log, "fresh\n").unwrap();
    for _ in 0..5 {
        idle(&mut first).await;
    }
    let rows = texts(&first).len();
    assert_eq!(rows, 102, "the new lines of both files");
    first.ack(100).await;
    first.ack(101).await;
    // The run is killed: what its position says now is all that a later run has.
    advance(Duration::from_secs(2)).await;
    first.next().await.unwrap();
    let mut second = open(&pattern, &more).await;
    idle(&mut second).await;
    for number in 91..=100 {
        assert!(texts(&second).contains(&format!("line-{number}").as_str()), "{:?}", texts(&second));
    }
}
