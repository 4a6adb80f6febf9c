//! The components of a topology: which task is whose, and what tasks ask for.

use galerna_protocol::TaskRange;

use super::TopologyView;
use super::assignment::executors_of;
use super::board::Demand;
use super::placement::Executor;

#[derive(Clone, Copy, Debug)]
struct Component {
    first_task: u32,
    tasks: u32,
    executors: u32,
    /// Of each task.
    demand: Demand,
    /// How many tasks the components before it have.
    offset: usize,
}

/// The components of a topology.
#[derive(Debug)]
pub(super) struct Components {
    /// In the topology's order.
    components: Vec<Component>,
    /// Their places by first task.
    by_task: Vec<usize>,
    task_count: usize,
    asks_for_something: bool,
}

impl Components {
    pub(super) fn new(view: &TopologyView) -> Self {
        let mut task_count = 0;
        let mut components = Vec::with_capacity(view.components.len());
        for component in &view.components {
            let demand = Demand::new(component.cpu, component.memory_mb);
            // What would go beyond the last number that a task can have is no task.
            let tasks = component.tasks.min(u32::MAX - component.first_task);
            let (first_task, executors) = (component.first_task, component.executors);
            components.push(Component { first_task, tasks, executors, demand, offset: task_count });
            task_count += tasks as usize;
        }
        let mut by_task: Vec<usize> = (0..components.len()).collect();
        by_task.sort_by_key(|at| components[*at].first_task);
        let asks_for_something = components.iter().any(|component| component.demand != Demand::default());
        Self { components, by_task, task_count, asks_for_something }
    }

    /// All executors as they are wanted, in order.
    pub(super) fn wanted_executors(&self) -> Vec<Executor> {
        let executors = |(at, component): (usize, &Component)| {
            let ranges = executors_of(component.first_task, component.tasks, component.executors);
            ranges.into_iter().map(move |tasks| Executor { tasks, component: at })
        };
        self.components.iter().enumerate().flat_map(executors).collect()
    }

    /// The component that all these tasks belong to.
    fn component_of(&self, range: TaskRange) -> Option<usize> {
        let after = self.by_task.partition_point(|at| self.components[*at].first_task <= range.first);
        let at = self.by_task[after.checked_sub(1)?];
        let component = self.components[at];
        (range.first <= range.last && range.last - component.first_task < component.tasks).then_some(at)
    }

    pub(super) fn demand(&self, executors: &[Executor]) -> Demand {
        if !self.asks_for_something {
            return Demand::default();
        }
        let demand = |executor: &Executor| self.components[executor.component].demand.times(executor.tasks.count());
        executors.iter().map(demand).fold(Demand::default(), Demand::plus)
    }

    pub(super) fn coverage(&self) -> Coverage {
        Coverage { is_covered: vec![false; self.task_count], covered: 0 }
    }

    /// What `coverage` lacks, cut as the wanted executors are.
    fn gaps(&self, coverage: &Coverage) -> Vec<(usize, TaskRange)> {
        let mut gaps: Vec<(usize, TaskRange)> = Vec::new();
        for Executor { tasks: range, component } in self.wanted_executors() {
            let Component { first_task, offset, .. } = self.components[component];
            let mut gap: Option<TaskRange> = None;
            for task in range.tasks() {
                if coverage.is_covered[offset + (task - first_task) as usize] {
                    gaps.extend(gap.take().map(|gap| (component, gap)));
                } else {
                    gap = Some(TaskRange { first: gap.map_or(task, |gap| gap.first), last: task });
                }
            }
            gaps.extend(gap.map(|gap| (component, gap)));
        }
        gaps
    }
}

/// Which tasks have been met.
#[derive(Debug)]
pub(super) struct Coverage {
    is_covered: Vec<bool>,
    covered: usize,
}

impl Coverage {
    /// Marks the tasks of an executor, and says whose they are; `None`, and nothing is marked, if they
    /// are not all of one component, or one of them was there before.
    pub(super) fn cover(&mut self, components: &Components, range: TaskRange) -> Option<usize> {
        let at = components.component_of(range)?;
        let component = &components.components[at];
        let first = component.offset + (range.first - component.first_task) as usize;
        let marks = &mut self.is_covered[first..first + range.count() as usize];
        if marks.contains(&true) {
            return None;
        }
        marks.fill(true);
        self.covered += marks.len();
        Some(at)
    }

    /// The tasks that were not met, with their components.
    pub(super) fn missing(&self, components: &Components) -> Vec<(usize, TaskRange)> {
        if self.covered == self.is_covered.len() { Vec::new() } else { components.gaps(self) }
    }
}
