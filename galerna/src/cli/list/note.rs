//! What `list` says of a topology that is not as it should be.

use galerna_protocol::TopologySummary;

use crate::cli::numbers::{count, plural};

/// No note is longer, in characters.
const LONGEST: usize = 100;

/// The status for people: `FAILED` for a topology that has come to a bad end.
pub(in crate::cli) fn status(of: &TopologySummary) -> &str {
    if of.status == "FINISHED" && !of.failure.is_empty() { "FAILED" } else { &of.status }
}

/// Why it failed, and how many of its workers do not run; empty if all is well.
pub(super) fn of(of: &TopologySummary) -> String {
    let counts = [
        (of.workers_down, "down"),
        (of.workers_not_responding, "not responding"),
        (of.workers_starting, "starting"),
        (of.workers_unknown, "not reported"),
    ];
    let workers = counts.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| {
        let all = plural(of.workers as usize, "worker");
        format!("{} of {all} {what}", count(number.into()))
    });
    let failure = of.failure.lines().next().filter(|line| !line.trim().is_empty()).map(shortened);
    workers.chain(failure).collect::<Vec<_>>().join("; ")
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(status: &str, failure: &str) -> TopologySummary {
        let (status, failure) = (status.to_owned(), failure.to_owned());
        TopologySummary { status, failure, workers: 3, ..TopologySummary::default() }
    }

    #[test]
    fn only_a_topology_that_has_ended_badly_is_failed() {
        for (status_told, failure, expected) in [
            ("FINISHED", "", "FINISHED"),
            ("FINISHED", "2 tuples were given up", "FAILED"),
            ("KILLED", "2 tuples were given up", "KILLED"),
            ("ACTIVE", "", "ACTIVE"),
        ] {
            assert_eq!(status(&summary(status_told, failure)), expected, "{status_told} {failure}");
        }
    }

    #[test]
    fn note_says_how_many_workers_do_not_run_and_why_it_failed_in_one_short_line() {
        assert_eq!(of(&summary("ACTIVE", "")), "");
        let some = TopologySummary { workers_down: 1, workers_not_responding: 1, ..summary("ACTIVE", "") };
        assert_eq!(of(&some), "1 of 3 workers down; 1 of 3 workers not responding");
        let one = TopologySummary { workers: 1, workers_starting: 1, ..summary("ACTIVE", "") };
        assert_eq!(of(&one), "1 of 1 worker starting");
        assert_eq!(of(&summary("FINISHED", "2 tuples\nwere given up")), "2 tuples");
        assert_eq!(of(&summary("FINISHED", &"é".repeat(200))), format!("{}…", "é".repeat(100)));
    }
}
