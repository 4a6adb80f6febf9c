//! A check for spouts that wait in `ready`.

use std::time::Duration;

use galerna_topology_api::engine::SpoutCell;
use galerna_topology_api::{Spout, TopologyBuilder};

use super::cluster::{LocalCluster, RunFailed};

/// Checks that a spout's `ready` may be dropped at any time: runs the spout twice, once as it is and
/// once with each `ready` dropped and asked again every few polls, and compares what it emits. The
/// spout must end by itself.
///
/// # Errors
/// When a run fails.
///
/// # Panics
/// When the two runs emit different tuples.
pub async fn check_ready_is_cancel_safe<S: Spout>(
    make: impl Fn() -> S + Clone + Send + Sync + 'static,
) -> Result<(), RunFailed> {
    let mut emitted = Vec::new();
    for is_impatient in [false, true] {
        let make = make.clone();
        let factory = SpoutCell::factory(move || Ok(Impatient { spout: make(), is_impatient }));
        let mut builder = TopologyBuilder::new("ready");
        let _ = builder.add_spout("spout", factory);
        let topology = match builder.build() {
            Ok(topology) => topology,
            Err(invalid) => panic!("the spout alone is no valid topology: {invalid}"),
        };
        emitted.push(LocalCluster::new().complete(topology).await?.emitted("spout"));
    }
    assert_eq!(emitted[0], emitted[1], "dropping `ready` changed what the spout emits");
    Ok(())
}

/// Drops the inner spout's `ready` again and again before it is through.
struct Impatient<S> {
    spout: S,
    is_impatient: bool,
}

impl<S: Spout> Spout for Impatient<S> {
    type MessageId = S::MessageId;

    fn output(&self) -> galerna_topology_api::Streams {
        self.spout.output()
    }

    async fn open(&mut self, context: &galerna_topology_api::TopologyContext) -> galerna_topology_api::Result<()> {
        self.spout.open(context).await
    }

    async fn next(
        &mut self,
        out: &mut galerna_topology_api::SpoutEmitter<'_, S::MessageId>,
    ) -> galerna_topology_api::Result<galerna_topology_api::Next> {
        self.spout.next(out).await
    }

    async fn ready(&mut self, context: &galerna_topology_api::TopologyContext) {
        if self.is_impatient {
            for wait in [0, 1, 3] {
                let ready = self.spout.ready(context);
                if tokio::time::timeout(Duration::from_millis(wait), ready).await.is_ok() {
                    return;
                }
            }
        }
        self.spout.ready(context).await;
    }

    async fn ack(
        &mut self,
        id: S::MessageId,
        context: &galerna_topology_api::TopologyContext,
    ) -> galerna_topology_api::Result<()> {
        self.spout.ack(id, context).await
    }

    async fn fail(
        &mut self,
        id: S::MessageId,
        failure: &galerna_topology_api::Failure,
        context: &galerna_topology_api::TopologyContext,
    ) -> galerna_topology_api::Result<()> {
        self.spout.fail(id, failure, context).await
    }
}
