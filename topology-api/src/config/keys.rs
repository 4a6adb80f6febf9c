//! The keys that the runtime knows, as a table: their kinds, what they do, and Storm's keys that
//! mean nothing here.

use super::ConfigProblem;
use crate::suggest::did_you_mean;
use crate::value::Value;

/// One key that the runtime knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    /// The key.
    pub name: &'static str,
    /// Whether it does something.
    pub status: KeyStatus,
    /// What it does, or why it does nothing.
    pub about: &'static str,
}

/// Whether a key does something, and what it may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyStatus {
    /// A whole number from this one on.
    Integer(i64),
    /// Seconds, more than 0; fractions are allowed.
    Seconds,
    /// true or false.
    Bool,
    /// Text.
    Text,
    /// Storm's, without meaning here. A trailing `*` in the name stands for anything.
    Ignored,
}

const fn key(name: &'static str, status: KeyStatus, about: &'static str) -> ConfigKey {
    ConfigKey { name, status, about }
}

const fn ignored(name: &'static str, about: &'static str) -> ConfigKey {
    key(name, KeyStatus::Ignored, about)
}

const JVM: &str = "there is no Java virtual machine to configure";
const KRYO: &str = "tuples are encoded by the runtime; there is nothing to register";
const QUEUES: &str = "queues grow with use and are bounded by credits";
const WAITS: &str = "idle tasks sleep until there is work; there is no strategy to choose";
const SAMPLING: &str = "counters are exact, never sampled";

impl ConfigKey {
    /// All keys that the runtime knows.
    pub const ALL: &[Self] = &[
        key("topology.workers", KeyStatus::Integer(1), "worker processes of the topology"),
        key(
            "topology.worker.lanes",
            KeyStatus::Integer(1),
            "the most threads of a worker for executors that do not block",
        ),
        key("topology.worker.buffer.mb", KeyStatus::Integer(1), "MiB for rows under way in a worker"),
        key("topology.acker.executors", KeyStatus::Integer(0), "0 switches tracking off, anything else is on"),
        key(
            "topology.max.spout.pending",
            KeyStatus::Integer(1),
            "open trees of a spout task at most; adaptive if unset",
        ),
        key("topology.message.timeout.secs", KeyStatus::Seconds, "a tree not complete by then fails"),
        key("topology.enable.message.timeouts", KeyStatus::Bool, "false: trees never time out"),
        key("topology.tick.tuple.freq.secs", KeyStatus::Seconds, "how often bolts get a tick"),
        key("topology.debug", KeyStatus::Bool, "log every emitted tuple"),
        key("topology.emit.limit", KeyStatus::Integer(1), "tuples one call may emit without awaiting room"),
        key("topology.max.task.parallelism", KeyStatus::Integer(1), "the most executors a component gets"),
        key("topology.tasks", KeyStatus::Integer(1), "tasks of a component that does not say"),
        key("topology.name", KeyStatus::Text, "the topology's name, as `name` of the file"),
        ignored("topology.worker.childopts", JVM),
        ignored("topology.worker.gc.childopts", JVM),
        ignored("topology.worker.logwriter.childopts", JVM),
        ignored("topology.worker.max.heap.size.mb", JVM),
        ignored("topology.classpath*", JVM),
        ignored("topology.environment", "set the environment where the worker is deployed"),
        ignored("topology.kryo.*", KRYO),
        ignored("topology.skip.missing.kryo.registrations", KRYO),
        ignored("topology.fall.back.on.java.serialization", KRYO),
        ignored("topology.tuple.serializer", KRYO),
        ignored("topology.executor.receive.buffer.size", QUEUES),
        ignored("topology.executor.send.buffer.size", QUEUES),
        ignored("topology.transfer.buffer.size", QUEUES),
        ignored("topology.transfer.batch.size", QUEUES),
        ignored("topology.producer.batch.size", QUEUES),
        ignored("topology.batch.flush.interval.millis", "batches leave before a task sleeps, and every millisecond"),
        ignored("topology.disruptor.*", QUEUES),
        ignored("topology.backpressure.*", QUEUES),
        ignored("topology.spout.wait.strategy", WAITS),
        ignored("topology.bolt.wait.*", WAITS),
        ignored("topology.backpressure.wait.*", WAITS),
        ignored("topology.sleep.spout.wait.strategy.time.ms", WAITS),
        ignored("topology.spout.wait.*", WAITS),
        ignored("topology.stats.sample.rate", SAMPLING),
        ignored("topology.stats.ewma.enable", SAMPLING),
        ignored("topology.disable.loadaware.messaging", "shuffle is even by promise"),
        ignored("topology.eventlogger.*", "there is no event logger"),
        ignored("topology.trident.*", "there is no Trident"),
        ignored("topology.multilang.*", "there is no multi-language protocol"),
        ignored("topology.shellbolt.*", "there is no multi-language protocol"),
        ignored("topology.max.error.report.per.interval", "errors are kept in a bounded list"),
        ignored("topology.error.throttle.interval.secs", "errors are kept in a bounded list"),
        ignored("topology.testing.always.try.serialize", "a test asks for it by `LocalCluster::serialize_all`"),
        ignored("topology.auto.task.hooks", "tasks add hooks by `TopologyContext::add_task_hook`"),
        ignored("topology.worker.shared.thread.pool.size", "share what you need by `TopologyContext::resources`"),
        ignored("topology.metrics.*", "metrics are always kept"),
        ignored("topology.state.*", "there is no managed state"),
        ignored("topology.bolts.*", "there are no windowed base classes"),
        ignored("topology.scheduler.*", "there is one scheduler"),
        ignored("topology.priority", "there is one scheduler"),
        ignored("topology.component.*", "set the load at the component"),
        ignored("topology.submitter.*", "there is no Kerberos"),
        ignored("topology.users", "there is no Kerberos"),
        ignored("topology.groups", "there is no Kerberos"),
        ignored("topology.ras.*", "there is one scheduler"),
        ignored("topology.isolate.machines", "there is one scheduler"),
        ignored("worker.childopts", JVM),
        ignored("kryo.*", KRYO),
    ];

    /// Whether `name` is this key.
    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.name,
        }
    }

    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|key| key.is(name))
    }
}

/// The longest time that a key may be set to, in seconds: about thirty years.
const MOST_SECONDS: i64 = 1_000_000_000;

impl KeyStatus {
    /// What a value must be, if `value` is something else.
    fn expected_instead_of(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Integer(least), Value::Int(number)) if *number >= least => None,
            (Self::Integer(least), _) => Some(format!("a whole number from {least} on")),
            (Self::Seconds, Value::Int(number)) if (1..=MOST_SECONDS).contains(number) => None,
            (Self::Seconds, Value::Float(number)) if *number > 0.0 && *number <= MOST_SECONDS as f64 => None,
            (Self::Seconds, _) => Some(format!("seconds, more than 0 and at most {MOST_SECONDS}")),
            (Self::Bool, Value::Bool(_)) | (Self::Text, Value::Str(_)) | (Self::Ignored, _) => None,
            (Self::Bool, _) => Some("true or false".to_owned()),
            (Self::Text, _) => Some("text".to_owned()),
        }
    }
}

/// What is wrong with setting `name` to `value`, if anything. A key set to null is as if unset.
pub(super) fn problem(name: &str, value: &Value) -> Option<ConfigProblem> {
    let problem = |message: String, is_warning| Some(ConfigProblem { key: name.into(), message, is_warning });
    match ConfigKey::find(name) {
        Some(key) if key.status == KeyStatus::Ignored => {
            problem(format!("`{name}` has no effect here: {}", key.about), true)
        }
        Some(_) if value.is_null() => None,
        Some(key) => {
            let expected = key.status.expected_instead_of(value)?;
            problem(format!("`{name}` is {} `{value}`, expected {expected}", value.kind()), false)
        }
        None if name.starts_with("topology.") => {
            let known = ConfigKey::ALL.iter().filter(|key| key.status != KeyStatus::Ignored).map(|key| key.name);
            problem(format!("unknown config key `{name}`{}", did_you_mean(name, known)), false)
        }
        None => None,
    }
}
