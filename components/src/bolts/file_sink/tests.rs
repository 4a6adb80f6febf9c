use std::fs;
use std::path::Path;
use std::time::Duration;

use galerna_topology_api::values;
use galerna_worker::testing::BoltHarness;
use tokio::time::advance;

use super::FileSink;
use crate::harness::manual_bolt;

async fn sink(path: &Path, properties: &str) -> BoltHarness {
    try_sink(path, properties, 1).await.unwrap()
}

async fn try_sink(path: &Path, properties: &str, tasks: u32) -> galerna_topology_api::Result<BoltHarness> {
    let properties = format!("{{path: '{}', {properties}}}", path.display());
    manual_bolt::<FileSink>(&properties, ["word", "count"], tasks).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes one tuple, and makes sure that it is in the file.
async fn write(test: &mut BoltHarness, word: &str) {
    test.execute(values![word, 1]).await.into_result().unwrap();
    test.flush().await.into_result().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_is_written_in_place_and_whole_after_a_stop_as_at_the_end_of_the_input() {
    for is_stopped in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.tsv");
        let mut test = sink(&path, "format: tsv").await;
        write(&mut test, "a").await;
        assert_eq!(test.acked(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\t1\n");
        test.execute(values!["b\tc", 2]).await.into_result().unwrap();
        if !is_stopped {
            test.finish().await.into_result().unwrap();
        }
        test.cleanup().await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\t1\nb\\tc\t2\n");
        assert_eq!(names(folder.path()), ["out.tsv"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_run_goes_on_behind_what_was_written_or_begins_anew_without_resume() {
    for (more, expected) in [("", "a\t1\nb\t1\n"), ("resume: false", "b\t1\n")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for word in ["a", "b"] {
            let mut test = sink(&path, more).await;
            write(&mut test, word).await;
            test.cleanup().await.unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_torn_line_is_cut_off_and_every_acked_line_is_there() {
    for (more, written_as) in [("", "out"), ("roll: {size: 1GiB}", "out.tmp")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut killed = sink(&path, more).await;
        write(&mut killed, "a").await;
        drop(killed);
        append(&folder.path().join(written_as), "torn");
        let mut test = sink(&path, more).await;
        write(&mut test, "b").await;
        test.cleanup().await.unwrap();
        let finished = if more.is_empty() { "out" } else { "out-000001" };
        assert_eq!(names(folder.path()), [finished]);
        assert_eq!(fs::read_to_string(folder.path().join(finished)).unwrap(), "a\t1\nb\t1\n");
    }
}

/// As another process would.
fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_a_part_and_leaves_no_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut test = sink(&folder.path().join("out.csv"), "format: csv, roll: {size: 1GiB}").await;
        write(&mut test, "a").await;
        assert_eq!(names(folder.path()).last().unwrap(), "out.csv.tmp");
        test.cleanup().await.unwrap();
    }
    let mut idle = sink(&folder.path().join("out.csv"), "format: csv, roll: {size: 1GiB}").await;
    idle.finish().await.into_result().unwrap();
    idle.cleanup().await.unwrap();
    assert_eq!(names(folder.path()), ["out-000001.csv", "out-000002.csv"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_another_task_writes_is_refused() {
    for more in ["", "resume: false", "roll: {size: 1GiB}"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut first = sink(&path, more).await;
        write(&mut first, "a").await;
        let error = try_sink(&path, more, 1).await.err().unwrap();
        assert!(error.is_fatal());
        let reason = "it is being written by another task";
        assert_eq!(error.to_string(), format!("cannot write to {}: {reason}", path.display()));
        write(&mut first, "b").await;
        first.cleanup().await.unwrap();
        let written = names(folder.path());
        assert_eq!(fs::read_to_string(folder.path().join(&written[0])).unwrap(), "a\t1\nb\t1\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_tuples_leaves_an_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut test = sink(&folder.path().join("out"), "").await;
    test.finish().await.into_result().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn a_tuple_is_acked_by_itself_once_it_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut test = sink(&folder.path().join("out"), "").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    test.settled(1).await;
    assert_eq!(test.acked(), 1);
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "a\t1\n");
}

#[tokio::test(start_paused = true)]
async fn after_so_many_tuples_the_interval_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut test = sink(&folder.path().join("out"), "sync: {tuples: 3, interval: 100d}").await;
    for word in ["a", "b", "c"] {
        test.execute(values![word, 1]).await.into_result().unwrap();
    }
    test.settled(3).await;
    assert_eq!(test.acked(), 3);
    assert!(test.context().elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn files_roll_by_size_under_names_that_are_free() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out-000001.csv"), "kept\n").unwrap();
    let mut test = sink(&folder.path().join("out.csv"), "format: csv, roll: {size: 8}").await;
    for word in ["one", "two", "three"] {
        test.execute(values![word, 1]).await.into_result().unwrap();
        test.flush().await.into_result().unwrap();
    }
    test.finish().await.into_result().unwrap();
    assert_eq!(names(folder.path()), ["out-000001.csv", "out-000002.csv", "out-000003.csv"]);
    assert_eq!(fs::read_to_string(folder.path().join("out-000002.csv")).unwrap(), "one,1\ntwo,1\n");
    assert_eq!(fs::read_to_string(folder.path().join("out-000003.csv")).unwrap(), "three,1\n");
}

#[tokio::test(start_paused = true)]
async fn a_file_rolls_by_age_without_further_tuples() {
    let folder = tempfile::tempdir().unwrap();
    let mut test = sink(&folder.path().join("out"), "roll: {interval: 1h}").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    test.settled(1).await;
    assert_eq!(names(folder.path()), ["out.tmp"]);
    advance(Duration::from_secs(3600)).await;
    while names(folder.path()) != ["out-000001"] {
        tokio::task::yield_now().await;
    }
    test.execute(values!["b", 2]).await.into_result().unwrap();
    test.flush().await.into_result().unwrap();
    assert_eq!(test.acked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_part_is_begun_anew_if_there_is_nothing_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out.tmp"), "of a run that failed\n").unwrap();
    let mut test = sink(&folder.path().join("out"), "resume: false, roll: {size: 1GiB}").await;
    write(&mut test, "a").await;
    test.finish().await.into_result().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("out-000001")).unwrap(), "a\t1\n");
    assert_eq!(names(folder.path()), ["out-000001"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_regular_file_is_written_into_and_left_in_place() {
    let mut test = sink(Path::new("/dev/null"), "").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    test.finish().await.into_result().unwrap();
    assert_eq!(test.acked(), 1);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert!(!Path::new("/dev/null.tmp").exists());
}

#[tokio::test(start_paused = true)]
async fn a_named_pipe_is_waited_for_and_written_into() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    let mut test = sink(&path, "").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    test.finish().await.into_result().unwrap();
    test.cleanup().await.unwrap();
    drop(test);
    assert_eq!(tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap(), "a\t1\n");
}

#[tokio::test(start_paused = true)]
async fn a_symbolic_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("real", &link).unwrap();
    let mut test = sink(&link, "").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    test.finish().await.into_result().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(folder.path().join("real")).unwrap(), "a\t1\n");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_one_fatal_error_and_fails_what_was_held() {
    let mut test = sink(Path::new("/dev/full"), "").await;
    test.execute(values!["a", 1]).await.into_result().unwrap();
    let error = test.flush().await.into_result().unwrap_err();
    assert!(error.is_fatal());
    assert_eq!(error.to_string(), "cannot write to /dev/full: No space left on device (os error 28)");
    assert_eq!((test.acked(), test.failed()), (0, 1));
    test.cleanup().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn several_tasks_need_a_place_for_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let error = try_sink(&folder.path().join("out"), "", 2).await.err().unwrap();
    assert!(error.is_fatal());
    assert!(error.to_string().starts_with("2 tasks cannot write one file; put {task} into "), "{error}");
    let mut test = try_sink(&folder.path().join("out-{task}"), "", 2).await.unwrap();
    test.finish().await.into_result().unwrap();
    assert_eq!(names(folder.path()), ["out-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_is_named() {
    let error = try_sink(Path::new("/no/such/folder/out"), "", 1).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot write to /no/such/folder/out: No such file or directory (os error 2)");
}
