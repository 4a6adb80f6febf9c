//! The threads of a run: user code on one runtime, what must never wait for it on another.

use std::future::Future;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::worker::Lane;

/// Threads of the data runtime at most.
const MOST_THREADS: usize = 256;

/// Where a run's tasks are spawned.
#[derive(Debug)]
pub(super) struct Runtimes {
    kind: Kind,
    coordinator: JoinSet<()>,
}

#[derive(Debug)]
enum Kind {
    /// Threads of the run's own.
    Own { data: Option<Runtime>, control: Option<Runtime> },
    /// The runtime of a test.
    Current(Handle),
}

impl Runtimes {
    /// Starts threads for this many lanes.
    ///
    /// There is a thread per lane, as Storm has one per executor, so that code that blocks without
    /// saying so holds up only itself.
    pub(super) fn own(lanes: usize) -> std::io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let data = Builder::new_multi_thread()
            .worker_threads(lanes.clamp(cores, MOST_THREADS.max(cores)))
            .thread_name("galerna-data")
            .enable_all()
            .build()?;
        let control =
            Builder::new_multi_thread().worker_threads(1).thread_name("galerna-control").enable_all().build()?;
        Ok(Self { kind: Kind::Own { data: Some(data), control: Some(control) }, coordinator: JoinSet::new() })
    }

    /// The runtime that this is called on.
    #[cfg(feature = "testing")]
    pub(super) fn current() -> Self {
        Self { kind: Kind::Current(Handle::current()), coordinator: JoinSet::new() }
    }

    fn data(&self) -> &Handle {
        match &self.kind {
            Kind::Own { data: Some(data), .. } => data.handle(),
            Kind::Own { data: None, .. } => unreachable!("taken only when dropped"),
            Kind::Current(handle) => handle,
        }
    }

    fn control(&self) -> &Handle {
        match &self.kind {
            Kind::Own { control: Some(control), .. } => control.handle(),
            Kind::Own { control: None, .. } => unreachable!("taken only when dropped"),
            Kind::Current(handle) => handle,
        }
    }

    /// The data runtime.
    pub(super) fn handle(&self) -> Handle {
        self.data().clone()
    }

    /// Spawns lanes: those that block get a thread each.
    ///
    /// # Errors
    /// When such a thread cannot be had.
    pub(super) fn spawn_lanes(&self, lanes: Vec<Lane>) -> std::io::Result<Lanes> {
        let (abort, aborted) = watch::channel(false);
        let mut spawned = Lanes { tasks: JoinSet::new(), control: self.control().clone(), abort };
        for lane in lanes {
            if lane.is_blocking && matches!(self.kind, Kind::Own { .. }) {
                spawn_thread(&lane.component, lane.future, aborted.clone())?;
            } else {
                spawned.tasks.spawn_on(lane.future, self.data());
            }
        }
        Ok(spawned)
    }

    pub(super) fn spawn_coordinator(&mut self, coordinator: impl Future<Output = ()> + Send + 'static) {
        let control = self.control().clone();
        self.coordinator.spawn_on(coordinator, &control);
    }
}

/// User code may block for ever: nothing waits for its threads.
impl Drop for Runtimes {
    fn drop(&mut self) {
        self.coordinator.abort_all();
        if let Kind::Own { data, control } = &mut self.kind {
            [data.take(), control.take()].into_iter().flatten().for_each(Runtime::shutdown_background);
        }
    }
}

/// Runs a lane on a thread with a runtime of its own, until it ends or is aborted between calls.
fn spawn_thread(
    component: &str,
    lane: impl Future<Output = ()> + Send + 'static,
    mut aborted: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("galerna-{component}")).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = aborted.wait_for(|is_aborted| *is_aborted) => {}
                () = lane => {}
            }
        });
    })?;
    Ok(())
}

/// The running lanes and links; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Lanes {
    tasks: JoinSet<()>,
    control: Handle,
    abort: watch::Sender<bool>,
}

impl Lanes {
    /// Spawns the links, away from user code.
    pub(super) fn spawn_links(&mut self, links: Vec<impl Future<Output = ()> + Send + 'static>) {
        for link in links {
            self.tasks.spawn_on(link, &self.control);
        }
    }

    /// Waits for the next lane that ends; whether it panicked, which only the engine itself can do.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub(super) async fn next_panic(&mut self) -> String {
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
    pub(super) async fn end(mut self) {
        let _ = self.abort.send(true);
        self.tasks.abort_all();
        // One that blocks cannot be ended: it is left behind.
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), all).await;
        self.tasks.detach_all();
    }
}
