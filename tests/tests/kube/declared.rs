//! Topologies that stand in the release's values.

use anyhow::{Result, ensure};
use galerna_tests::bound::{bound, secs};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{World, say};

/// A topology without end, of stock components; each text that `note` holds is another topology.
fn endless(name: &str, note: &str) -> Value {
    let definition = format!(
        "# {note}\nname: {name}\nspouts:\n  - {{id: numbers, className: generator, properties: {{rate: 100}}}}\nbolts:\n  \
         - {{id: end, className: \"null\"}}\nstreams:\n  - {{from: numbers, to: end, grouping: {{type: SHUFFLE}}}}\n"
    );
    json!({"name": name, "definition": definition})
}

pub(crate) async fn topologies_of_the_list_are_applied_and_pruned_when_taken_off(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let begun = Instant::now();
    let (first, second) = (endless("first", "one"), endless("second", "two"));
    galerna.upgrade(|values| values["topologies"] = json!([first, second])).await?;
    let applied = galerna.client.listed().await?;
    ensure!(applied.keys().eq(["first", "second"]), "applied are {applied:?}");
    galerna.client.is_whole("first", bound(secs(5))).await?;
    say(&format!("two topologies were applied and run after {:.1?}", begun.elapsed()));

    galerna.upgrade(|_| {}).await?;
    let unchanged = galerna.client.listed().await?;
    ensure!(unchanged == applied, "{applied:?} became {unchanged:?} though nothing was changed");

    galerna.upgrade(|values| values["topologies"] = json!([first])).await?;
    let kept = galerna.client.listed().await?;
    ensure!(kept == applied, "nothing is to be pruned, but {applied:?} became {kept:?}");

    galerna.upgrade(|values| values["prune"] = true.into()).await?;
    galerna.client.is_gone("second").await?;
    let left = galerna.client.listed().await?;
    ensure!(left.get("first") == applied.get("first"), "{applied:?} became {left:?}");

    galerna.upgrade(|values| values["topologies"] = json!([])).await?;
    galerna.client.is_gone("first").await?;
    galerna.upgrade(|values| values["prune"] = false.into()).await?;
    say(&format!("all of it took {:.1?}", begun.elapsed()));
    world.leave(galerna).await
}
