//! Groupings as decisions: which targets of a consumer receive a row.

mod hash;

use std::sync::Arc;

use galerna_topology_api::{CustomGrouping, Fields, Grouping, GroupingContext, TaskId, Value};

use crate::panics::{Panic, guarded};
pub(crate) use hash::KeyHasher;

/// Rows that go to one target before shuffle turns to the next.
pub(crate) const SHUFFLE_RUN: u32 = 1024;

/// Which targets a row goes to; targets are counted from 0 in the order of their tasks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One of them.
    One(usize),
    /// All of them.
    All,
    /// Those in the router's list: see [`Router::chosen`].
    Chosen,
}

/// How one emitting task deals the rows of one stream to the tasks of one bolt.
pub(crate) struct Router {
    kind: Kind,
    targets: usize,
    chosen: Vec<usize>,
}

enum Kind {
    Shuffle(Shuffle),
    Fields { places: Vec<usize>, hasher: KeyHasher },
    PartialKey { places: Vec<usize>, hasher: KeyHasher, sent: Vec<u64> },
    Global,
    All,
    Direct { tasks: Arc<[TaskId]> },
    Custom { grouping: Box<dyn CustomGrouping>, tasks: Arc<[TaskId]>, chosen: Vec<TaskId> },
}

/// Deals runs of rows to the targets that have got least so far, so that two of them never differ by
/// more than a run, however often the buffers are sent half full.
struct Shuffle {
    /// Whether it prefers targets in the same worker.
    is_local: bool,
    among: Vec<usize>,
    sent: Vec<u64>,
    current: usize,
    in_run: u32,
}

impl Shuffle {
    fn new(is_local: bool, among: Vec<usize>, first: usize) -> Self {
        Self { is_local, sent: vec![0; among.len()], current: first % among.len(), among, in_run: 0 }
    }

    #[inline]
    fn next(&mut self) -> usize {
        if self.in_run >= SHUFFLE_RUN {
            self.turn();
        }
        self.in_run += 1;
        self.among[self.current]
    }

    /// Ends the run.
    fn turn(&mut self) {
        if self.in_run == 0 || self.among.len() == 1 {
            self.in_run = 0;
            return;
        }
        self.sent[self.current] += u64::from(self.in_run);
        self.in_run = 0;
        let count = self.among.len();
        let after = (1..=count).map(|step| (self.current + step) % count);
        self.current = after.min_by_key(|place| self.sent[*place]).unwrap_or(0);
    }
}

/// Why a row goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stray {
    /// It was meant for a task that does not receive the stream.
    #[error("task {0} does not receive this stream")]
    NotATarget(TaskId),
    /// The custom grouping panicked.
    #[error("the custom grouping {0}")]
    Panicked(String),
    /// A value is nested too deeply to cross a link.
    #[error("a value is nested deeper than {0}")]
    TooDeep(usize),
}

impl Router {
    /// A router as the grouping says. `is_local` tells which tasks are in the same worker; `first`
    /// is the target that shuffle begins with, so that many emitting tasks do not begin alike.
    pub(crate) fn new(
        grouping: &Grouping,
        context: &GroupingContext,
        is_local: impl Fn(TaskId) -> bool,
        first: usize,
    ) -> Self {
        let tasks = context.targets.clone();
        let shuffle = |is_local, among| Kind::Shuffle(Shuffle::new(is_local, among, first));
        let kind = match grouping {
            Grouping::LocalOrShuffle => shuffle(true, preferred(tasks.len(), |target| is_local(tasks[target]))),
            Grouping::Fields(fields) => {
                Kind::Fields { places: places_of(fields, &context.fields), hasher: KeyHasher::default() }
            }
            Grouping::PartialKey(fields) => Kind::PartialKey {
                places: places_of(fields, &context.fields),
                hasher: KeyHasher::default(),
                sent: vec![0; tasks.len()],
            },
            Grouping::Global => Kind::Global,
            Grouping::All => Kind::All,
            Grouping::Direct => Kind::Direct { tasks: tasks.clone() },
            Grouping::Custom(factory) => {
                Kind::Custom { grouping: factory.make(context), tasks: tasks.clone(), chosen: Vec::new() }
            }
            _ => shuffle(false, (0..tasks.len()).collect()),
        };
        Self { kind, targets: tasks.len(), chosen: Vec::new() }
    }

    /// Decides where a row goes.
    ///
    /// # Errors
    /// When the emitter or a custom grouping names a task that does not receive the stream.
    #[inline]
    pub(crate) fn route(&mut self, values: &[Value], direct: Option<TaskId>) -> Result<Choice, Stray> {
        Ok(match &mut self.kind {
            Kind::Shuffle(shuffle) => Choice::One(shuffle.next()),
            Kind::Fields { places, hasher } => Choice::One(target_of(hasher.hash(values, places), self.targets)),
            Kind::PartialKey { places, hasher, sent } => {
                let [first, second] = hasher.two_hashes(values, places);
                let (first, second) = (target_of(first, self.targets), target_of(second, self.targets));
                let target = if sent[second] < sent[first] { second } else { first };
                sent[target] += 1;
                Choice::One(target)
            }
            Kind::Global => Choice::One(0),
            Kind::All => Choice::All,
            Kind::Direct { tasks } => {
                let task = direct.unwrap_or_default();
                Choice::One(tasks.binary_search(&task).map_err(|_| Stray::NotATarget(task))?)
            }
            Kind::Custom { grouping, tasks, chosen } => {
                chosen.clear();
                guarded(|| grouping.choose(values, chosen)).map_err(|Panic(message)| Stray::Panicked(message))?;
                self.chosen.clear();
                for task in chosen.iter() {
                    self.chosen.push(tasks.binary_search(task).map_err(|_| Stray::NotATarget(*task))?);
                }
                Choice::Chosen
            }
        })
    }

    /// Decides where this many rows go, if they all go to one target whatever is in them.
    pub(crate) fn route_run(&mut self, rows: usize) -> Option<usize> {
        match &mut self.kind {
            Kind::Shuffle(shuffle) => {
                let target = shuffle.next();
                shuffle.in_run += rows as u32 - 1;
                Some(target)
            }
            Kind::Global => Some(0),
            _ => None,
        }
    }

    /// Tasks have come to this worker or left it: those that are here are preferred from now on, if
    /// the grouping says so.
    pub(crate) fn relocate(&mut self, is_local: impl Fn(usize) -> bool) {
        if let Kind::Shuffle(shuffle) = &mut self.kind
            && shuffle.is_local
        {
            let among = preferred(self.targets, is_local);
            if among != shuffle.among {
                *shuffle = Shuffle::new(true, among, shuffle.current);
            }
        }
    }

    /// The targets of the last [`Choice::Chosen`].
    pub(crate) fn chosen(&self) -> &[usize] {
        &self.chosen
    }

    /// The buffers were sent: shuffle turns to the next target, so that few rows spread too.
    pub(crate) fn flushed(&mut self) {
        if let Kind::Shuffle(shuffle) = &mut self.kind {
            shuffle.turn();
        }
    }
}

/// The target of a key: contiguous ranges of hashes, so that state can be split later.
fn target_of(hash: u64, targets: usize) -> usize {
    ((u128::from(hash) * targets as u128) >> 64) as usize
}

/// The targets in the same worker, or all if there are none.
fn preferred(targets: usize, is_local: impl Fn(usize) -> bool) -> Vec<usize> {
    let local: Vec<usize> = (0..targets).filter(|target| is_local(*target)).collect();
    if local.is_empty() { (0..targets).collect() } else { local }
}

fn places_of(names: &Fields, fields: &Fields) -> Vec<usize> {
    names.iter().filter_map(|name| fields.index_of(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use galerna_topology_api::{CustomGroupingFactory, values};
    use proptest::prelude::*;

    fn router(grouping: &Grouping, targets: u32) -> Router {
        let context = GroupingContext {
            source_component: "source".into(),
            source_task: 1,
            fields: ["key", "n"].into(),
            targets: (10..10 + targets).collect(),
        };
        Router::new(grouping, &context, |task| task == 11, 0)
    }

    fn one(router: &mut Router, key: &str) -> usize {
        match router.route(&values![key, 1], None) {
            Ok(Choice::One(target)) => target,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shuffle_to_two_tasks_differs_by_at_most_one_batch() {
        let mut router = router(&Grouping::Shuffle, 2);
        let mut counts = [0u32; 2];
        for n in 0..100_000 {
            counts[one(&mut router, "x")] += 1;
            if n % 1000 == 0 {
                router.flushed();
            }
            assert!(counts[0].abs_diff(counts[1]) <= SHUFFLE_RUN);
        }
        assert!((49_000..=51_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn partial_key_uses_at_most_two_tasks_per_key_and_balances_a_hot_one() {
        let mut router = router(&Grouping::PartialKey(["key"].into()), 8);
        let mut counts = [0u32; 8];
        for _ in 0..1000 {
            counts[one(&mut router, "hot")] += 1;
        }
        let used: Vec<_> = counts.iter().filter(|count| **count > 0).collect();
        assert!(used.len() <= 2, "{counts:?}");
        assert!(used.iter().all(|count| **count == 500), "{counts:?}");
    }

    #[test]
    fn local_or_shuffle_prefers_tasks_of_the_same_worker() {
        let mut router = router(&Grouping::LocalOrShuffle, 4);
        assert!((0..1000).all(|_| one(&mut router, "x") == 1));
    }

    #[test]
    fn global_is_the_lowest_task_and_all_is_every_task() {
        assert_eq!(one(&mut router(&Grouping::Global, 3), "x"), 0);
        assert_eq!(router(&Grouping::All, 3).route(&values!["x", 1], None), Ok(Choice::All));
    }

    #[test]
    fn direct_goes_to_the_named_task_and_refuses_others() {
        let mut router = router(&Grouping::Direct, 3);
        assert_eq!(router.route(&values!["x", 1], Some(12)), Ok(Choice::One(2)));
        assert_eq!(router.route(&values!["x", 1], Some(13)), Err(Stray::NotATarget(13)));
    }

    #[test]
    fn custom_chooses_among_the_targets_only() {
        struct Last(TaskId);
        impl CustomGrouping for Last {
            fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
                chosen.push(self.0);
            }
        }
        let custom = |task| Grouping::Custom(CustomGroupingFactory::new("last", move |_: &GroupingContext| Last(task)));
        let mut good = router(&custom(12), 3);
        assert_eq!(good.route(&values!["x", 1], None), Ok(Choice::Chosen));
        assert_eq!(good.chosen(), [2]);
        assert_eq!(router(&custom(1), 3).route(&values!["x", 1], None), Err(Stray::NotATarget(1)));
    }

    proptest! {
        #[test]
        fn equal_keys_go_to_the_same_task_from_every_emitter(keys in prop::collection::vec(".{0,12}", 1..50), targets in 1u32..20) {
            let grouping = Grouping::Fields(["key"].into());
            let (mut a, mut b) = (router(&grouping, targets), router(&grouping, targets));
            for key in keys {
                let target = one(&mut a, &key);
                prop_assert!(target < targets as usize);
                prop_assert_eq!(target, one(&mut b, &key));
            }
        }
    }
}
