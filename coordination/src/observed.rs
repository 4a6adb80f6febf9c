//! What a daemon lets be seen of itself: metrics, and whether it lives and is ready.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// A daemon that can be looked at while it runs.
///
/// Whoever looks may do so often and from several threads: answers come from what is known already,
/// without waiting for anybody, and hold no lock while text is made of it.
pub trait Observed: Send + Sync + 'static {
    /// Everything that is measured, in the text format of OpenMetrics.
    fn metrics(&self) -> String;

    /// Whether it does its work; only what another start of it would heal. All must be good.
    fn liveness(&self) -> Vec<Check>;

    /// Whether it can do what it is there for.
    fn readiness(&self) -> Vec<Check>;
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about, in a word.
    pub name: &'static str,
    /// How it stands: what is good, or what is not.
    pub finding: Result<String, String>,
    /// Whether the whole is bad if this is.
    pub is_needed: bool,
}

impl Check {
    /// Something that must be good.
    pub fn needed(name: &'static str, finding: Result<impl Into<String>, impl Into<String>>) -> Self {
        Self { name, finding: finding.map(Into::into).map_err(Into::into), is_needed: true }
    }

    /// Something that is worth telling, and stops nothing.
    pub fn told(name: &'static str, finding: Result<impl Into<String>, impl Into<String>>) -> Self {
        Self { is_needed: false, ..Self::needed(name, finding) }
    }

    /// Whether the whole can be good.
    pub fn passes(&self) -> bool {
        self.finding.is_ok() || !self.is_needed
    }

    /// As it is told to people: `[+] store: reached`; `-` is bad, `!` is bad and stops nothing.
    pub fn line(&self) -> String {
        let (mark, text) = match (&self.finding, self.is_needed) {
            (Ok(text), _) => ('+', text),
            (Err(text), true) => ('-', text),
            (Err(text), false) => ('!', text),
        };
        format!("[{mark}] {}: {text}", self.name)
    }
}

/// When a loop has last come round.
#[derive(Debug)]
pub struct Beat {
    last: Mutex<Option<Instant>>,
    name: &'static str,
}

impl Beat {
    /// After so long without a round, a loop counts as stuck.
    pub const PATIENCE: Duration = Duration::from_secs(60);

    /// Of a loop that has not begun.
    pub fn new(name: &'static str) -> Self {
        Self { last: Mutex::default(), name }
    }

    /// It has come round.
    pub fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it has come round at all.
    pub fn has_begun(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether it comes round. One that has not begun counts as good: its daemon is about to start it.
    pub fn check(&self) -> Check {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Check {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let age = last.map(|last| now.saturating_duration_since(last)).unwrap_or_default();
        let finding = match age > Self::PATIENCE {
            false => Ok("comes round"),
            true => Err(format!("has not come round for {} s", age.as_secs())),
        };
        Check::needed(self.name, finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_that_stops_coming_round_is_told_with_how_long() {
        let beat = Beat::new("loop");
        let start = Instant::now();
        assert!(!beat.has_begun() && beat.check_at(start + Beat::PATIENCE * 9).passes());
        beat.note();
        assert!(beat.has_begun());
        assert_eq!(beat.check_at(start + Beat::PATIENCE).line(), "[+] loop: comes round");
        let late = Instant::now() + Beat::PATIENCE + Duration::from_secs(1);
        assert_eq!(beat.check_at(late).line(), "[-] loop: has not come round for 61 s");
    }

    #[test]
    fn what_is_only_told_stops_nothing() {
        let check = Check::told("artifacts", Err::<&str, _>("one is missing"));
        assert_eq!((check.line().as_str(), check.passes()), ("[!] artifacts: one is missing", true));
    }
}
