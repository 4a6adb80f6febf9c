//! Workers that send no heartbeat, and the traces of those that ended.

use anyhow::{Context, Result, ensure};
use galerna_protocol::{DescribeReply, WorkerState};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Fault, Sequence, Setup, State, bound, secs, within};

/// The `errors` of a topology that are ends of its workers.
async fn ends(cluster: &Cluster, name: &str) -> Result<Vec<Value>> {
    let errors: Value = serde_json::from_str(&cluster.succeed(["errors", name, "--output", "json"]).await?)?;
    let errors = errors.as_array().context("no list")?;
    Ok(errors.iter().filter(|error| error["end"].is_object()).cloned().collect())
}

fn state_of(reply: &DescribeReply, pid: u32) -> Option<WorkerState> {
    reply.workers.iter().find(|worker| worker.pid == pid).map(|worker| worker.state())
}

#[tokio::test]
async fn frozen_worker_is_shown_killed_and_relaunched_and_a_busy_one_is_left_alone() -> Result<()> {
    let cluster = Setup::supervisors(2).worker_timeout(6).start().await?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/busy.yaml");
    cluster.succeed(["submit", file]).await?;
    let mut sequence = Sequence::workers(2).with("rate", 200).submit(&cluster).await?;
    sequence.flows().await?;
    let busy = within(bound(secs(3)), "all executors of busy run", async || {
        let state = State(cluster.describe("busy").await?);
        Ok(state.what_is_missing().map(|()| state))
    })
    .await?;
    let busy_since = Fault::begins();
    let before = sequence.state().await?;
    let frozen = before.worker_of("pass")?;

    let fault = Fault::begins();
    sequence.signal_worker(frozen, Signal::STOP)?;
    let is_shown = |state: &State| match state_of(&state.0, frozen.pid) {
        Some(WorkerState::NotResponding) => Ok(()),
        other => Err(format!("it is {other:?}")),
    };
    // Half of the time until the kill, which is 6 s; heartbeats are a second apart.
    sequence.stands(secs(6), "the frozen worker is shown as not responding", is_shown).await?;
    let list = cluster.succeed(["list"]).await?;
    ensure!(list.contains("1 of 2 workers not responding"), "{list}");
    sequence.flows_again(fault, secs(9)).await?;
    let after = sequence.is_whole(bound(secs(2))).await?;
    let again = after.worker_of("pass")?;
    ensure!(again.pid != frozen.pid && again.restarts == 1, "{again:?}");
    sequence.worker_exits(frozen, bound(secs(1))).await?;

    let ends_of_frozen = ends(&cluster, &sequence.name).await?;
    ensure!(ends_of_frozen.len() == 1, "{ends_of_frozen:?}");
    let error = &ends_of_frozen[0];
    let worker = frozen.id.as_ref().context("it has an id")?.to_string();
    ensure!(error["worker"] == worker.as_str() && error["end"]["cause"] == "not responding", "{error}");
    ensure!(error["end"]["signal"] == 9 && error["end"]["pid"] == frozen.pid, "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("it sent no heartbeat for 6 s and was killed"), "{error}");

    let busy_worker = busy.worker_of("burn")?;
    within(secs(60), "busy has computed for thrice the time after which a frozen one is killed", async || {
        let now = cluster.describe("busy").await?;
        let state = state_of(&now, busy_worker.pid);
        ensure!(state == Some(WorkerState::Running), "the busy worker is {state:?}: {now:?}");
        Ok(if busy_since.elapsed() > secs(18) { Ok(()) } else { Err("not yet") })
    })
    .await?;
    let ends_of_busy = ends(&cluster, "busy").await?;
    ensure!(ends_of_busy.is_empty(), "{ends_of_busy:?}");
    let running = cluster.succeed(["errors", "busy"]).await?;
    ensure!(running.contains("a call is still running after 5 s"), "its calls are not that long: {running}");

    sequence.ends_with_nothing_lost().await?;
    cluster.succeed(["kill", "busy", "-w", "0"]).await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn supervisor_paused_for_longer_than_the_timeout_kills_none_of_its_workers() -> Result<()> {
    let cluster = Setup::supervisors(1).worker_timeout(3).start().await?;
    let supervisor = cluster.supervisor("node-1")?;
    supervisor.kill()?;
    // It must not be given up by Nimbus while it is paused.
    supervisor.restart_with(&[("--lease", "60")])?;
    cluster.knows_supervisors(1, bound(secs(3))).await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;

    supervisor.signal(Signal::STOP)?;
    let paused = Fault::begins();
    let is_over = |at_least| if paused.elapsed() > secs(at_least) { Ok(()) } else { Err("not yet") };
    within(secs(30), "a pause of three times the timeout", async || Ok(is_over(9))).await?;
    supervisor.signal(Signal::CONT)?;
    within(secs(30), "it looks for another three times the timeout", async || Ok(is_over(18))).await?;
    let after = sequence.is_whole(bound(secs(2))).await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    let log = supervisor.log();
    ensure!(!log.contains("has sent no heartbeat"), "workers were suspected: {log}");
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn a_killed_worker_leaves_its_signal_and_time_in_errors_after_it_recovered() -> Result<()> {
    let cluster = Setup::supervisors(1).nimbuses(2).start().await?;
    let mut sequence = Sequence::workers(2).with("rate", 200).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let victim = before.worker_of("pass")?;

    let fault = Fault::begins();
    sequence.kill_worker(victim)?;
    sequence.flows_again(fault, secs(1)).await?;
    let after = sequence.is_whole(bound(secs(2))).await?;
    ensure!(after.worker_of("pass")?.restarts == 1, "{after:?}");
    let text = cluster.succeed(["errors", &sequence.name]).await?;
    let worker = victim.id.as_ref().context("it has an id")?.to_string();
    ensure!(text.contains(&format!(" worker {worker} (incarnation ")), "{text}");
    ensure!(text.contains(": was ended by signal 9") && text.contains("its last lines:"), "{text}");
    let told = ends(&cluster, &sequence.name).await?;
    ensure!(told.len() == 1 && told[0]["end"]["signal"] == 9 && told[0]["end"]["pid"] == victim.pid, "{told:?}");
    let described = cluster.succeed(["describe", &sequence.name]).await?;
    ensure!(described.contains("workers that ended last") && described.contains("signal 9"), "{described}");

    // What is told survives the supervisor and the leader.
    cluster.supervisor("node-1")?.kill()?;
    cluster.supervisor("node-1")?.restart()?;
    let leader = cluster.leader().await?.context("nobody leads")?;
    cluster.nimbuses[leader].kill()?;
    within(bound(secs(6)), "the new leader tells the same", async || {
        let answer = cluster.run(["errors", &sequence.name, "--output", "json"]).await?;
        if answer.code != Some(0) {
            return Ok(Err(answer.errors));
        }
        let now = ends(&cluster, &sequence.name).await?;
        Ok(if now == told { Ok(()) } else { Err(format!("{now:?}")) })
    })
    .await?;
    cluster.nimbuses[leader].restart()?;
    sequence.is_whole(bound(secs(3))).await?;

    // Killed again and again, it is launched later each time.
    within(bound(secs(20)), "`list` says that a worker is down", async || {
        let state = sequence.state().await?;
        if let Ok(worker) = state.worker_of("pass")
            && worker.state() == WorkerState::Running
        {
            // It may have ended meanwhile.
            let _ = sequence.kill_worker(worker);
        }
        let list = cluster.succeed(["list"]).await?;
        Ok(if list.contains("1 of 2 workers down") { Ok(()) } else { Err(list) })
    })
    .await?;
    sequence.is_whole(bound(secs(8))).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}
