//! The threads of a run: user code on threads of its own, what must never wait for it on another.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use galerna_topology_api::engine::BoxFuture;
use smol_str::SmolStr;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Threads for user code at most, those of blocking executors aside.
pub(crate) const MOST_THREADS: usize = 128;

/// The tasks of an executor, which are driven together.
pub(crate) struct Lane {
    pub(crate) futures: Vec<BoxFuture<'static, ()>>,
    pub(crate) is_blocking: bool,
    /// Its component, for the name of its thread.
    pub(crate) component: SmolStr,
}

/// Where a run's tasks are spawned.
///
/// Each lane has a thread, as each executor has in Storm, up to a limit beyond which lanes share
/// them. A thread drives a runtime of its own: on one runtime that moves lanes between threads, a lane
/// that wakes another draws it onto its own thread, and both share a core; and code that blocks
/// without saying so would hold up more than its own lane.
#[derive(Debug)]
pub(crate) struct Runtimes {
    kind: Kind,
    coordinator: JoinSet<()>,
}

#[derive(Debug)]
enum Kind {
    /// Threads of the run's own.
    Own { shards: Vec<Shard>, control: Option<Runtime> },
    /// The runtime of a test.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests bring a runtime"))]
    Current(Handle),
}

/// A thread and its runtime.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) handle: Handle,
    /// Dropped to end the thread, once what it polls returns.
    _keep: oneshot::Sender<()>,
}

impl Shard {
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (_keep, dropped) = oneshot::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = runtime.block_on(dropped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _keep })
    }
}

impl Runtimes {
    /// Starts threads for this many lanes.
    pub(crate) fn own(lanes: usize) -> io::Result<Self> {
        let shards: io::Result<Vec<Shard>> =
            (0..lanes.clamp(1, MOST_THREADS)).map(|number| Shard::start(&format!("galerna-data-{number}"))).collect();
        let control =
            Builder::new_multi_thread().worker_threads(1).thread_name("galerna-control").enable_all().build()?;
        let kind = Kind::Own { shards: shards?, control: Some(control) };
        Ok(Self { kind, coordinator: JoinSet::new() })
    }

    /// The runtime that this is called on.
    #[cfg(feature = "testing")]
    pub(crate) fn current() -> Self {
        Self { kind: Kind::Current(Handle::current()), coordinator: JoinSet::new() }
    }

    /// Whether each lane has a thread of its own.
    pub(crate) fn has_own_threads(&self) -> bool {
        matches!(&self.kind, Kind::Own { shards, .. } if shards.len() < MOST_THREADS)
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
                Kind::Own { shards, .. } if lane.is_blocking => {
                    shards.push(Shard::start(&format!("galerna-{}", lane.component))?);
                    &shards[shards.len() - 1].handle
                }
                Kind::Own { shards, .. } => {
                    place = (place + 1) % shards.len().min(MOST_THREADS);
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
