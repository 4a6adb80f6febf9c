//! The threads of a worker's executors: each has one while it has tasks.

use std::collections::BTreeMap;
use std::io;

use galerna_protocol::TaskRange;
use galerna_topology_api::TaskId;
use galerna_topology_api::engine::BoxFuture;
use tokio::task::{AbortHandle, JoinSet};

use crate::runtimes::{MOST_THREADS, Shard};

/// A thread and how many tasks it drives.
#[derive(Debug)]
struct Lane {
    shard: Shard,
    executor: TaskId,
    tasks: usize,
}

/// Where tasks are spawned.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The place of the lane of each task.
    places: BTreeMap<TaskId, usize>,
    free: Vec<usize>,
    tasks: JoinSet<()>,
}

impl Lanes {
    /// Spawns a task on the thread of its executor, which is known by its first task.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn spawn(
        &mut self,
        task: TaskId,
        executor: TaskRange,
        name: &str,
        future: BoxFuture<'static, ()>,
    ) -> io::Result<AbortHandle> {
        let place = self.place(executor.first, name)?;
        self.lanes[place].tasks += 1;
        self.places.insert(task, place);
        Ok(self.tasks.spawn_on(future, &self.lanes[place].shard.handle))
    }

    fn place(&mut self, executor: TaskId, name: &str) -> io::Result<usize> {
        if let Some(place) = self.lanes.iter().position(|lane| lane.tasks > 0 && lane.executor == executor) {
            return Ok(place);
        }
        if let Some(place) = self.free.pop() {
            self.lanes[place] = Lane { shard: Shard::start(name)?, executor, tasks: 0 };
            return Ok(place);
        }
        if self.lanes.len() < MOST_THREADS {
            self.lanes.push(Lane { shard: Shard::start(name)?, executor, tasks: 0 });
            return Ok(self.lanes.len() - 1);
        }
        // Beyond that they are shared: the one with the fewest tasks.
        Ok((0..self.lanes.len()).min_by_key(|place| self.lanes[*place].tasks).unwrap_or(0))
    }

    /// A task has ended. The thread of an executor without tasks is not used again: user code may
    /// have left something behind on it.
    pub(super) fn ended(&mut self, task: TaskId) {
        if let Some(place) = self.places.remove(&task) {
            self.lanes[place].tasks -= 1;
            if self.lanes[place].tasks == 0 {
                self.free.push(place);
            }
        }
    }

    /// Waits for a task that panicked, which only the engine itself can do.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub(super) async fn next_panic(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => return error.to_string(),
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }
}
