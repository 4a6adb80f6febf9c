//! The errors of a run, grouped by component and kind, and how many of them are logged.

use std::collections::BTreeMap;
use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::printable;

use super::kind::kind_of;
use crate::summary::ErrorReport;

/// Kinds that are kept of one component. Errors of further kinds are counted together.
const MOST_KINDS: usize = 20;

/// The kind of the errors that are counted together. A message of this kind would be counted there.
const OTHER: &str = "(other kinds)";

/// Characters of a message that are kept.
pub(super) const LONGEST: usize = 1_000;

/// Lines that are logged of one group in one period.
const LOGGED: u32 = 10;

/// The length of the first period. It doubles while a group floods the log.
const PERIOD: Duration = Duration::from_secs(1);
const LONGEST_PERIOD: Duration = Duration::from_secs(64);

/// An error to list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) component: &'a str,
    pub(crate) task: TaskId,
    pub(crate) message: &'a str,
    /// The text from which the kind is taken, if the message holds values besides.
    pub(crate) cause: Option<&'a str>,
    /// Whether the error only follows from other listed errors, such as a tuple that was given up.
    pub(crate) is_consequence: bool,
}

/// The errors of one component and kind.
#[derive(Debug)]
struct Group {
    report: ErrorReport,
    log: LogBudget,
}

/// Errors in groups: the first of each kind, with how often and when.
#[derive(Debug, Default)]
pub(super) struct ErrorList {
    groups: BTreeMap<String, BTreeMap<String, Group>>,
}

impl ErrorList {
    /// Adds an error. Returns the lines to log: the message, unless the group has used up its budget.
    pub(super) fn add(&mut self, error: &Listed<'_>, now: Duration, unix_ms: i64) -> Log {
        let mut kind = kind_of(error.cause.unwrap_or(error.message));
        if error.is_consequence {
            kind.insert_str(0, "gave up: ");
        }
        let kinds = self.groups.entry(error.component.to_owned()).or_default();
        let is_other = !kinds.contains_key(&kind) && kinds.len() >= MOST_KINDS;
        if is_other {
            kind = OTHER.to_owned();
        }
        let group = kinds.entry(kind.clone()).or_insert_with(|| Group {
            report: ErrorReport {
                component: error.component.to_owned(),
                task: error.task,
                message: printable(error.message, LONGEST),
                count: 0,
                kind,
                is_consequence: error.is_consequence,
                first_unix_ms: unix_ms,
                last_unix_ms: unix_ms,
            },
            log: LogBudget::new(now),
        });
        group.report.count += 1;
        group.report.task = error.task;
        group.report.last_unix_ms = unix_ms;
        if is_other {
            // These are of many kinds: the latest is shown.
            let latest = printable(error.message, LONGEST);
            group.report.message = format!("errors of more than {MOST_KINDS} kinds; the latest: {latest}");
        }
        group.log.take(now)
    }

    /// The groups: causes before what follows from them, the latest first.
    pub(super) fn reports(&self) -> Vec<ErrorReport> {
        let groups = self.groups.values().flat_map(BTreeMap::values);
        let mut reports: Vec<_> = groups.map(|group| group.report.clone()).collect();
        reports.sort_by_key(|report| (report.is_consequence, -report.last_unix_ms));
        reports
    }

    /// The counts of errors that were not logged in periods that are over.
    pub(super) fn take_unlogged(&mut self, now: Duration) -> Vec<(ErrorReport, u64)> {
        let groups = self.groups.values_mut().flat_map(BTreeMap::values_mut);
        let unlogged = groups.filter_map(|group| {
            let count = group.log.end_period(now);
            (count > 0).then(|| (group.report.clone(), count))
        });
        unlogged.collect()
    }
}

/// What to log for one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// Errors of the group that were not logged in the period before.
    pub(super) unlogged: u64,
    /// Whether the error itself is logged.
    pub(super) is_logged: bool,
}

/// How many lines of one group are logged: [`LOGGED`] in each period, then a count.
#[derive(Debug)]
struct LogBudget {
    began: Duration,
    period: Duration,
    logged: u32,
    unlogged: u64,
}

impl LogBudget {
    fn new(now: Duration) -> Self {
        Self { began: now, period: PERIOD, logged: 0, unlogged: 0 }
    }

    fn take(&mut self, now: Duration) -> Log {
        let unlogged = self.end_period(now);
        let is_logged = self.logged < LOGGED;
        if is_logged {
            self.logged += 1;
        } else {
            self.unlogged += 1;
        }
        Log { unlogged, is_logged }
    }

    /// Begins a new period if the present one is over. Returns how many errors were not logged in it.
    fn end_period(&mut self, now: Duration) -> u64 {
        if now < self.began + self.period {
            return 0;
        }
        self.period = if self.unlogged > 0 { (self.period * 2).min(LONGEST_PERIOD) } else { PERIOD };
        self.began = now;
        self.logged = 0;
        std::mem::take(&mut self.unlogged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<'a>(component: &'a str, message: &'a str) -> Listed<'a> {
        Listed { component, task: 1, message, cause: None, is_consequence: false }
    }

    #[test]
    fn errors_of_one_kind_are_one_group_with_its_first_message() {
        let mut list = ErrorList::default();
        for n in 0..1000 {
            list.add(&error("store", &format!("row {n} is bad")), Duration::ZERO, n);
        }
        list.add(&error("load", "row 7 is bad"), Duration::ZERO, 5);
        let reports = list.reports();
        let shown: Vec<_> =
            reports.iter().map(|of| (&*of.component, &*of.message, of.count, of.first_unix_ms)).collect();
        assert_eq!(shown, [("store", "row 0 is bad", 1000, 0), ("load", "row 7 is bad", 1, 5)]);
        assert_eq!(reports[0].last_unix_ms, 999);
    }

    #[test]
    fn causes_come_before_the_tuples_that_were_given_up_for_them() {
        let mut list = ErrorList::default();
        let given_up = Listed {
            cause: Some("`store`: no connection"),
            is_consequence: true,
            ..error("in", "gave up a tuple after 3 tries: `store`: no connection: [1]")
        };
        list.add(&error("store", "no connection"), Duration::ZERO, 1);
        list.add(&given_up, Duration::ZERO, 2);
        list.add(
            &Listed { message: "gave up a tuple after 3 tries: `store`: no connection: [x]", ..given_up },
            Duration::ZERO,
            3,
        );
        let reports = list.reports();
        let shown: Vec<_> = reports.iter().map(|of| (&*of.component, of.count)).collect();
        assert_eq!(shown, [("store", 1), ("in", 2)]);
    }

    #[test]
    fn flood_of_kinds_keeps_the_first_kinds_and_the_latest_error() {
        let mut list = ErrorList::default();
        list.add(&error("quiet", "once"), Duration::ZERO, 0);
        for n in 0..500u32 {
            let word: String = n.to_string().chars().map(|digit| (digit as u8 + b'a' - b'0') as char).collect();
            list.add(&error("loud", &format!("kind {word}")), Duration::ZERO, i64::from(n) + 1);
        }
        let reports = list.reports();
        assert_eq!(reports.len(), MOST_KINDS + 2);
        assert_eq!(reports[0].message, format!("errors of more than {MOST_KINDS} kinds; the latest: kind ejj"));
        assert_eq!(reports[0].count, 500 - MOST_KINDS as u64);
        assert!(reports.iter().any(|of| of.message == "kind a"));
        assert!(reports.iter().any(|of| of.message == "once"));
    }

    #[test]
    fn flood_is_logged_in_few_lines_and_counted() {
        let mut list = ErrorList::default();
        let (mut lines, mut counted) = (0, 0);
        for n in 0..1_000_000u64 {
            let log = list.add(&error("store", "no"), Duration::from_micros(n * 100), 0);
            lines += u64::from(log.is_logged) + u64::from(log.unlogged > 0);
            counted += u64::from(log.is_logged) + log.unlogged;
        }
        assert!(lines < 100, "{lines}");
        counted += list.take_unlogged(Duration::from_secs(1000)).iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(counted, 1_000_000);
        // After a quiet time, lines are logged again.
        assert!(list.add(&error("store", "no"), Duration::from_secs(2000), 0).is_logged);
    }
}
