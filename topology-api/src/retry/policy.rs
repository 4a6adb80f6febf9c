//! The policy of reliable spouts: how often and when a failed tuple is emitted again, and what happens to a
//! tuple that is given up.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use smol_str::SmolStr;

use crate::fields::{DEFAULT_STREAM, Fields, Streams};
use crate::human::HumanDuration;

/// A limit as written: a value, `none`, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bound<T> {
    /// Not written.
    #[default]
    Unset,
    /// `none`: no limit.
    None,
    /// The limit.
    At(T),
}

impl<T> Bound<T> {
    /// The limit, if there is one.
    pub fn limit(self) -> Option<T> {
        match self {
            Self::At(limit) => Some(limit),
            Self::Unset | Self::None => None,
        }
    }
}

struct BoundVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de> + Described> de::Visitor<'de> for BoundVisitor<T> {
    type Value = Bound<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or none", T::DESCRIPTION)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "none" => Ok(Bound::None),
            text => T::deserialize(de::value::StrDeserializer::<E>::new(text)).map(Bound::At),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        T::deserialize(de::value::U64Deserializer::<E>::new(number)).map(Bound::At)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        T::deserialize(de::value::I64Deserializer::<E>::new(number)).map(Bound::At)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        T::deserialize(de::value::F64Deserializer::<E>::new(number)).map(Bound::At)
    }
}

/// How messages describe the values of a limit.
trait Described {
    const DESCRIPTION: &'static str;
}

impl Described for u32 {
    const DESCRIPTION: &'static str = "a number of tries";
}

impl Described for HumanDuration {
    const DESCRIPTION: &'static str = "a duration";
}

impl<'de> Deserialize<'de> for Bound<u32> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Bound<HumanDuration> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor(std::marker::PhantomData))
    }
}

/// How often and when a failed tuple is emitted again: the property `retries` of reliable spouts.
///
/// A try is an emit that a component failed. Time-outs and lost workers are not tries: the tuple is emitted again
/// within 100 ms, without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Tries beyond the first, at most.
    pub limit: Bound<u32>,
    /// The time from the first failed try after which the next failed try is the last.
    #[serde(rename = "for")]
    pub duration: Bound<HumanDuration>,
    /// The wait after the first failed try; it doubles with each further one.
    pub backoff: HumanDuration,
    /// The longest wait.
    pub max_backoff: HumanDuration,
}

/// Waits from 100 ms to 60 s. An endless input never gives up, a bounded one after five minutes.
impl Default for Retries {
    fn default() -> Self {
        Self {
            limit: Bound::Unset,
            duration: Bound::Unset,
            backoff: HumanDuration(Duration::from_millis(100)),
            max_backoff: HumanDuration(Duration::from_secs(60)),
        }
    }
}

/// The longest wait after a time-out or a loss.
const AFTER_LOSS: Duration = Duration::from_millis(100);

/// How long a tuple of a bounded input may fail by default.
const BOUNDED: Duration = Duration::from_secs(300);

/// Whether a source has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundedness {
    /// No known end. By default, tuples are never given up.
    Unbounded,
    /// The run ends with the input. By default, a tuple is given up after five minutes of failures, so that one bad
    /// tuple does not keep the run alive for ever.
    Bounded,
}

impl Retries {
    /// Never gives up, whatever the input.
    pub fn endless() -> Self {
        Self { limit: Bound::None, ..Self::default() }
    }

    /// Gives up after this many tries beyond the first.
    pub fn at_most(limit: u32) -> Self {
        Self { limit: Bound::At(limit), ..Self::default() }
    }

    fn has_limit(&self) -> bool {
        self.limit.limit().is_some() || self.duration.limit().is_some()
    }

    /// Whether a tuple is given up that has failed this many tries, the first of them this long ago.
    pub(super) fn is_over(&self, input: Boundedness, tries: u32, failing: Duration) -> bool {
        let is_default = self.limit == Bound::Unset && self.duration == Bound::Unset;
        let bounded = (is_default && input == Boundedness::Bounded).then_some(BOUNDED);
        let duration = self.duration.limit().map(|limit| limit.0).or(bounded);
        self.limit.limit().is_some_and(|limit| tries > limit) || duration.is_some_and(|limit| failing >= limit)
    }

    /// The wait after a failure that was not a try: a long `backoff` must not delay the recovery from a lost worker.
    pub(super) fn wait_after_loss(&self) -> Duration {
        self.backoff.0.min(AFTER_LOSS)
    }

    /// The wait after this many failed tries.
    pub(super) fn wait(&self, tries: u32) -> Duration {
        let factor = 2u32.saturating_pow(tries.saturating_sub(1));
        self.backoff.0.saturating_mul(factor).min(self.max_backoff.0.max(self.backoff.0))
    }
}

/// What happens to a tuple that is given up: the property `on_give_up` of reliable spouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGiveUp {
    /// The source's position stays before the tuple: a later run reads the tuple again.
    #[default]
    Hold,
    /// The source moves past the tuple.
    Skip,
    /// The tuple goes where `dead_letter` says, and the source moves past it.
    DeadLetter,
}

/// Where dead letters go: the property `dead_letter` of reliable spouts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenDeadLetters")]
pub enum DeadLetters {
    /// A file: one JSON object per line is appended to it. Tasks on one machine may share a file.
    Path(PathBuf),
    /// A stream of the spout: the fields of its default stream, then `reason`, `component` and `tries`.
    Stream(SmolStr),
}

/// `{path: FILE}` or `{stream: ID}`.
#[derive(Deserialize)]
#[serde(rename = "DeadLetters", deny_unknown_fields)]
struct WrittenDeadLetters {
    path: Option<PathBuf>,
    stream: Option<SmolStr>,
}

impl TryFrom<WrittenDeadLetters> for DeadLetters {
    type Error = &'static str;

    fn try_from(written: WrittenDeadLetters) -> Result<Self, &'static str> {
        match (written.path, written.stream) {
            (Some(path), None) if path.as_os_str().is_empty() => Err("the `path` of `dead_letter` is empty"),
            (None, Some(stream)) if stream.is_empty() => Err("the `stream` of `dead_letter` is empty"),
            (Some(path), None) => Ok(Self::Path(path)),
            (None, Some(stream)) => Ok(Self::Stream(stream)),
            _ => Err("`dead_letter` takes exactly one of `path` and `stream`"),
        }
    }
}

/// Why properties make no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Dead letters without a limit.
    #[error(
        "`dead_letter` needs a limit: without one no tuple is ever given up; write for example \
         `retries: {{limit: 5}}` or `retries: {{for: 10m}}`"
    )]
    NoLimit,
    /// `on_give_up: dead-letter` alone.
    #[error("`on_give_up: dead-letter` needs `dead_letter: {{path: FILE}}` or `dead_letter: {{stream: ID}}`")]
    NoDestination,
    /// `dead_letter` beside `hold` or `skip`.
    #[error("`dead_letter` is only used with `on_give_up: dead-letter`; leave one of them out")]
    Unused,
    /// The dead letters on the default stream.
    #[error("`dead_letter: {{stream: default}}`: dead letters need a stream of their own; give it another id")]
    DefaultStream,
}

/// The retry policy of a reliable spout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(super) retries: Retries,
    pub(super) on_give_up: OnGiveUp,
    pub(super) dead_letters: Option<DeadLetters>,
}

impl From<Retries> for RetryPolicy {
    fn from(retries: Retries) -> Self {
        Self { retries, ..Self::default() }
    }
}

impl RetryPolicy {
    /// The policy of the properties `retries`, `on_give_up` and `dead_letter`. With `dead_letter`, `on_give_up` need
    /// not be written.
    ///
    /// # Errors
    /// When the properties contradict each other, or dead letters have no limit.
    pub fn new(
        retries: Retries,
        on_give_up: Option<OnGiveUp>,
        dead_letter: Option<DeadLetters>,
    ) -> Result<Self, PolicyError> {
        let on_give_up = match (on_give_up, &dead_letter) {
            (None, Some(_)) => OnGiveUp::DeadLetter,
            (Some(OnGiveUp::Hold | OnGiveUp::Skip), Some(_)) => return Err(PolicyError::Unused),
            (Some(OnGiveUp::DeadLetter), None) => return Err(PolicyError::NoDestination),
            (stated, _) => stated.unwrap_or_default(),
        };
        if matches!(&dead_letter, Some(DeadLetters::Stream(id)) if id == DEFAULT_STREAM) {
            return Err(PolicyError::DefaultStream);
        }
        if on_give_up == OnGiveUp::DeadLetter && !retries.has_limit() {
            return Err(PolicyError::NoLimit);
        }
        Ok(Self { retries, on_give_up, dead_letters: dead_letter })
    }

    /// The streams of a spout with this policy: its own, and that of dead letters if there is one, which some bolt must
    /// receive.
    pub fn output(&self, streams: Streams) -> Streams {
        let Some(DeadLetters::Stream(id)) = &self.dead_letters else { return streams };
        let own = streams.get(DEFAULT_STREAM).map(|stream| stream.fields.clone());
        let own = own.iter().flat_map(Fields::iter);
        let fields = Fields::new(own.chain(["reason", "component", "tries"]));
        streams.stream_with_receiver(id.clone(), fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> HumanDuration {
        HumanDuration(Duration::from_secs(secs))
    }

    #[test]
    fn endless_input_never_gives_up_and_bounded_input_after_five_minutes() {
        let retries = Retries::default();
        let day = Duration::from_secs(86_400);
        assert!(!retries.is_over(Boundedness::Unbounded, u32::MAX, day));
        assert!(!retries.is_over(Boundedness::Bounded, 1000, Duration::from_secs(299)));
        assert!(retries.is_over(Boundedness::Bounded, 1, Duration::from_secs(300)));
        assert!(!Retries::endless().is_over(Boundedness::Bounded, u32::MAX, day));
    }

    #[test]
    fn stated_limits_replace_the_default_and_the_first_that_is_reached_counts() {
        let limit = Retries::at_most(2);
        assert!(!limit.is_over(Boundedness::Bounded, 2, Duration::from_secs(86_400)));
        assert!(limit.is_over(Boundedness::Unbounded, 3, Duration::ZERO));
        let both = Retries { duration: Bound::At(secs(10)), ..limit };
        assert!(both.is_over(Boundedness::Unbounded, 1, Duration::from_secs(10)));
        assert!(both.is_over(Boundedness::Unbounded, 3, Duration::ZERO));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let retries = Retries { backoff: secs(1), max_backoff: secs(5), ..Retries::default() };
        let waits: Vec<_> = (0..6).map(|tries| retries.wait(tries).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 4, 5, 5]);
        assert_eq!(Retries { backoff: secs(90), ..Retries::default() }.wait(3), Duration::from_secs(90));
        assert_eq!(Retries::default().wait(u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn contradicting_properties_are_errors() {
        let path = || Some(DeadLetters::Path("dead.jsonl".into()));
        let limited = Retries::at_most(3);
        assert_eq!(RetryPolicy::new(Retries::default(), None, path()), Err(PolicyError::NoLimit));
        assert_eq!(RetryPolicy::new(Retries::endless(), None, path()), Err(PolicyError::NoLimit));
        assert_eq!(RetryPolicy::new(limited, Some(OnGiveUp::DeadLetter), None), Err(PolicyError::NoDestination));
        assert_eq!(RetryPolicy::new(limited, Some(OnGiveUp::Skip), path()), Err(PolicyError::Unused));
        assert_eq!(RetryPolicy::new(limited, None, path()).map(|policy| policy.on_give_up), Ok(OnGiveUp::DeadLetter));
        assert_eq!(RetryPolicy::new(limited, None, None).map(|policy| policy.on_give_up), Ok(OnGiveUp::Hold));
    }
}
