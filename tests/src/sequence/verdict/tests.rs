//! Each broken promise is found, and nothing else.

use std::fs;

use anyhow::Result;

use crate::sequence::{SequenceLog, Verdict};

/// What the files say: task 0 of the spout, runs 1 and 2; the end is task 9.
fn judged(files: &[(&str, &str)]) -> Result<Verdict> {
    let folder = tempfile::tempdir()?;
    for (name, lines) in files {
        fs::write(folder.path().join(name), lines)?;
    }
    let mut log = SequenceLog::new(folder.path());
    log.refresh()?;
    Ok(log.verdict())
}

#[test]
fn everything_that_arrived_before_it_was_acked_is_good() -> Result<()> {
    let verdict = judged(&[
        ("emitted-0-1.txt", "10 0 0\n10 1 0\n12 2 0\n"),
        ("emitted-0-2.txt", "50 1 0\n50 2 0\n60 2 1\n"),
        ("acked-0-1.txt", "20 0\n"),
        ("acked-0-2.txt", "55 1\n70 2\n"),
        // Of the last, only a part was written when the process was killed.
        ("seen-9-5.txt", "15 0 0 0 1 4 3\n16 1 0 0 1 4 3\n52 1 0 0 2 4 3\n65 2 1 0 2 4 3\n66 3 0"),
    ])?;
    assert!(verdict.is_good(), "{verdict}");
    assert_eq!((verdict.numbers, verdict.replays, verdict.reread, verdict.duplicates), (3, 1, 2, 1));
    Ok(())
}

#[test]
fn each_broken_promise_is_named() -> Result<()> {
    let emitted = ("emitted-0-1.txt", "10 0 0\n10 1 0\n");
    let seen = ("seen-9-5.txt", "15 0 0 0 1 4 3\n16 1 0 0 1 4 3\n");
    let acked = ("acked-0-1.txt", "20 0\n20 1\n");
    let cases: [(&str, [(&str, &str); 3]); 6] = [
        ("1 lost: 0/1", [emitted, acked, ("seen-9-5.txt", "15 0 0 0 1 4 3\n")]),
        ("1 never acked: 0/1", [emitted, seen, ("acked-0-1.txt", "20 0\n")]),
        ("1 acked before they had arrived: 0/0", [emitted, seen, ("acked-0-1.txt", "14 0\n20 1\n")]),
        ("1 acked more often than emitted: 0/1", [emitted, seen, ("acked-0-1.txt", "20 0\n20 1\n21 1\n")]),
        ("2 never emitted: 0/1", [seen, acked, ("emitted-0-1.txt", "10 0 0\n")]),
        (
            "1 out of order: 0/0 came behind 1 on the way 0 → 4 → 9",
            [emitted, acked, ("seen-9-5.txt", "15 1 0 0 1 4 3\n16 0 0 0 1 4 3\n")],
        ),
    ];
    for (expected, files) in cases {
        let verdict = judged(&files)?;
        assert!(!verdict.is_good() && verdict.to_string().contains(expected), "expected `{expected}` in: {verdict}");
    }
    assert!(judged(&[emitted, seen, acked])?.is_good());
    assert!(!judged(&[])?.is_good(), "where nothing was emitted, nothing was shown");
    Ok(())
}

#[test]
fn flow_is_back_when_every_task_and_key_has_an_ack_of_something_emitted_since() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let numbers = |range: std::ops::Range<u64>, line: &dyn Fn(u64) -> String| range.map(line).collect::<String>();
    fs::write(
        folder.path().join("emitted-0-1.txt"),
        numbers(0..32, &|number| format!("{} {number} 0\n", 100 + number)),
    )?;
    // 0 to 15 were emitted before the fault at 116, though acked after it.
    fs::write(folder.path().join("acked-0-1.txt"), numbers(0..31, &|number| format!("{} {number}\n", 200 + number)))?;
    let mut log = SequenceLog::new(folder.path());
    log.refresh()?;
    assert_eq!(log.flowing_again_at(115), None);
    fs::write(folder.path().join("acked-0-2.txt"), "300 31\n")?;
    fs::write(folder.path().join("emitted-0-2.txt"), "290 31 0\n")?;
    log.refresh()?;
    assert_eq!(log.flowing_again_at(115), Some(300));
    assert_eq!(log.acked_between(200, 216), 16);
    Ok(())
}

#[test]
fn the_longest_gap_is_that_of_all_ways_together_and_borders_count() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("seen-8-5.txt"), "100 0 0 0 1 4 3\n500 1 0 0 1 4 3\n")?;
    fs::write(folder.path().join("seen-9-5.txt"), "350 2 0 0 1 4 3\n")?;
    let mut log = SequenceLog::new(folder.path());
    log.refresh()?;
    assert_eq!(log.longest_gap(100, 500).as_nanos(), 250);
    assert_eq!(log.longest_gap(100, 900).as_nanos(), 400);
    assert_eq!(log.longest_gap(600, 700).as_nanos(), 100);
    Ok(())
}
