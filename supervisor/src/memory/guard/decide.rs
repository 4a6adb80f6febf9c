//! Whom to end: facts in, verdicts out.

use super::Guarded;
use crate::size;

/// All together have too much when less than this part of the limit is left. A worker that has less than that is
/// not what fills it.
const PART: u64 = 20;

/// What a worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) worker: Guarded,
    pub(super) used: u64,
}

/// What all that runs in the container has, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// A worker that is to be ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    pub(super) of: &'a Use,
    pub(super) why: String,
    /// Not for what it has itself, but because all together have too much.
    pub(super) is_for_all: bool,
}

/// Those over their share; if there are none and nearly all of the whole is in use, the one that is nearest
/// to its share, before the kernel makes a choice.
pub(super) fn verdicts(uses: &[Use], whole: Option<Whole>) -> Vec<Verdict<'_>> {
    let over: Vec<Verdict<'_>> = uses.iter().filter_map(|it| Some((it, over_share(it, whole)?))).map(own).collect();
    if !over.is_empty() {
        return over;
    }
    let Some(whole) = whole.filter(|whole| whole.used > whole.limit - whole.limit / PART) else { return Vec::new() };
    // One that has hardly anything is not what fills it, and its end would not help.
    let matters = uses.iter().filter(|it| it.used >= whole.limit / PART);
    let nearest = matters.max_by(|one, other| part_used(one, whole).total_cmp(&part_used(other, whole)));
    nearest.map(|it| for_all(it, whole)).into_iter().collect()
}

fn own((of, why): (&Use, String)) -> Verdict<'_> {
    Verdict { of, why, is_for_all: false }
}

fn over_share(it: &Use, whole: Option<Whole>) -> Option<String> {
    let share = it.worker.share.as_ref().filter(|share| it.used > share.bytes)?;
    let end =
        whole.map_or_else(String::new, |whole| format!(" before the container's limit of {}", size::show(whole.limit)));
    Some(format!("it had {}, over {share}, and was ended{end}", size::show(it.used)))
}

/// How much of what it may have it has.
fn part_used(it: &Use, whole: Whole) -> f64 {
    let may = it.worker.share.as_ref().map_or(whole.limit, |share| share.bytes);
    it.used as f64 / may.max(1) as f64
}

fn for_all(of: &Use, whole: Whole) -> Verdict<'_> {
    let share = of.worker.share.as_ref().map(|share| format!(", the nearest to {share}")).unwrap_or_default();
    let why = format!(
        "{} of the container's limit of {} were in use; it had {}{share}, and was ended before the kernel ends \
         the container",
        size::show(whole.used),
        size::show(whole.limit),
        size::show(of.used)
    );
    Verdict { of, why, is_for_all: true }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::WorkerId;

    use super::*;
    use crate::memory::share::Share;

    const MIB: u64 = 1 << 20;

    fn used(slot: u32, used: u64, share: Option<u64>) -> Use {
        let share = share.map(|mib| Share { bytes: mib * MIB, reason: "--worker-memory" });
        let id = WorkerId::new("s", slot);
        let worker = Guarded { topology: "t-1".to_owned(), id, incarnation: 1, pid: slot, share };
        Use { worker, used: used * MIB }
    }

    #[test]
    fn whoever_is_over_its_share_is_ended_and_otherwise_the_nearest_when_nearly_all_is_in_use() {
        let two_gib = |used| Some(Whole { used: used * MIB, limit: 2048 * MIB });
        let slots = |uses: &[Use], whole| {
            verdicts(uses, whole).iter().map(|it| (it.of.worker.id.slot, it.is_for_all)).collect::<Vec<_>>()
        };
        let table = [
            (vec![used(1, 512, Some(512)), used(2, 100, None)], None, vec![]),
            (vec![used(1, 513, Some(512)), used(2, 900, Some(800))], None, vec![(1, false), (2, false)]),
            (vec![used(1, 4096, None)], None, vec![]),
            // Once one is over its share, nobody else has to go for all.
            (vec![used(1, 513, Some(512)), used(2, 800, Some(800))], two_gib(2047), vec![(1, false)]),
            (vec![used(1, 500, Some(512)), used(2, 700, Some(800))], two_gib(1945), vec![]),
            (vec![used(1, 500, Some(512)), used(2, 700, Some(800))], two_gib(1946), vec![(1, true)]),
            (vec![used(1, 300, Some(512)), used(2, 1500, None)], two_gib(2000), vec![(2, true)]),
            // Something else fills it.
            (vec![used(1, 102, Some(102)), used(2, 50, None)], two_gib(2048), vec![]),
            (vec![], two_gib(2048), vec![]),
        ];
        for (at, (uses, whole, expected)) in table.iter().enumerate() {
            assert_eq!(slots(uses, *whole), *expected, "row {at}");
        }
    }

    #[test]
    fn a_verdict_tells_what_was_had_and_what_was_allowed() {
        let uses = [used(1, 530, Some(512))];
        let whole = Whole { used: 1000 * MIB, limit: 2048 * MIB };
        let why = |uses: &[Use], whole| verdicts(uses, whole)[0].why.clone();
        assert_eq!(
            why(&uses, Some(whole)),
            "it had 530 MiB, over its share of 512 MiB (--worker-memory), and was ended before the container's limit \
             of 2 GiB"
        );
        assert_eq!(why(&uses, None), "it had 530 MiB, over its share of 512 MiB (--worker-memory), and was ended");
        let uses = [used(1, 500, Some(512))];
        assert_eq!(
            why(&uses, Some(Whole { used: 2000 * MIB, ..whole })),
            "2000 MiB of the container's limit of 2 GiB were in use; it had 500 MiB, the nearest to its share of \
             512 MiB (--worker-memory), and was ended before the kernel ends the container"
        );
    }
}
