//! Trees that open, depart and are decided, by tables and at random.

use super::*;
use proptest::prelude::*;

#[test]
fn ledger_that_gave_back_its_memory_knows_no_late_ack() {
    let mut ledger = Ledger::new(1, 1, None);
    let now = Duration::from_secs(1);
    let mut late = Vec::new();
    for _ in 0..3 {
        let roots: Vec<Root> = (0..100).map(|_| ledger.open_started(0, 7, 1)).collect();
        assert!(!ledger.shrink(), "trees are open");
        for root in &late {
            assert_eq!(ledger.apply(&delta(*root, 7), now), Applied::Nothing, "{root:?}");
        }
        for root in &roots {
            assert!(matches!(ledger.apply(&delta(*root, 7), now), Applied::Settled(..)));
        }
        assert!(!ledger.shrink(), "the spout has not heard of them");
        ledger.release(&roots.iter().map(|root| root.slot).collect::<Vec<_>>());
        late.extend(roots);
        assert!(ledger.shrink());
    }
}

fn ledger(timeout: u64) -> Ledger {
    Ledger::new(1, 0, Some(Duration::from_secs(timeout)))
}

fn delta(root: Root, xor: u64) -> AckDelta {
    AckDelta {
        spout: root.spout,
        incarnation: root.incarnation,
        slot: root.slot,
        generation: root.generation,
        kind: AckKind::Ack,
        xor,
    }
}

fn is_settled(applied: Applied) -> bool {
    matches!(applied, Applied::Settled(..))
}

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn timeout_is_never_early_and_at_most_ten_percent_late() {
    let mut ledger = ledger(10);
    let mut departures = Vec::new();
    for n in 0..1000u64 {
        let root = ledger.open(0);
        assert_eq!(ledger.start(root.slot, n + 1, 1), None);
        ledger.depart(&[root], at(n * 7));
        departures.push((root.slot, at(n * 7)));
    }
    let mut now = at(1000 * 7);
    let mut failed = std::collections::BTreeMap::new();
    while ledger.open_trees() > 0 {
        let mut settled = Vec::new();
        let next = ledger.expire(now, &mut settled).expect("time-outs are on");
        failed.extend(settled.iter().map(|settled: &Closed| (settled.slot, now)));
        now = next;
    }
    for (slot, departed) in departures {
        let late = failed[&slot] - departed;
        assert!(late >= at(10_000), "early: {late:?}");
        assert!(late <= at(11_000), "late: {late:?}");
    }
}

#[test]
fn a_tree_is_settled_once_and_late_news_of_it_are_ignored() {
    let mut ledger = ledger(10);
    let root = ledger.open(0);
    ledger.start(root.slot, 5, 1);
    assert!(is_settled(ledger.apply(&AckDelta { kind: AckKind::Fail, ..delta(root, 0) }, at(1))));
    assert_eq!(ledger.apply(&delta(root, 5), at(2)), Applied::Nothing);
    assert_ne!(ledger.open(0).slot, root.slot, "the spout does not know yet");
    ledger.release(&[root.slot]);
    let again = ledger.open(0);
    assert_eq!(again.slot, root.slot);
    ledger.start(again.slot, 5, 1);
    assert_eq!(ledger.apply(&delta(root, 5), at(4)), Applied::Nothing, "an ack of the slot's predecessor");
    assert!(is_settled(ledger.apply(&delta(again, 5), at(5))));
}

#[test]
fn a_reset_starts_the_time_anew() {
    let mut ledger = ledger(10);
    let root = ledger.open(0);
    ledger.start(root.slot, 5, 1);
    ledger.depart(&[root], at(0));
    ledger.apply(&AckDelta { kind: AckKind::Reset, ..delta(root, 0) }, at(9_000));
    let mut settled = Vec::new();
    ledger.expire(at(11_000), &mut settled);
    assert!(settled.is_empty());
    ledger.expire(at(19_002), &mut settled);
    assert_eq!(settled.len(), 1);
}

#[test]
fn the_time_in_which_bolts_hold_tuples_is_told_from_the_rest() {
    let mut ledger = ledger(1000);
    let root = ledger.open(0);
    ledger.start(root.slot, 5, 1);
    ledger.depart(&[root], at(100));
    let say = |kind| AckDelta { kind, ..delta(root, 0) };
    assert_eq!(ledger.apply(&say(AckKind::Held), at(110)), Applied::Held);
    assert_eq!(ledger.apply(&say(AckKind::Held), at(120)), Applied::Nothing);
    assert_eq!(ledger.apply(&say(AckKind::Released), at(130)), Applied::Nothing);
    assert_eq!(ledger.held_trees(), 1);
    assert_eq!(ledger.apply(&say(AckKind::Released), at(5_000)), Applied::Released);
    assert_eq!(ledger.held_trees(), 0);
    let Applied::Settled(_, taken) = ledger.apply(&delta(root, 5), at(5_007)) else { panic!("acked") };
    assert_eq!(taken, Taken { departed: Some(nanos(at(100))), active: nanos(at(17)), was_held: false });
}

/// Two tasks receive the tuple; one of them has no room for an hour.
#[test]
fn the_time_of_a_tree_begins_when_its_last_tuple_leaves() {
    let mut ledger = ledger(10);
    let root = ledger.open(0);
    ledger.start(root.slot, 5, 2);
    ledger.depart(&[root], at(0));
    let mut settled = Vec::new();
    ledger.expire(at(3_600_000), &mut settled);
    assert!(settled.is_empty());
    ledger.depart(&[root], at(3_600_000));
    ledger.expire(at(3_609_999), &mut settled);
    assert!(settled.is_empty());
    ledger.expire(at(3_610_002), &mut settled);
    assert_eq!(settled.len(), 1);
}

proptest! {
    /// Random trees: each tuple but the last few makes children; acks arrive in any order.
    #[test]
    fn random_trees_complete_exactly_when_all_was_acked(
        parents in prop::collection::vec(0usize..1000, 0..60),
        edges in prop::collection::vec(1u64.., 61),
        order in prop::collection::vec(any::<u32>(), 61),
        lost in prop::option::of(0usize..61),
    ) {
        let mut edges = edges;
        edges.sort_unstable();
        edges.dedup();
        prop_assume!(edges.len() == 61);
        let tuples = parents.len() + 1;
        let mut deltas: Vec<u64> = edges[..tuples].to_vec();
        for (child, parent) in parents.iter().enumerate() {
            deltas[parent % (child + 1)] ^= edges[child + 1];
        }
        let mut ledger = ledger(10);
        let root = ledger.open(0);
        prop_assert_eq!(ledger.start(root.slot, edges[0], 1), None);
        let mut sequence: Vec<usize> = (0..tuples).collect();
        sequence.sort_by_key(|tuple| order[*tuple]);
        if let Some(lost) = lost.filter(|lost| *lost < tuples) {
            sequence.retain(|tuple| *tuple != lost);
        }
        let is_whole = sequence.len() == tuples;
        let last = sequence.len().saturating_sub(1);
        for (place, tuple) in sequence.into_iter().enumerate() {
            let done = ledger.apply(&delta(root, deltas[tuple]), at(1));
            // An earlier zero needs 64 random bits to cancel by chance.
            prop_assert_eq!(is_settled(done), is_whole && place == last);
        }
        prop_assert_eq!(ledger.open_trees(), usize::from(!is_whole));
    }
}
