//! Building topologies in Rust, with the same power as YAML.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::batch_bolt::BatchBolt;
use crate::bolt::{Bolt, ManualBolt};
use crate::config::TopologyConfig;
use crate::engine::{BatchCell, BoltCell, BoltFactory, SpoutCell, SpoutFactory};
use crate::error::Result;
use crate::fields::{DEFAULT_STREAM, Fields};
use crate::grouping::{CustomGroupingFactory, Grouping};
use crate::hooks::WorkerHook;
use crate::spout::Spout;
use crate::topology::{ComponentKind, Input, ResourceLoad, Topology};
use crate::validate::{InvalidTopology, validate};
use crate::value::Value;

/// Collects components and how they are wired; [`build`](Self::build) checks it all.
///
/// ```
/// use galerna_topology_api::{Bolt, BoltResult, Emitter, Next, Result, Spout, SpoutEmitter, Streams};
/// use galerna_topology_api::{TopologyBuilder, Tuple, values};
///
/// struct Numbers(i64);
/// impl Spout for Numbers {
///     type MessageId = i64;
///     fn output(&self) -> Streams { Streams::default_fields(["n"]) }
///     async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
///         self.0 += 1;
///         out.emit(self.0, values![self.0]);
///         Ok(if self.0 < 10 { Next::Emitted } else { Next::Exhausted })
///     }
/// }
///
/// struct Print;
/// impl Bolt for Print {
///     async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
///         println!("{}", tuple.i64("n")?);
///         Ok(())
///     }
/// }
///
/// let mut builder = TopologyBuilder::new("numbers");
/// builder.spout("numbers", || Numbers(0));
/// builder.bolt("print", || Print).parallelism(2).shuffle("numbers");
/// let topology = builder.build()?;
/// # Ok::<(), galerna_topology_api::InvalidTopology>(())
/// ```
pub struct TopologyBuilder {
    pub(crate) name: SmolStr,
    pub(crate) config: TopologyConfig,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) worker_hooks: Vec<Arc<dyn WorkerHook>>,
}

/// A component as it was declared, not yet checked.
pub(crate) struct Draft {
    pub(crate) id: SmolStr,
    pub(crate) kind: ComponentKind,
    pub(crate) type_name: Option<SmolStr>,
    pub(crate) executors: u32,
    pub(crate) tasks: Option<u32>,
    pub(crate) is_blocking: bool,
    pub(crate) config: TopologyConfig,
    pub(crate) inputs: Vec<Input>,
    pub(crate) load: ResourceLoad,
}

impl TopologyBuilder {
    /// An empty topology of this name.
    pub fn new(name: impl Into<SmolStr>) -> Self {
        Self { name: name.into(), config: TopologyConfig::new(), drafts: Vec::new(), worker_hooks: Vec::new() }
    }

    /// Sets a config key of the topology.
    pub fn config(&mut self, key: impl Into<SmolStr>, value: impl Into<Value>) -> &mut Self {
        self.config.set(key, value);
        self
    }

    /// Adds a hook to the topology's workers.
    pub fn worker_hook(&mut self, hook: impl WorkerHook + 'static) -> &mut Self {
        self.add_worker_hook(Arc::new(hook))
    }

    /// Adds a hook that is shared already.
    pub fn add_worker_hook(&mut self, hook: Arc<dyn WorkerHook>) -> &mut Self {
        self.worker_hooks.push(hook);
        self
    }

    /// Adds a spout; `make` makes each of its tasks, and makes it anew after a panic.
    pub fn spout<S: Spout>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> SpoutDeclarer<'_> {
        self.add_spout(id, SpoutCell::factory(move || Ok(make())))
    }

    /// As [`spout`](Self::spout), with a factory that can fail.
    pub fn try_spout<S: Spout>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> Result<S> + Send + Sync + 'static,
    ) -> SpoutDeclarer<'_> {
        self.add_spout(id, SpoutCell::factory(make))
    }

    /// Adds a spout whose type is erased already.
    pub fn add_spout(&mut self, id: impl Into<SmolStr>, factory: SpoutFactory) -> SpoutDeclarer<'_> {
        SpoutDeclarer(self.add(id.into(), ComponentKind::Spout(factory)))
    }

    /// Adds a bolt; `make` makes each of its tasks, and makes it anew after a panic.
    pub fn bolt<B: Bolt>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> BoltDeclarer<'_> {
        self.add_bolt(id, BoltCell::auto_factory(move || Ok(make())))
    }

    /// As [`bolt`](Self::bolt), with a factory that can fail.
    pub fn try_bolt<B: Bolt>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> Result<B> + Send + Sync + 'static,
    ) -> BoltDeclarer<'_> {
        self.add_bolt(id, BoltCell::auto_factory(make))
    }

    /// Adds a bolt that acks by hand.
    pub fn manual_bolt<B: ManualBolt>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> BoltDeclarer<'_> {
        self.add_bolt(id, BoltCell::factory(move || Ok(make())))
    }

    /// Adds a bolt that takes many tuples in one call.
    pub fn batch_bolt<B: BatchBolt>(
        &mut self,
        id: impl Into<SmolStr>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> BoltDeclarer<'_> {
        self.add_bolt(id, BatchCell::factory(move || Ok(make())))
    }

    /// Adds a bolt whose type is erased already.
    pub fn add_bolt(&mut self, id: impl Into<SmolStr>, factory: BoltFactory) -> BoltDeclarer<'_> {
        BoltDeclarer(self.add(id.into(), ComponentKind::Bolt(factory)))
    }

    /// Checks everything and numbers the tasks. Constructs each component once, to learn its
    /// streams.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn build(self) -> Result<Topology, InvalidTopology> {
        validate(self)
    }

    fn add(&mut self, id: SmolStr, kind: ComponentKind) -> &mut Draft {
        self.drafts.push(Draft {
            id,
            kind,
            type_name: None,
            executors: 1,
            tasks: None,
            is_blocking: false,
            config: TopologyConfig::new(),
            inputs: Vec::new(),
            load: ResourceLoad::default(),
        });
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }
}

macro_rules! declarer_methods {
    () => {
        /// How many executors run it; 1 unless set.
        pub fn parallelism(self, executors: u32) -> Self {
            self.0.executors = executors;
            self
        }

        /// How many tasks it has, at least as many as executors; as many unless set.
        pub fn tasks(self, tasks: u32) -> Self {
            self.0.tasks = Some(tasks);
            self
        }

        /// Gives each executor its own thread: for code that blocks.
        pub fn blocking(self) -> Self {
            self.0.is_blocking = true;
            self
        }

        /// Sets a config key for this component alone.
        pub fn config(self, key: impl Into<SmolStr>, value: impl Into<Value>) -> Self {
            self.0.config.set(key, value);
            self
        }

        /// Names the type that it was made from, for display and for shipping it to a cluster.
        pub fn type_name(self, name: impl Into<SmolStr>) -> Self {
            self.0.type_name = Some(name.into());
            self
        }

        /// What each task asks of its node.
        pub fn load(self, load: ResourceLoad) -> Self {
            self.0.load = load;
            self
        }
    };
}

/// Says more about a spout.
pub struct SpoutDeclarer<'a>(&'a mut Draft);

impl SpoutDeclarer<'_> {
    declarer_methods!();
}

/// Says more about a bolt, above all what it receives.
pub struct BoltDeclarer<'a>(&'a mut Draft);

macro_rules! groupings {
    ($($(#[$doc:meta])* $name:ident: $grouping:expr;)*) => {
        $($(#[$doc])*
        pub fn $name(self, from: impl Into<SmolStr>) -> Self {
            self.input(from, DEFAULT_STREAM, $grouping)
        })*
    };
}

impl BoltDeclarer<'_> {
    declarer_methods!();

    /// Receives a stream of a component: the general form of all others. A bolt receives each stream of a
    /// component once: an equal second call has no effect but a [warning](Topology::warnings), and a second call
    /// with another grouping makes [`TopologyBuilder::build`] fail.
    pub fn input(self, from: impl Into<SmolStr>, stream: impl Into<SmolStr>, grouping: Grouping) -> Self {
        self.0.inputs.push(Input { from: from.into(), stream: stream.into(), grouping });
        self
    }

    groupings! {
        /// Receives the default stream of a component, dealt evenly.
        shuffle: Grouping::Shuffle;
        /// Receives the default stream of a component, all at the task with the lowest number.
        global: Grouping::Global;
        /// Receives the default stream of a component, each tuple at each task.
        all: Grouping::All;
        /// Receives the default stream of a component, evenly at the tasks of the same worker.
        local_or_shuffle: Grouping::LocalOrShuffle;
        /// Receives the default stream of a component, no matter how it is dealt.
        none: Grouping::None;
    }

    /// Receives the default stream of a component, equal keys at the same task.
    pub fn fields(self, from: impl Into<SmolStr>, fields: impl Into<Fields>) -> Self {
        self.input(from, DEFAULT_STREAM, Grouping::Fields(fields.into()))
    }

    /// Receives the default stream of a component, each key at two tasks.
    pub fn partial_key(self, from: impl Into<SmolStr>, fields: impl Into<Fields>) -> Self {
        self.input(from, DEFAULT_STREAM, Grouping::PartialKey(fields.into()))
    }

    /// Receives a direct stream of a component: the emitter names the task.
    pub fn direct(self, from: impl Into<SmolStr>, stream: impl Into<SmolStr>) -> Self {
        self.input(from, stream, Grouping::Direct)
    }

    /// Receives the default stream of a component, dealt by user code.
    pub fn custom(self, from: impl Into<SmolStr>, grouping: CustomGroupingFactory) -> Self {
        self.input(from, DEFAULT_STREAM, Grouping::Custom(grouping))
    }
}
