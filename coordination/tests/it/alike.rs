//! Random transactions: memory and etcd answer alike.

use std::cell::Cell;
use std::collections::BTreeMap;

use galerna_coordination::testing::EtcdServer;
use galerna_coordination::{Condition, MemoryStore, Operation, Store, Transaction};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

/// A condition on one of a few keys. Revisions differ between stores, so they are named by what they
/// were: the key's present ones, or others.
#[derive(Clone, Debug)]
enum Wanted {
    Absent(u8),
    Present(u8),
    Modified(u8, bool),
    Created(u8, bool),
}

#[derive(Clone, Debug)]
struct Step {
    wanted: Vec<Wanted>,
    /// Keys that are set, or deleted.
    operations: BTreeMap<u8, Option<u8>>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..4_u8;
    let wanted = prop_oneof![
        key.clone().prop_map(Wanted::Absent),
        key.clone().prop_map(Wanted::Present),
        (key.clone(), any::<bool>()).prop_map(|(key, is_present)| Wanted::Modified(key, is_present)),
        (key.clone(), any::<bool>()).prop_map(|(key, is_present)| Wanted::Created(key, is_present)),
    ];
    let operations = proptest::collection::btree_map(key, proptest::option::weighted(0.7, any::<u8>()), 0..3);
    let step = (proptest::collection::vec(wanted, 0..3), operations)
        .prop_map(|(wanted, operations)| Step { wanted, operations });
    proptest::collection::vec(step, 1..12)
}

/// What can be compared: whether each step was carried out, and what stands in the end, with the order
/// in which it came about.
type Outcome = (Vec<bool>, Vec<(String, Vec<u8>, usize, usize)>);

async fn outcome(store: &dyn Store, root: &str, steps: &[Step]) -> Outcome {
    let key = |n: u8| format!("{root}{n}");
    let (mut answers, mut revisions) = (Vec::new(), Vec::new());
    for step in steps {
        let mut transaction = Transaction::new();
        for wanted in &step.wanted {
            transaction = transaction.when(match *wanted {
                Wanted::Absent(n) => Condition::Absent(key(n)),
                Wanted::Present(n) => Condition::Present(key(n)),
                Wanted::Modified(n, is_present) => {
                    let entry = store.get(&key(n)).await.unwrap();
                    Condition::Modified(key(n), entry.map_or(0, |entry| entry.modified) + i64::from(!is_present))
                }
                Wanted::Created(n, is_present) => {
                    let entry = store.get(&key(n)).await.unwrap();
                    Condition::Created(key(n), entry.map_or(0, |entry| entry.created) + i64::from(!is_present))
                }
            });
        }
        transaction.operations.extend(step.operations.iter().map(|(n, value)| match value {
            Some(value) => Operation::Put { key: key(*n), value: vec![*value], lease: None },
            None => Operation::Delete(key(*n)),
        }));
        let answer = store.commit(transaction).await.unwrap();
        answers.push(answer.is_some());
        revisions.extend(answer);
    }
    revisions.dedup();
    let rank = |revision| revisions.binary_search(&revision).expect("made by one of the steps");
    let entries = store.list(root).await.unwrap().entries.into_iter();
    let left = entries.map(|entry| {
        let name = entry.key.trim_start_matches(root).to_owned();
        (name, entry.value, rank(entry.created), rank(entry.modified))
    });
    (answers, left.collect())
}

#[test]
fn memory_and_etcd_answer_random_transactions_alike() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(EtcdServer::start()).unwrap();
    let etcd = server.store().unwrap();
    let case = Cell::new(0);
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 48, ..Config::default() });
    let answer = runner.run(&steps(), |steps| {
        case.set(case.get() + 1);
        let root = format!("/{:04}/", case.get());
        let memory = MemoryStore::new();
        let (in_memory, in_etcd) =
            runtime.block_on(async { (outcome(&memory, &root, &steps).await, outcome(&etcd, &root, &steps).await) });
        prop_assert_eq!(in_memory, in_etcd);
        Ok(())
    });
    answer.unwrap();
}
