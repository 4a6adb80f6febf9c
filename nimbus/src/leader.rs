//! Where a call is answered: here, if this nimbus leads, or by the one that does.

use std::time::Duration;

use galerna_coordination::Leadership;
use galerna_protocol::Channel;
use galerna_protocol::nimbus_client::NimbusClient;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::core::{Core, lock, store_status};

/// Says that a call was forwarded once: it is not forwarded again.
const FORWARDED: &str = "galerna-forwarded";
/// How long a leader is waited for.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// How long the store, once it was lost, may take to answer a call.
const STORE_WAIT: Duration = Duration::from_secs(4);

/// Where a call is answered.
pub(crate) enum Place {
    /// Here, by right of this.
    Here(Leadership),
    /// By the leader, over there.
    There(NimbusClient<Channel>),
}

/// The same request, marked as forwarded.
pub(crate) fn forwarded<T>(request: Request<T>) -> Request<T> {
    let mut request = Request::new(request.into_inner());
    request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("1"));
    request
}

impl Core {
    /// Where a call is answered that needs the store and what the leader knows.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached or nobody leads.
    pub(crate) async fn place<T>(&self, request: &Request<T>) -> Result<Place, Status> {
        self.check_store().await?;
        let place = self.place_without_store(request).await?;
        if let Place::Here(leadership) = &place
            && !self.has_seen(leadership.revision()).await
        {
            return Err(Status::unavailable("this nimbus leads, but has not caught up with the store yet; try again"));
        }
        Ok(place)
    }

    /// Where a call is answered that needs only what the leader knows.
    ///
    /// # Errors
    /// `Unavailable` when nobody leads.
    pub(crate) async fn place_without_store<T>(&self, request: &Request<T>) -> Result<Place, Status> {
        if self.stopped.is_cancelled() {
            return Err(Status::unavailable("this nimbus is about to stop; try again"));
        }
        if let Some(leadership) = self.leadership() {
            return Ok(Place::Here(leadership));
        }
        if request.metadata().contains_key(FORWARDED) {
            return Err(Status::unavailable("the nimbus that led does not lead any more; try again"));
        }
        let mut standing = self.standing.clone();
        let led = standing.wait_for(|standing| match (&standing.leadership, &standing.leader) {
            (Some(_), _) => self.leadership().is_some(),
            (None, Some((leader, _))) => leader.id != self.id,
            (None, None) => false,
        });
        let address = match tokio::time::timeout(LEADER_WAIT, led).await {
            Ok(Ok(standing)) => standing.leader.as_ref().map(|(leader, _)| leader.address.clone()),
            _ => None,
        };
        match (self.leadership(), address) {
            (Some(leadership), _) => Ok(Place::Here(leadership)),
            (None, Some(address)) => Ok(Place::There(self.leader_client(&address).await?)),
            (None, None) => Err(Status::unavailable("no nimbus leads at the moment; try again")),
        }
    }

    /// Fails clearly while the store is lost, instead of telling what may be out of date.
    async fn check_store(&self) -> Result<(), Status> {
        if self.view.borrow().unbroken_since.is_some() {
            return Ok(());
        }
        let asked = tokio::time::timeout(STORE_WAIT, self.store.get(&self.keys.leader())).await;
        let Ok(answer) = asked else {
            return Err(Status::unavailable("the store cannot be reached: it does not answer"));
        };
        answer.map_err(|error| store_status(&error))?;
        let mut view = self.view.subscribe();
        let caught_up = tokio::time::timeout(STORE_WAIT, view.wait_for(|view| view.unbroken_since.is_some())).await;
        match caught_up {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Status::unavailable("the store cannot be reached: it answers, but does not tell changes yet")),
        }
    }

    async fn leader_client(&self, address: &str) -> Result<NimbusClient<Channel>, Status> {
        let known = lock(&self.leader_channel).clone().filter(|(known, _)| known == address);
        let channel = match known {
            Some((_, channel)) => channel,
            None => {
                let channel = galerna_protocol::connect(address).await.map_err(|error| {
                    Status::unavailable(format!(
                        "the nimbus that leads cannot be reached: {}; try again",
                        error.message()
                    ))
                })?;
                *lock(&self.leader_channel) = Some((address.to_owned(), channel.clone()));
                channel
            }
        };
        Ok(NimbusClient::new(channel).max_decoding_message_size(galerna_protocol::LONGEST_MESSAGE))
    }
}
