//! What a task knows about its topology and itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::config::TopologyConfig;
use crate::engine::{BoxFuture, DeadLetter, TaskPort};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::fields::{DEFAULT_STREAM, Fields, Streams};
use crate::hooks::TaskHook;
use crate::metrics::{Counter, Gauge, Histogram, Metrics};
use crate::output_handle::OutputHandle;
use crate::resources::Resources;
use crate::retry::Retrying;
use crate::tasks::TaskId;
use crate::value::{Timestamp, Value};

/// What all tasks of a topology know in common.
#[derive(Clone, Debug)]
pub struct TopologyInfo {
    /// The topology's name.
    pub name: SmolStr,
    /// The topology's id: its name and a number that tells it from others of that name.
    pub id: SmolStr,
    /// Its components, by id.
    pub components: BTreeMap<SmolStr, ComponentInfo>,
}

/// One component, as other components see it.
#[derive(Clone, Debug)]
pub struct ComponentInfo {
    /// Its tasks.
    pub tasks: Range<TaskId>,
    /// The streams that it declares.
    pub streams: Streams,
}

/// Facts about the topology and this task, and what the runtime offers it. Cheap to clone.
///
/// Handed to every method of a component, directly or by its emitter.
#[derive(Clone)]
pub struct TopologyContext {
    inner: Arc<Inner>,
    /// The wait of a spout's `ready`, in the context that `ready` gets.
    wait: Option<Arc<Mutex<Wait>>>,
}

/// The wait of a spout's `ready`. The engine may drop `ready` and call it again.
#[derive(Debug, Default)]
struct Wait {
    /// The latest wait and its end, on the engine's clock.
    pending: Option<(Awaited, Duration)>,
    /// Whether the next wait continues the pending one, if both are equal.
    continues: bool,
}

/// A kind of wait of [`TopologyContext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Sleep(Duration),
    BackOff,
}

impl Wait {
    /// The end of the pending wait, if `awaited` is equal and continues it.
    fn continued(&mut self, awaited: Awaited) -> Option<Duration> {
        let (pending, until) = self.pending.filter(|_| self.continues)?;
        (pending == awaited).then(|| {
            self.continues = false;
            until
        })
    }
}

struct Inner {
    topology: Arc<TopologyInfo>,
    component: SmolStr,
    task: TaskId,
    index: u32,
    incarnation: u64,
    config: TopologyConfig,
    resources: Arc<Resources>,
    metrics: Metrics,
    port: Arc<dyn TaskPort>,
    hooks: Mutex<Vec<Arc<dyn TaskHook>>>,
    back_off: AtomicU32,
}

/// The longest wait of [`TopologyContext::back_off`], in milliseconds.
const LONGEST_BACK_OFF: u32 = 10;

impl TopologyContext {
    /// The context of task `task` of `component`. For runtimes and test harnesses.
    ///
    /// # Panics
    /// When the topology has no such component, or the component no such task.
    #[allow(clippy::too_many_arguments, reason = "a plain constructor of plain facts")]
    pub fn new(
        topology: Arc<TopologyInfo>,
        component: &str,
        task: TaskId,
        incarnation: u64,
        config: TopologyConfig,
        resources: Arc<Resources>,
        metrics: Metrics,
        port: Arc<dyn TaskPort>,
    ) -> Self {
        let tasks = topology.components[component].tasks.clone();
        assert!(tasks.contains(&task), "task {task} is not one of component {component}");
        let index = task - tasks.start;
        let component = SmolStr::new(component);
        let (hooks, back_off) = (Mutex::default(), AtomicU32::new(1));
        Self {
            inner: Arc::new(Inner {
                topology,
                component,
                task,
                index,
                incarnation,
                config,
                resources,
                metrics,
                port,
                hooks,
                back_off,
            }),
            wait: None,
        }
    }

    /// The same context, for `ready` alone: a dropped wait can continue in the next call. For the engine.
    pub fn for_ready(&self) -> Self {
        Self { inner: self.inner.clone(), wait: Some(Arc::default()) }
    }

    /// Sets whether the next wait continues the pending one or starts over. For the engine, on a context
    /// [for `ready`](Self::for_ready).
    pub fn continue_wait(&self, continues: bool) {
        if let Some(wait) = &self.wait {
            wait.lock().unwrap_or_else(PoisonError::into_inner).continues = continues;
        }
    }

    /// Waits for `duration`, or for the rest of an equal wait that was dropped.
    fn wait_for(&self, awaited: Awaited, duration: impl FnOnce() -> Duration) -> BoxFuture<'static, ()> {
        let Some(wait) = &self.wait else { return self.inner.port.sleep(duration()) };
        let mut wait = wait.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.elapsed();
        let until = wait.continued(awaited).unwrap_or_else(|| now + duration());
        wait.pending = Some((awaited, until));
        self.inner.port.sleep(until.saturating_sub(now))
    }

    /// The topology's name.
    pub fn topology_name(&self) -> &str {
        &self.inner.topology.name
    }

    /// The topology's id: unlike the name, never used twice.
    pub fn topology_id(&self) -> &str {
        &self.inner.topology.id
    }

    /// The component that this task is an instance of.
    pub fn component_id(&self) -> &str {
        &self.inner.component
    }

    /// The task's number: fixed for the topology's life.
    pub fn task_id(&self) -> TaskId {
        self.inner.task
    }

    /// The task's place among its component's tasks, from 0.
    pub fn task_index(&self) -> u32 {
        self.inner.index
    }

    /// How many tasks this component has.
    pub fn task_count(&self) -> u32 {
        self.tasks_of(self.component_id()).map_or(0, |tasks| tasks.end - tasks.start)
    }

    /// The launch of the worker that runs this task: grows each time, so that sinks can fence
    /// writers of earlier launches.
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    /// The tasks of a component.
    pub fn tasks_of(&self, component: &str) -> Option<Range<TaskId>> {
        self.inner.topology.components.get(component).map(|info| info.tasks.clone())
    }

    /// The fields of a component's stream.
    pub fn fields_of(&self, component: &str, stream: &str) -> Option<&Fields> {
        Some(&self.inner.topology.components.get(component)?.streams.get(stream)?.fields)
    }

    /// All components of the topology.
    pub fn topology(&self) -> &TopologyInfo {
        &self.inner.topology
    }

    /// The topology's config, overridden by this component's.
    pub fn config(&self) -> &TopologyConfig {
        &self.inner.config
    }

    /// What the tasks of this worker share.
    pub fn resources(&self) -> &Resources {
        &self.inner.resources
    }

    /// A counter of this name; the same each time. A task has at most [`MOST_METRICS`](crate::MOST_METRICS); see
    /// [`Metrics`].
    pub fn counter(&self, name: &str) -> Counter {
        self.listing_refusal(self.inner.metrics.find_counter(name))
    }

    /// A gauge of this name; the same each time. Limits are those of [`counter`](Self::counter).
    pub fn gauge(&self, name: &str) -> Gauge {
        self.listing_refusal(self.inner.metrics.find_gauge(name))
    }

    /// A histogram of this name; the same each time. Limits are those of [`counter`](Self::counter).
    pub fn histogram(&self, name: &str) -> Histogram {
        self.listing_refusal(self.inner.metrics.find_histogram(name))
    }

    fn listing_refusal<T>(&self, (metric, refusal): (T, Option<String>)) -> T {
        if let Some(message) = refusal {
            self.report_error(message.as_str());
        }
        metric
    }

    /// Lists an error of this task without failing anything.
    pub fn report_error(&self, error: impl Into<Error>) {
        self.inner.port.report_error(&error.into());
    }

    /// Says how far this spout has read its source; `galerna describe` shows it.
    ///
    /// `position` is for people, in words of the source: `book.txt: line 1,204`, `partition 3: offset 99`. It is cut off
    /// after 200 characters. `lag` is how much the source holds that this spout has not read yet, in the unit in which the
    /// position counts; `None` if the spout does not know. Each call replaces the last one. A call takes a lock and copies
    /// the text: call it once per batch or poll, not for each tuple.
    pub fn report_source(&self, position: &str, lag: Option<u64>) {
        self.inner.port.report_source(position, lag);
    }

    /// Counts tuples that this spout emits again; [`RetryBuffer`](crate::RetryBuffer) does it.
    pub fn count_replayed(&self, tuples: u64) {
        self.inner.port.count_replayed(tuples);
    }

    /// Says that this spout will not try a tuple again after this many tries: it is listed with its values and its
    /// last failure, counted as `gave_up`, and the run fails. [`RetryBuffer`](crate::RetryBuffer) does it.
    pub fn give_up(&self, values: &[Value], failure: &Failure, tries: u32) {
        self.inner.port.give_up(values, failure, tries);
    }

    /// Appends a dead letter to a file: a JSON object in one line, with the values of a tuple of the default stream
    /// by their fields, `reason`, `component`, `tries`, and where and when it was given up.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_dead_letter(&self, path: &Path, values: &[Value], failure: &Failure, tries: u32) -> Result<()> {
        let fields = self.fields_of(self.component_id(), DEFAULT_STREAM).cloned();
        let fields = fields.unwrap_or_else(|| Fields::new([""; 0]));
        self.inner.port.write_dead_letter(path, &DeadLetter { fields: &fields, values, failure, tries })
    }

    /// Makes sure that all dead letters in a file survive a loss of power. Creates the file if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or synchronized.
    pub fn sync_dead_letters(&self, path: &Path) -> Result<()> {
        self.inner.port.sync_dead_letters(path)
    }

    /// Publishes which tuples this spout is retrying. [`RetryBuffer`](crate::RetryBuffer) does it.
    pub fn note_retrying(&self, retrying: Option<Retrying>) {
        self.inner.port.note_retrying(retrying);
    }

    /// A handle for spawned work to emit and ack with.
    pub fn output_handle(&self) -> OutputHandle {
        OutputHandle::new(self.inner.port.clone())
    }

    /// Has `hook` told of what this task emits, executes, acks and fails. Call it in `open` or
    /// `prepare`: hooks added later may not be heard.
    pub fn add_task_hook(&self, hook: Arc<dyn TaskHook>) {
        self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// Forgets the hooks added so far: the task is made anew. The engine calls it.
    pub fn clear_task_hooks(&self) {
        self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The hooks added so far.
    pub fn task_hooks(&self) -> Vec<Arc<dyn TaskHook>> {
        self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sleeps on the engine's clock, which tests may pause.
    ///
    /// # Cancel safety
    /// Safe to drop. In [`Spout::ready`](crate::Spout::ready), a sleep that the engine drops continues when
    /// the engine calls `ready` again and `ready` sleeps for the same duration.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.wait_for(Awaited::Sleep(duration), || duration)
    }

    /// Time since the worker started, on the engine's clock: what to measure durations by.
    pub fn elapsed(&self) -> Duration {
        self.inner.port.elapsed()
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.inner.port.now()
    }

    /// Waits from 1 ms, twice as long each time, up to 10 ms. Starts over once the spout emits.
    ///
    /// # Cancel safety
    /// As [`sleep`](Self::sleep).
    pub fn back_off(&self) -> impl Future<Output = ()> + Send + use<> {
        self.wait_for(Awaited::BackOff, || {
            let millis = self.inner.back_off.load(Ordering::Relaxed);
            self.inner.back_off.store((millis * 2).min(LONGEST_BACK_OFF), Ordering::Relaxed);
            Duration::from_millis(millis.into())
        })
    }

    /// Starts [`back_off`](Self::back_off) over. The engine calls it when the spout has emitted.
    pub fn reset_back_off(&self) {
        self.inner.back_off.store(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for TopologyContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} of {}", self.inner.task, self.inner.component)
    }
}
