//! Tells Nimbus how the workers stand, writes that down, and cleans up after topologies that are gone.

use std::sync::Arc;
use std::time::Duration;

use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::{Channel, SupervisorReport, connect};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::view::View;

/// Nimbus hears of each supervisor this often.
const EACH: Duration = Duration::from_secs(1);
/// What happens together is told together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long one Nimbus may take.
const PATIENCE: Duration = Duration::from_secs(1);
const CLEANED_EACH: Duration = Duration::from_secs(60);

/// Reports each second and when there is news, until `stop`; once more then.
pub(crate) async fn report(shared: Arc<Shared>, mut views: watch::Receiver<Arc<View>>, stop: CancellationToken) {
    let mut nimbus = Nimbus::default();
    let mut ticks = tokio::time::interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cleaned: Option<(Instant, Vec<String>)> = None;
    loop {
        shared.health.reporting.note();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
            () = shared.news.notified() => tokio::time::sleep(TOGETHER).await,
        }
        let view = Arc::clone(&views.borrow_and_update());
        let known: Vec<String> = view.topologies.keys().cloned().collect();
        let is_due = cleaned.as_ref().is_none_or(|(at, of)| at.elapsed() >= CLEANED_EACH || *of != known);
        if view.is_live && is_due {
            cleaned = Some((Instant::now(), known));
            clean(&shared, &view).await;
        }
        write(&shared).await;
        let addresses = view.nimbus_addresses();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = nimbus.tell(&addresses, shared.report()) => {}
        }
    }
    write(&shared).await;
    let addresses = views.borrow().nimbus_addresses();
    nimbus.tell(&addresses, shared.report()).await;
}

async fn write(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    // What is lost if the runtime ends meanwhile is lost with the process, too.
    let _ = tokio::task::spawn_blocking(move || shared.written_report()).await;
}

async fn clean(shared: &Arc<Shared>, view: &Arc<View>) {
    shared.reports().forget(|topology| view.has(topology));
    shared.health.forget(|topology| view.has(topology));
    let living: Vec<String> = shared.reports().all_living().into_iter().map(|key| key.topology).collect();
    let (folders, now, view) = (shared.folders.clone(), shared.options.clock.now_ms(), Arc::clone(view));
    let cleaning = move || {
        let is_there = |topology: &str| view.has(topology) || living.iter().any(|it| it == topology);
        crate::logs::clean(&folders.logs(), &folders.work(), now, is_there);
    };
    let _ = tokio::task::spawn_blocking(cleaning).await;
}

/// The Nimbus that answered last.
#[derive(Default)]
struct Nimbus {
    connection: Option<(String, NimbusClient<Channel>)>,
    is_silent: bool,
}

impl Nimbus {
    /// Tells the first that answers. If none does, the next report says it all again.
    async fn tell(&mut self, addresses: &[String], report: SupervisorReport) {
        let mut last = "none is known".to_owned();
        for address in addresses {
            match tokio::time::timeout(PATIENCE, self.tell_one(address, report.clone())).await {
                Ok(Ok(())) => {
                    if std::mem::take(&mut self.is_silent) {
                        tracing::info!("the nimbus at {address} takes reports again");
                    }
                    return;
                }
                Ok(Err(status)) => last = format!("{address}: {}", status.message()),
                Err(_) => last = format!("{address}: no answer within {} s", PATIENCE.as_secs()),
            }
            self.connection = None;
        }
        if !std::mem::replace(&mut self.is_silent, true) {
            tracing::warn!("no nimbus takes reports, going on without: {last}");
        }
    }

    async fn tell_one(&mut self, address: &str, report: SupervisorReport) -> Result<(), tonic::Status> {
        let is_connected = self.connection.as_ref().is_some_and(|(to, _)| to == address);
        if !is_connected {
            self.connection = Some((address.to_owned(), NimbusClient::new(connect(address).await?)));
        }
        if let Some((_, client)) = &mut self.connection {
            client.report(report).await?;
        }
        Ok(())
    }
}
