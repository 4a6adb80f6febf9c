//! The connection to whichever member of etcd answers: made when needed, given up when it fails, with
//! bounded time for all of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::error::{store_error, wants_new_token};
use super::options::EtcdOptions;
use crate::store::StoreError;

/// How long a call may take, with everything.
pub(super) const LONGEST_CALL: Duration = Duration::from_secs(3);

/// Whether a call that may have been carried out can be made once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    IfUnavailable,
    Never,
}

#[derive(Debug)]
pub(super) struct Connection {
    options: EtcdOptions,
    slot: Mutex<Slot>,
    /// The number of the latest client that had an answer.
    proven: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// Which endpoint is used.
    endpoint: usize,
    /// Tells this client from those before it.
    number: u64,
    client: Option<DebugClient>,
}

#[derive(Clone)]
struct DebugClient(Client);

impl std::fmt::Debug for DebugClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Connection {
    pub(super) fn new(options: EtcdOptions) -> Self {
        Self { options, slot: Mutex::new(Slot { endpoint: 0, number: 1, client: None }), proven: AtomicU64::new(0) }
    }

    /// Makes a call, in bounded time. Another endpoint is tried where that is allowed.
    pub(super) async fn call<T, F>(&self, repeat: Repeat, make: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + LONGEST_CALL;
        if repeat == Repeat::Never {
            // What is not repeated should not be what finds out that a member is dead.
            if self.slot.lock().await.number != self.proven.load(Ordering::Relaxed) {
                let probe = |client: Client| async move { client.kv_client().get("\0", None).await };
                if let Err(error @ StoreError::Unavailable(_)) = self.attempts(deadline, probe).await {
                    return Err(error);
                }
            }
            return self.attempt(deadline.saturating_duration_since(Instant::now()), make).await;
        }
        self.attempts(deadline, make).await
    }

    /// Makes a call until it has an answer: once more than there are endpoints, because the connection
    /// may be one that has just broken.
    async fn attempts<T, F>(&self, deadline: Instant, make: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut last = StoreError::Unavailable(format!("no answer within {LONGEST_CALL:?}"));
        for left in (1..=self.options.endpoints.len() + 1).rev() {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            // What is left is shared with the endpoints that may have to be tried yet.
            let others = left.min(self.options.endpoints.len()) as u32;
            let share = (deadline - now) / others.max(1);
            match self.attempt(share, &make).await {
                Err(error @ StoreError::Unavailable(_)) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Makes a call once; the client that fails is used no more.
    pub(super) async fn attempt<T, F>(&self, share: Duration, make: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + share;
        let (number, client) = self.client(share).await?;
        let answer = timeout(deadline.saturating_duration_since(Instant::now()), async {
            match make(client.clone()).await {
                Err(error) if self.options.user.is_some() && wants_new_token(&error) => {
                    client.refresh_token().await?;
                    make(client.clone()).await
                }
                answer => answer,
            }
        });
        let error = match answer.await {
            Ok(Ok(value)) => {
                self.proven.store(number, Ordering::Relaxed);
                return Ok(value);
            }
            Ok(Err(error)) => store_error(&error),
            Err(_) => StoreError::Unavailable(format!("no answer within {share:?}")),
        };
        if matches!(error, StoreError::Unavailable(_)) {
            self.give_up(number).await;
        }
        Err(error)
    }

    /// The client of the endpoint that is used at present.
    pub(super) async fn client(&self, share: Duration) -> Result<(u64, Client), StoreError> {
        let connect = async {
            let mut slot = self.slot.lock().await;
            if let Some(DebugClient(client)) = &slot.client {
                return Ok((slot.number, client.clone()));
            }
            let endpoint = &self.options.endpoints[slot.endpoint % self.options.endpoints.len()];
            let options = self.options.connect_options().map_err(|error| StoreError::Unavailable(error.to_string()))?;
            match timeout(share * 3 / 4, Client::connect([endpoint], Some(options))).await {
                Ok(Ok(client)) => {
                    slot.client = Some(DebugClient(client.clone()));
                    Ok((slot.number, client))
                }
                Ok(Err(error)) => {
                    slot.pass_over();
                    Err(store_error(&error))
                }
                Err(_) => {
                    let message = format!("no answer from {endpoint} within {share:?}");
                    slot.pass_over();
                    Err(StoreError::Unavailable(message))
                }
            }
        };
        // Others may be connecting, and keep us waiting.
        timeout(share, connect)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {share:?}"))))
    }

    /// Uses the client of this number no more, and the next endpoint instead.
    pub(super) async fn give_up(&self, number: u64) {
        let mut slot = self.slot.lock().await;
        if slot.number == number {
            debug!(endpoint = slot.endpoint, "the connection to etcd is given up");
            slot.pass_over();
        }
    }
}

impl Slot {
    fn pass_over(&mut self) {
        self.endpoint += 1;
        self.number += 1;
        self.client = None;
    }
}
