//! Catching panics of user code, with their message and place and without noise on stderr.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::pin::{Pin, pin};
use std::sync::Once;
use std::task::{Context, Poll};

/// A caught panic: what it said and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic(pub(crate) String);

thread_local! {
    /// Whether this thread runs user code, and the place of the panic in it, if there was one.
    static USER_CALL: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
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
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = USER_CALL.replace(Some(None));
    let outcome = catch_unwind(AssertUnwindSafe(call));
    let place = USER_CALL.replace(outer).flatten();
    outcome.map_err(|payload| Panic(describe(payload.as_ref(), place)))
}

fn describe(payload: &(dyn Any + Send), place: Option<String>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    match place {
        Some(place) => format!("panicked at {place}: {text}"),
        None => format!("panicked: {text}"),
    }
}
