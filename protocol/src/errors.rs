//! Sums up errors of several workers and launches.

use std::cmp::Reverse;

use crate::ErrorReport;

/// Adds an error to others. Errors of one component and kind become one, with the message of the first and the
/// task and worker of the latest. Errors of a worker as a whole, which have no component, stay apart by worker.
pub fn add_error(into: &mut Vec<ErrorReport>, error: ErrorReport) {
    let Some(known) = into.iter_mut().find(|known| is_same(known, &error)) else {
        into.push(error);
        return;
    };
    known.count = known.count.saturating_add(error.count);
    if first_of(&error) < first_of(known) {
        known.message.clone_from(&error.message);
        known.first_unix_ms = error.first_unix_ms;
    }
    if error.last_unix_ms > known.last_unix_ms {
        (known.task, known.worker, known.last_unix_ms) = (error.task, error.worker, error.last_unix_ms);
    }
}

/// Puts causes before what follows from them, and the latest first; keeps so many.
pub fn order_errors(errors: &mut Vec<ErrorReport>, most: usize) {
    errors.sort_by_key(|error| (error.is_consequence, Reverse(error.last_unix_ms)));
    errors.truncate(most);
}

fn is_same(one: &ErrorReport, other: &ErrorReport) -> bool {
    one.component == other.component
        && kind_of(one) == kind_of(other)
        && (!one.component.is_empty() || one.worker == other.worker)
}

/// Older workers report no kind: the message stands for it.
fn kind_of(error: &ErrorReport) -> &str {
    if error.kind.is_empty() { &error.message } else { &error.kind }
}

/// Older workers report no first time.
fn first_of(error: &ErrorReport) -> i64 {
    if error.first_unix_ms == 0 { error.last_unix_ms } else { error.first_unix_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str, kind: &str, first_unix_ms: i64, last_unix_ms: i64) -> ErrorReport {
        let (component, count) = ("store".to_owned(), 2);
        let (message, kind) = (message.to_owned(), kind.to_owned());
        ErrorReport { component, message, kind, count, first_unix_ms, last_unix_ms, ..ErrorReport::default() }
    }

    #[test]
    fn errors_of_one_kind_become_one_with_the_first_message_and_the_latest_time() {
        let mut errors = vec![error("row 7", "row #", 20, 30)];
        add_error(&mut errors, ErrorReport { task: 9, ..error("row 3", "row #", 10, 40) });
        add_error(&mut errors, error("other", "other", 50, 50));
        order_errors(&mut errors, 10);
        assert_eq!(errors.len(), 2);
        let row = &errors[1];
        assert_eq!((&*row.message, row.count, row.first_unix_ms, row.last_unix_ms, row.task), ("row 3", 4, 10, 40, 9));
    }

    #[test]
    fn consequences_come_last_however_late_they_are() {
        let mut errors =
            vec![ErrorReport { is_consequence: true, ..error("gave up", "", 90, 90) }, error("a", "", 1, 2)];
        order_errors(&mut errors, 10);
        assert_eq!(errors[0].message, "a");
    }
}
