//! A runtime that only takes notes. Its clock moves when somebody sleeps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::engine::{BoxFuture, OutputCommand, TaskPort};
use galerna_topology_api::{Error, OutputClosed, Result, Timestamp, Value};

#[derive(Default)]
pub(crate) struct TestPort {
    clock: Arc<Mutex<Duration>>,
    pub(crate) errors: Mutex<Vec<String>>,
    pub(crate) given_up: Mutex<Vec<Vec<Value>>>,
    pub(crate) commands: Mutex<Vec<OutputCommand>>,
}

impl TestPort {
    pub(crate) fn advance(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }
}

impl TaskPort for TestPort {
    fn report_error(&self, error: &Error) {
        self.errors.lock().unwrap().push(error.to_string());
    }

    fn count_replayed(&self, _: u64) {}

    fn give_up(&self, values: &[Value], _: &str) {
        self.given_up.lock().unwrap().push(values.to_vec());
    }

    fn submit(&self, command: OutputCommand) -> BoxFuture<'_, Result<(), OutputClosed>> {
        self.commands.lock().unwrap().push(command);
        Box::pin(std::future::ready(Ok(())))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clock.clone();
        Box::pin(async move {
            // Lets everything else run first.
            tokio::time::sleep(Duration::from_millis(1)).await;
            *clock.lock().unwrap() += duration;
        })
    }

    fn elapsed(&self) -> Duration {
        *self.clock.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}
