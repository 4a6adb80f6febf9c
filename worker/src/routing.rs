//! Groupings as decisions: which targets of a consumer receive a row. The target of a row of a shuffle
//! grouping is decided at departure: see `outbox/shuffle.rs`.

mod hash;

use std::sync::Arc;

use galerna_topology_api::{CustomGrouping, Fields, Grouping, GroupingContext, TaskId, Value};

use crate::panics::{Panic, guarded};
pub(crate) use hash::KeyHasher;

/// Which targets a row goes to; targets are counted from 0 in the order of their tasks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One target. For a shuffle grouping, the target is decided at departure.
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
    /// `true` prefers targets in the same worker.
    Shuffle(bool),
    Fields {
        places: Vec<usize>,
        hasher: KeyHasher,
    },
    PartialKey {
        places: Vec<usize>,
        hasher: KeyHasher,
        sent: Vec<u64>,
    },
    Global,
    All,
    Direct {
        tasks: Arc<[TaskId]>,
    },
    Custom {
        grouping: Box<dyn CustomGrouping>,
        tasks: Arc<[TaskId]>,
        chosen: Vec<TaskId>,
    },
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
    /// The router of a grouping.
    pub(crate) fn new(grouping: &Grouping, context: &GroupingContext) -> Self {
        let tasks = context.targets.clone();
        let kind = match grouping {
            Grouping::LocalOrShuffle => Kind::Shuffle(true),
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
            _ => Kind::Shuffle(false),
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
            Kind::Shuffle(_) => Choice::One(0),
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

    /// For a shuffle grouping, whether it prefers targets in the same worker; `None` for other groupings.
    pub(crate) fn shuffles(&self) -> Option<bool> {
        if let Kind::Shuffle(prefers_local) = self.kind { Some(prefers_local) } else { None }
    }

    /// Whether the grouping ignores rows: all rows go to the first target, or to the shared buffer.
    pub(crate) fn is_blind(&self) -> bool {
        matches!(self.kind, Kind::Shuffle(_) | Kind::Global)
    }

    /// The targets of the last [`Choice::Chosen`].
    pub(crate) fn chosen(&self) -> &[usize] {
        &self.chosen
    }
}

/// The target of a key: contiguous ranges of hashes, so that state can be split later.
fn target_of(hash: u64, targets: usize) -> usize {
    ((u128::from(hash) * targets as u128) >> 64) as usize
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
        Router::new(grouping, &context)
    }

    fn one(router: &mut Router, key: &str) -> usize {
        match router.route(&values![key, 1], None) {
            Ok(Choice::One(target)) => target,
            other => panic!("{other:?}"),
        }
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
