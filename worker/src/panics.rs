//! Catches panics of user code, with message and place and without output on stderr. A panic of the engine
//! in a call from user code does not count as a panic of user code: [`guarded`] lets it pass.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook};
use std::pin::{Pin, pin};
use std::sync::Once;
use std::task::{Context, Poll};
use std::thread;

/// A caught panic: what it said and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic(pub(crate) String);

thread_local! {
    /// Whether this thread runs user code, and the place of the panic in it, if there was one.
    static USER_CALL: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
    /// Whether the panic that unwinds this thread began in an [`EngineSection`].
    static ENGINE_PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Marks code of the engine that user code has called. While a section exists on a thread, a panic of that
/// thread counts as the engine's, unless it comes from user code that the engine calls by [`guarded`].
pub(crate) struct EngineSection {
    /// The state of the user call around the section.
    outer: Option<Option<String>>,
    was_panicking: bool,
}

impl EngineSection {
    #[inline]
    pub(crate) fn enter() -> Self {
        let section = Self { outer: USER_CALL.take(), was_panicking: thread::panicking() };
        #[cfg(test)]
        tests::panic_if_armed();
        section
    }
}

impl Drop for EngineSection {
    #[inline]
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking && self.outer.is_some() {
            ENGINE_PANICKED.set(true);
        }
        USER_CALL.set(self.outer.take());
    }
}

/// Has panics of user code noted instead of printed. All others go on to the hook before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let is_noted = USER_CALL.with_borrow_mut(|call| match call {
                Some(place) => {
                    *place = info.location().map(|location| format!("{}:{}", location.file(), location.line()));
                    true
                }
                None => false,
            });
            if !is_noted {
                before(info);
            }
        }));
    });
}

/// Runs user code to its end; a panic in it ends it too.
///
/// # Panics
/// When the engine panics in an [`EngineSection`] within it.
pub(crate) async fn caught<T>(call: impl Future<Output = T>) -> Result<T, Panic> {
    install_hook();
    let mut call = pin!(call);
    std::future::poll_fn(|cx| poll_caught(call.as_mut(), cx)).await
}

fn poll_caught<T>(call: Pin<&mut impl Future<Output = T>>, cx: &mut Context<'_>) -> Poll<Result<T, Panic>> {
    match guarded(|| call.poll(cx)) {
        Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Runs user code that does not wait.
///
/// # Panics
/// When the engine panics in an [`EngineSection`] within it.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = USER_CALL.replace(Some(None));
    let is_outermost = outer.is_none();
    let outcome = catch_unwind(AssertUnwindSafe(call));
    let place = USER_CALL.replace(outer).flatten();
    outcome.map_err(|payload| {
        if ENGINE_PANICKED.get() {
            // User code around this call is not to blame, so outer calls let the panic pass too.
            ENGINE_PANICKED.set(!is_outermost);
            resume_unwind(payload);
        }
        Panic(describe(payload.as_ref(), place))
    })
}

fn describe(payload: &(dyn Any + Send), place: Option<String>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    match place {
        Some(place) => format!("panicked at {place}: {text}"),
        None => format!("panicked: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::*;

    use super::*;
    use crate::local::{LocalOptions, LocalRun};
    use crate::summary::{RunStatus, RunSummary};

    thread_local! {
        /// Whether the next section of the engine on this thread panics.
        static ARMED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn panic_if_armed() {
        assert!(!ARMED.take(), "a bug of the engine");
    }

    /// What unwinds out of a call.
    fn unwound(call: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
        describe(payload.as_ref(), None)
    }

    /// What the user code of a call is blamed for.
    fn blamed(call: impl FnOnce()) -> String {
        let Err(Panic(message)) = guarded(call) else { panic!("it panics") };
        message
    }

    /// The next panic of user code is caught as any, and none of the engine's is noted.
    fn assert_clean() {
        assert!(USER_CALL.with_borrow(Option::is_none));
        assert!(!ENGINE_PANICKED.get());
        assert!(blamed(|| panic!("clean")).ends_with(": clean"));
        assert!(!ENGINE_PANICKED.get());
    }

    #[test]
    fn panic_of_user_code_is_caught_with_its_place() {
        install_hook();
        let message = blamed(|| panic!("user"));
        assert!(message.starts_with("panicked at ") && message.contains("panics.rs:"), "{message}");
        assert!(message.ends_with(": user"), "{message}");
        assert_clean();
    }

    #[test]
    fn panic_of_the_engine_within_user_code_goes_on() {
        install_hook();
        let section = || {
            let _section = EngineSection::enter();
            assert!(USER_CALL.with_borrow(Option::is_none), "the hook prints it");
            panic!("engine");
        };
        let message = unwound(|| drop(guarded(section)));
        assert_eq!(message, "panicked: engine");
        assert_clean();
        let message = unwound(|| drop(guarded(|| guarded(section))));
        assert_eq!(message, "panicked: engine", "user code that is called by user code is not to blame");
        assert_clean();
        // Outside user code there is nobody else to blame.
        assert_eq!(unwound(section), "panicked: engine");
        assert_clean();
    }

    #[test]
    fn panic_of_user_code_that_the_engine_calls_within_user_code_is_caught() {
        install_hook();
        let outcome = guarded(|| {
            let section = EngineSection::enter();
            let hook = guarded(|| -> () { panic!("hook") });
            drop(section);
            assert!(USER_CALL.with_borrow(Option::is_some), "user code goes on");
            hook
        });
        let Ok(Err(Panic(message))) = outcome else { panic!("the hook alone panicked: {outcome:?}") };
        assert!(message.ends_with(": hook"), "{message}");
        assert_clean();
        // And user code that panics behind the section is to blame itself.
        let message = blamed(|| {
            drop(EngineSection::enter());
            panic!("behind")
        });
        assert!(message.ends_with(": behind"), "{message}");
        assert_clean();
    }

    /// Emits the numbers up to ten; has the engine panic as this one is emitted.
    struct Numbers(i64, i64);
    impl Spout for Numbers {
        type MessageId = i64;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
            if self.0 == 10 {
                return Ok(Next::Exhausted);
            }
            self.0 += 1;
            out.emit(self.0, values![self.0]);
            if self.0 == self.1 {
                ARMED.set(true);
            }
            Ok(Next::Emitted)
        }
    }

    /// How a bolt has the engine panic.
    #[derive(Clone, Copy)]
    enum Way {
        AfterOk,
        AfterError,
        WhilePending,
    }

    /// Has the engine panic as it receives this number.
    struct Sink(Way, i64);
    impl Bolt for Sink {
        async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            let is_it = tuple.i64("n")? == self.1;
            if is_it {
                ARMED.set(true);
            }
            match self.0 {
                Way::AfterOk => Ok(()),
                Way::AfterError if is_it => Err("an error".into()),
                Way::AfterError => Ok(()),
                Way::WhilePending => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
            }
        }
    }

    async fn summary<B: Bolt + 'static>(at: i64, bolt: impl Fn() -> B + Send + Sync + 'static) -> RunSummary {
        let mut builder = TopologyBuilder::new("bugs");
        builder.spout("numbers", move || Numbers(0, at));
        builder.bolt("sink", bolt).shuffle("numbers");
        let topology = builder.build().expect("valid");
        LocalRun::start(topology, LocalOptions::default()).expect("starts").finished().await
    }

    #[tokio::test]
    async fn bug_of_the_engine_around_a_call_fails_the_run_and_blames_no_component() {
        // The first call of a batch is timed, the third is not.
        let ways = [Way::AfterOk, Way::AfterError, Way::WhilePending];
        let bolts = ways.into_iter().flat_map(|way| [(0, way, 1), (0, way, 3)]);
        for (spout, way, bolt) in [(1, Way::AfterOk, 0), (3, Way::AfterOk, 0)].into_iter().chain(bolts) {
            let summary = summary(spout, move || Sink(way, bolt)).await;
            assert_eq!(summary.status, RunStatus::Failed, "{summary:?}");
            assert_eq!(summary.failure.map(|failure| failure.code), Some("internal"));
            assert_eq!(summary.errors, []);
            assert!(summary.components.iter().all(|component| component.restarts == 0));
        }
    }

    /// Panics when it is shown, or else when it is dropped.
    #[derive(Debug)]
    struct Bad {
        is_shown: bool,
    }
    impl std::fmt::Display for Bad {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            assert!(!self.is_shown, "no message");
            Ok(())
        }
    }
    impl std::error::Error for Bad {}
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(self.is_shown, "no end");
        }
    }

    struct Failing(bool);
    impl Bolt for Failing {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Err(Bad { is_shown: self.0 }.into())
        }
    }

    #[tokio::test]
    async fn error_that_panics_is_its_components() {
        for (is_shown, text) in [(true, ": no message"), (false, ": no end")] {
            let summary = summary(0, move || Failing(is_shown)).await;
            assert_eq!(summary.status, RunStatus::Finished, "{summary:?}");
            assert_eq!(summary.errors.len(), 1, "{summary:?}");
            let error = &summary.errors[0];
            assert_eq!((error.component.as_str(), error.count), ("sink", 10));
            assert!(error.message.ends_with(text), "{error:?}");
        }
    }
}
