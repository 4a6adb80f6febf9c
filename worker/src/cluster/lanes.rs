//! The threads of a worker's executors: each has one while it has tasks.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use galerna_protocol::TaskRange;
use galerna_topology_api::TaskId;
use galerna_topology_api::engine::BoxFuture;
use tokio::task::{AbortHandle, JoinSet};

use crate::lane;
use crate::run_queue::RunQueue;
use crate::runtimes::{OwnThread, Shard};

/// A thread and how many tasks it drives.
#[derive(Debug)]
struct Lane {
    shard: Shard,
    /// What its tasks share.
    lane: Arc<lane::Lane>,
    tasks: usize,
    /// Whether the lane belongs to a blocking executor and is never shared.
    is_blocking: bool,
    /// Whether the lane drives a single task.
    own_thread: OwnThread,
}

impl Lane {
    fn add(&mut self, tasks: isize) {
        self.tasks = self.tasks.saturating_add_signed(tasks);
        self.own_thread.set(self.tasks == 1);
    }
}

/// The lane of an executor that has tasks in this worker.
#[derive(Debug)]
struct Home {
    /// The place of the lane in `lanes`.
    place: usize,
    tasks: usize,
}

/// A place for a task on the thread of its executor.
#[derive(Debug)]
pub(super) struct Seat {
    place: usize,
    pub(super) lane: Arc<lane::Lane>,
    /// Whether the task is alone on the thread.
    pub(super) own_thread: OwnThread,
}

/// Where tasks are spawned.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The most lanes for executors that do not block.
    most: usize,
    /// The turns of the threads of executors that do not block.
    queue: Arc<RunQueue>,
    lanes: Vec<Lane>,
    /// The lanes of executors, by the first task of each executor.
    executors: BTreeMap<TaskId, Home>,
    /// The first task of each task's executor.
    tasks: BTreeMap<TaskId, TaskId>,
    free: Vec<usize>,
    spawned: JoinSet<()>,
}

impl Lanes {
    /// No lanes yet, and up to `most` for executors that do not block.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            queue: RunQueue::for_cores(),
            lanes: Vec::new(),
            executors: BTreeMap::new(),
            tasks: BTreeMap::new(),
            free: Vec::new(),
            spawned: JoinSet::new(),
        }
    }

    /// Finds a place for a task on the thread of its executor. The first task identifies the executor. A
    /// blocking executor shares its thread with no other executor.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn seat(
        &mut self,
        task: TaskId,
        executor: TaskRange,
        is_blocking: bool,
        name: &str,
        make: impl FnOnce() -> Arc<lane::Lane>,
    ) -> io::Result<Seat> {
        let place = match self.executors.get_mut(&executor.first) {
            Some(home) => {
                home.tasks += 1;
                home.place
            }
            None => {
                let place = self.lane(is_blocking, name, make)?;
                self.executors.insert(executor.first, Home { place, tasks: 1 });
                place
            }
        };
        self.tasks.insert(task, executor.first);
        let lane = &mut self.lanes[place];
        lane.add(1);
        Ok(Seat { place, lane: lane.lane.clone(), own_thread: lane.own_thread.clone() })
    }

    /// Spawns a task at its place.
    pub(super) fn spawn(&mut self, seat: &Seat, future: BoxFuture<'static, ()>) -> AbortHandle {
        self.spawned.spawn_on(future, &self.lanes[seat.place].shard.handle)
    }

    /// The place of a lane for an executor that has no tasks yet.
    fn lane(&mut self, is_blocking: bool, name: &str, make: impl FnOnce() -> Arc<lane::Lane>) -> io::Result<usize> {
        let is_shareable = |lane: &Lane| lane.tasks > 0 && !lane.is_blocking;
        if !is_blocking && self.lanes.iter().filter(|lane| is_shareable(lane)).count() >= self.most {
            // At the limit, the executor shares the thread with the fewest tasks.
            let shareable = (0..self.lanes.len()).filter(|place| is_shareable(&self.lanes[*place]));
            if let Some(place) = shareable.min_by_key(|place| self.lanes[*place].tasks) {
                return Ok(place);
            }
        }
        let (shard, lane) = (Shard::start(name, (!is_blocking).then_some(&self.queue))?, make());
        self.spawned.spawn_on(lane.clone().drive(), &shard.handle);
        let lane = Lane { shard, lane, tasks: 0, is_blocking, own_thread: OwnThread::default() };
        match self.free.pop() {
            Some(place) => {
                self.lanes[place] = lane;
                Ok(place)
            }
            None => {
                self.lanes.push(lane);
                Ok(self.lanes.len() - 1)
            }
        }
    }

    /// Removes a task that has ended. A thread without tasks is not used again, because user code may have
    /// left state on the thread. Returns the lane of such a thread.
    pub(super) fn ended(&mut self, task: TaskId) -> Option<Arc<lane::Lane>> {
        let executor = self.tasks.remove(&task)?;
        let home = self.executors.get_mut(&executor)?;
        let place = home.place;
        home.tasks -= 1;
        if home.tasks == 0 {
            self.executors.remove(&executor);
        }
        self.lanes[place].add(-1);
        if self.lanes[place].tasks > 0 {
            return None;
        }
        self.free.push(place);
        Some(self.lanes[place].lane.clone())
    }

    /// Waits for a task that panicked, which only the engine itself can do.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub(super) async fn next_panic(&mut self) -> String {
        loop {
            match self.spawned.join_next().await {
                Some(Err(error)) if error.is_panic() => return error.to_string(),
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};

    use super::*;
    use crate::clock::Clock;
    use crate::cluster::tests::parts;

    const MOST: usize = 16;

    /// The threads of a worker's tasks, and whether each task believes that it is alone on its thread.
    struct Trial {
        lanes: Lanes,
        places: BTreeMap<TaskId, (ThreadId, OwnThread)>,
    }

    fn lane() -> Arc<lane::Lane> {
        let (graph, exchange) = (parts::graph(), parts::exchange());
        Arc::new(lane::Lane::new(exchange.add_lane(), &graph, &exchange, Clock::start()))
    }

    impl Trial {
        fn start(&mut self, task: TaskId, executor: TaskRange, is_blocking: bool) {
            let seat = self.lanes.seat(task, executor, is_blocking, "test", lane).expect("a thread");
            let (sender, receiver) = mpsc::channel();
            self.lanes.spawn(&seat, Box::pin(async move { sender.send(current().id()).expect("awaited") }));
            self.places.insert(task, (receiver.recv().expect("it runs"), seat.own_thread));
        }

        fn end(&mut self, task: TaskId) {
            self.lanes.ended(task);
            self.places.remove(&task);
        }

        /// The threads of these tasks.
        fn threads(&self, tasks: impl IntoIterator<Item = TaskId>) -> BTreeSet<String> {
            tasks.into_iter().map(|task| format!("{:?}", self.places[&task].0)).collect()
        }

        /// A task that is alone on its thread knows so, and no other task believes to be alone.
        fn assert_own_threads(&self) {
            for (task, (thread, own_thread)) in &self.places {
                let tasks = self.places.values().filter(|(other, _)| other == thread).count();
                assert_eq!(own_thread.is_exclusive(), tasks == 1, "task {task}");
            }
        }
    }

    #[test]
    fn executors_keep_their_tasks_together_and_blocking_ones_share_no_thread() {
        let mut trial = Trial { lanes: Lanes::new(MOST), places: BTreeMap::new() };
        // Executors of two tasks from 1 on; each eighth blocks.
        let executors: Vec<TaskRange> = (0..32).map(|at| TaskRange::new(2 * at + 1, 2 * at + 2)).collect();
        let blocks = |executor: &TaskRange| executor.first % 16 == 1;
        for executor in &executors {
            trial.start(executor.first, *executor, blocks(executor));
        }
        trial.assert_own_threads();
        for executor in &executors {
            trial.start(executor.last, *executor, blocks(executor));
        }
        trial.assert_own_threads();
        for executor in &executors {
            assert_eq!(trial.threads(executor.tasks()).len(), 1, "{executor:?}");
        }
        let of = |blocking: bool| executors.iter().filter(move |executor| blocks(executor) == blocking);
        let blocking = trial.threads(of(true).map(|executor| executor.first));
        let others = trial.threads(of(false).map(|executor| executor.first));
        assert_eq!((blocking.len(), others.len()), (4, MOST));
        assert!(blocking.is_disjoint(&others));

        // A task that is launched again joins the other task of its executor.
        for executor in &executors {
            trial.end(executor.last);
            trial.assert_own_threads();
            trial.start(executor.last, *executor, blocks(executor));
            assert_eq!(trial.threads(executor.tasks()).len(), 1, "{executor:?}");
        }
        // An executor whose tasks have all ended begins on a new thread.
        let (first, before) = (executors[0], trial.threads(executors[0].tasks()));
        first.tasks().for_each(|task| trial.end(task));
        first.tasks().for_each(|task| trial.start(task, first, true));
        assert!(before.is_disjoint(&trial.threads(first.tasks())));
        assert_eq!(trial.lanes.lanes.len(), 4 + MOST);
    }
}
