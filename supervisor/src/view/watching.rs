//! Keeps the view up to date, and on disk for a start while the store is away.

use std::sync::Arc;

use galerna_coordination::keys::Keys;
use galerna_coordination::{Event, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::View;
use crate::shared::Shared;

/// A view belongs to one supervisor of one cluster.
#[derive(Serialize, Deserialize)]
struct OnDisk<V> {
    cluster: String,
    supervisor: String,
    view: V,
}

/// What was known at the end of an earlier start.
pub(crate) fn restore(shared: &Shared) -> View {
    let found: Option<OnDisk<View>> = crate::files::read_json(&shared.folders.view());
    let options = &shared.options;
    found
        .filter(|it| it.cluster == options.cluster && it.supervisor == options.id)
        .map(|it| it.view)
        .unwrap_or_default()
}

/// Publishes what the store says. While it cannot be reached nothing changes.
pub(crate) async fn watch_store(
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    keys: Keys,
    views: watch::Sender<Arc<View>>,
) {
    let mut watched = store.watch(keys.root());
    let mut view = View::clone(&views.borrow());
    let mut on_disk = view.for_disk(&shared.options.id);
    while let Some(event) = watched.events.recv().await {
        match event {
            Event::Snapshot(listing) => view.replace(&keys, &listing),
            Event::Changes(changes) => changes.iter().for_each(|change| view.change(&keys, change)),
            Event::Disconnected => {
                shared.health.store.note_disconnect();
                tracing::warn!("the store cannot be reached; workers go on as they are");
                continue;
            }
            Event::Connected => {
                tracing::info!("the store can be reached again");
                continue;
            }
        }
        let kept = view.for_disk(&shared.options.id);
        if kept != on_disk {
            save(&shared, &kept);
            on_disk = kept;
        }
        views.send_replace(Arc::new(view.clone()));
    }
    // The store has ended: what was known stays known.
    std::future::pending().await
}

fn save(shared: &Shared, view: &View) {
    let (cluster, supervisor) = (shared.options.cluster.clone(), shared.options.id.clone());
    let path = shared.folders.view();
    if let Err(error) = crate::files::write_json(&path, &OnDisk { cluster, supervisor, view }) {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
}
