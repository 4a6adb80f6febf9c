//! The threads of a run: user code on threads of its own, what must never wait for it on another.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use galerna_topology_api::engine::BoxFuture;
use smol_str::SmolStr;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::run_queue::RunQueue;

/// The tasks of an executor, which are driven together.
pub(crate) struct Lane {
    pub(crate) futures: Vec<BoxFuture<'static, ()>>,
    pub(crate) is_blocking: bool,
    /// Its component, for the name of its thread.
    pub(crate) component: SmolStr,
}

/// Whether a task is alone on its thread, which may change while the task runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnThread(Arc<AtomicBool>);

impl OwnThread {
    pub(crate) fn new(is_exclusive: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_exclusive)))
    }

    /// Sets whether the task is alone on its thread.
    pub(crate) fn set(&self, is_exclusive: bool) {
        self.0.store(is_exclusive, Ordering::Relaxed);
    }

    /// Whether the task is alone on its thread.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a run's tasks are spawned.
///
/// Each lane has a thread, as each executor has in Storm. Beyond a limit, lanes share threads; lanes that
/// block never do. A thread drives a runtime of its own: on one runtime for all threads, a lane that wakes
/// another lane draws it onto its own thread, and both share a core; and code that blocks without
/// `blocking: true` would hold up other lanes too.
#[derive(Debug)]
pub(crate) struct Runtimes {
    kind: Kind,
    coordinator: JoinSet<()>,
}

#[derive(Debug)]
enum Kind {
    /// Threads of the run.
    Own {
        /// The threads of lanes that do not block.
        shards: Vec<Shard>,
        /// One thread for each lane that blocks.
        blocking: Vec<Shard>,
        /// Whether there are fewer shards than lanes that do not block.
        is_shared: bool,
        control: Option<Runtime>,
    },
    /// The runtime of a test.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests bring a runtime"))]
    Current(Handle),
}

/// The lanes of a run that have a thread of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnThreads {
    All,
    /// The lanes that block.
    Blocking,
    None,
}

impl OwnThreads {
    /// Whether a lane has a thread of its own.
    pub(crate) fn include(self, is_blocking: bool) -> bool {
        self == Self::All || (self == Self::Blocking && is_blocking)
    }
}

/// A thread and its runtime.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) handle: Handle,
    /// Dropped to end the thread, once what it polls returns.
    _keep: oneshot::Sender<()>,
}

impl Shard {
    /// Starts a thread, which runs in its turns if it is given a queue.
    pub(crate) fn start(name: &str, queue: Option<&Arc<RunQueue>>) -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        let turns = queue.map(|queue| queue.schedule(&mut builder));
        let runtime = builder.enable_all().build()?;
        let handle = runtime.handle().clone();
        let (_keep, dropped) = oneshot::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = runtime.block_on(dropped);
            runtime.shutdown_background();
            drop(turns);
        })?;
        Ok(Self { handle, _keep })
    }
}

impl Runtimes {
    /// Starts threads for this many lanes that do not block: one for each lane, but at most `most`.
    pub(crate) fn own(lanes: usize, most: usize) -> io::Result<Self> {
        let queue = RunQueue::for_cores();
        let shards = (0..lanes.min(most)).map(|number| Shard::start(&format!("galerna-data-{number}"), Some(&queue)));
        let shards: io::Result<Vec<Shard>> = shards.collect();
        let control =
            Builder::new_multi_thread().worker_threads(1).thread_name("galerna-control").enable_all().build()?;
        let is_shared = lanes > most;
        let kind = Kind::Own { shards: shards?, blocking: Vec::new(), is_shared, control: Some(control) };
        Ok(Self { kind, coordinator: JoinSet::new() })
    }

    /// The runtime that this is called on.
    #[cfg(feature = "testing")]
    pub(crate) fn current() -> Self {
        Self { kind: Kind::Current(Handle::current()), coordinator: JoinSet::new() }
    }

    /// The lanes that have a thread of their own.
    pub(crate) fn own_threads(&self) -> OwnThreads {
        match &self.kind {
            Kind::Own { is_shared: false, .. } => OwnThreads::All,
            Kind::Own { is_shared: true, .. } => OwnThreads::Blocking,
            Kind::Current(_) => OwnThreads::None,
        }
    }

    /// The runtime for all that must not wait for user code.
    pub(crate) fn control(&self) -> Handle {
        match &self.kind {
            Kind::Own { control: Some(control), .. } => control.handle().clone(),
            Kind::Own { control: None, .. } => unreachable!("taken only when dropped"),
            Kind::Current(handle) => handle.clone(),
        }
    }

    /// Spawns lanes, one after the other on the next thread; those that block get one each.
    ///
    /// # Errors
    /// When such a thread cannot be had.
    pub(crate) fn spawn_lanes(&mut self, lanes: Vec<Lane>) -> io::Result<Lanes> {
        let mut spawned = Lanes { tasks: JoinSet::new(), control: self.control() };
        let mut place = 0;
        for lane in lanes {
            let handle = match &mut self.kind {
                Kind::Own { blocking, .. } if lane.is_blocking => {
                    blocking.push(Shard::start(&format!("galerna-{}", lane.component), None)?);
                    &blocking[blocking.len() - 1].handle
                }
                Kind::Own { shards, .. } => {
                    place = (place + 1) % shards.len();
                    &shards[place].handle
                }
                Kind::Current(handle) => handle,
            };
            for future in lane.futures {
                spawned.tasks.spawn_on(future, handle);
            }
        }
        Ok(spawned)
    }

    pub(crate) fn spawn_coordinator(&mut self, coordinator: impl Future<Output = ()> + Send + 'static) {
        let control = self.control();
        self.coordinator.spawn_on(coordinator, &control);
    }
}

/// User code may block for ever: nothing waits for its threads.
impl Drop for Runtimes {
    fn drop(&mut self) {
        self.coordinator.abort_all();
        if let Kind::Own { control, .. } = &mut self.kind
            && let Some(control) = control.take()
        {
            control.shutdown_background();
        }
    }
}

/// The running lanes and links; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Lanes {
    tasks: JoinSet<()>,
    control: Handle,
}

impl Lanes {
    /// Spawns the links, away from user code.
    pub(crate) fn spawn_links(&mut self, links: Vec<impl Future<Output = ()> + Send + 'static>) {
        for link in links {
            self.tasks.spawn_on(link, &self.control);
        }
    }

    /// Waits for a lane that panicked, which only the engine itself can do.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub(crate) async fn next_panic(&mut self) -> String {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                return error.to_string();
            }
        }
        std::future::pending().await
    }

    /// Ends them all; each is dropped where it waits.
    pub(crate) async fn end(mut self) {
        self.tasks.abort_all();
        // One that blocks cannot be ended: it is left behind.
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(100), all).await;
        self.tasks.detach_all();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc;

    use super::*;

    const MOST: usize = 16;

    /// Runs lanes of two tasks each; the threads of the tasks, lane by lane.
    fn threads_of(runtimes: &mut Runtimes, blocking: &[bool]) -> Vec<[String; 2]> {
        let mut receivers = Vec::new();
        let mut task = || {
            let (sender, receiver) = mpsc::channel();
            receivers.push(receiver);
            let note = async move { sender.send(format!("{:?}", thread::current().id())).expect("awaited") };
            Box::pin(note) as BoxFuture<'static, ()>
        };
        let mut lane = |is_blocking: &bool| Lane {
            futures: vec![task(), task()],
            is_blocking: *is_blocking,
            component: SmolStr::new("test"),
        };
        let lanes: Vec<Lane> = blocking.iter().map(&mut lane).collect();
        let _spawned = runtimes.spawn_lanes(lanes).expect("threads");
        let threads: Vec<String> = receivers.iter().map(|receiver| receiver.recv().expect("it runs")).collect();
        threads.chunks(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
    }

    /// Lanes of which every eighth blocks, on the threads of a run.
    fn assert_threads(count: usize, own_threads: OwnThreads) {
        let blocking: Vec<bool> = (0..count).map(|at| at % 8 == 0).collect();
        let sharing = blocking.iter().filter(|is_blocking| !**is_blocking).count();
        let mut runtimes = Runtimes::own(sharing, MOST).expect("threads");
        assert_eq!(runtimes.own_threads(), own_threads);
        let lanes = threads_of(&mut runtimes, &blocking);
        assert!(lanes.iter().all(|[first, second]| first == second), "a lane stays on one thread");
        let of = |is: bool| lanes.iter().zip(&blocking).filter(move |(_, blocking)| **blocking == is);
        let alone: BTreeSet<_> = of(true).map(|(lane, _)| &lane[0]).collect();
        let others: BTreeSet<_> = of(false).map(|(lane, _)| &lane[0]).collect();
        assert_eq!((alone.len(), others.len()), (count - sharing, sharing.min(MOST)));
        assert!(alone.is_disjoint(&others));
    }

    #[test]
    fn lanes_that_block_have_threads_of_their_own_beyond_the_limit_for_others() {
        // 16 that do not block, with 3 that do.
        assert_threads(19, OwnThreads::All);
        assert_threads(32, OwnThreads::Blocking);
    }

    #[test]
    fn task_lingers_only_where_its_lane_has_a_thread_of_its_own() {
        let include = |own: OwnThreads| [own.include(false), own.include(true)];
        assert_eq!(include(OwnThreads::All), [true, true]);
        assert_eq!(include(OwnThreads::Blocking), [false, true]);
        assert_eq!(include(OwnThreads::None), [false, false]);
    }
}
