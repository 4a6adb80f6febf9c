//! Two worker processes that are linked over loopback, the spout in one and the bolt in the other,
//! beside what a bare connection carries: the same messages and windows, and nothing around them.
//!
//! The harness is the supervisor of both workers, and asks its children for their counts over pipes.
//! A round whose counts or sums at both ends differ, once it has drained, is an error.

mod bare;
mod child;
mod supervisor;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_protocol::{Order, TaskReport, WorkerState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Shape;
use crate::measure::Quantiles;
use crate::process::{cpu_seconds, peak_memory, written_bytes};
use crate::shapes::{self, Shared};
use child::{Child, Counts, Part, Question};
use supervisor::Supervisor;

/// Rounds of the workers; a round of the bare connection comes before and after each.
const ROUNDS: usize = 3;

/// The figures of one measurement: medians of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    name: &'static str,
    acked: bool,
    /// At the bolt.
    tuples_per_second: f64,
    /// In both directions.
    bytes_per_second: f64,
    /// From the spout's worker to the bolt's, and back, with everything that is sent around tuples.
    bytes_per_tuple_there: f64,
    bytes_per_tuple_back: f64,
    /// Of the bare connection.
    ceiling_bytes_per_second: f64,
    /// As many tuples of this size as the bare connection would carry.
    ceiling_tuples_per_second: f64,
    share_of_ceiling: f64,
    /// Of both processes.
    cpu_cores: f64,
    ceiling_cpu_cores: f64,
    spout_peak_rss_bytes: u64,
    bolt_peak_rss_bytes: u64,
    /// From the emit to the spout's ack, of one tuple in 64; the last round's.
    complete_latency_us: Option<Quantiles>,
    /// Of each round.
    rounds_tuples_per_second: Vec<f64>,
    rounds_ceiling_bytes_per_second: Vec<f64>,
}

/// Measures for `duration` in several rounds, each after a fifth of it to warm up.
pub(crate) fn measure(acked: bool, duration: Duration) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let each = duration / ROUNDS as u32;
    runtime.block_on(async {
        let (mut ceilings, mut rounds) = (vec![ceiling_round(each).await?], Vec::new());
        for _ in 0..ROUNDS {
            rounds.push(workers_round(acked, each).await?);
            ceilings.push(ceiling_round(each).await?);
        }
        Ok(figures(acked, &rounds, &ceilings))
    })
}

/// What a child process does: `part` says what.
pub(crate) fn play(part: &str, began: Instant) -> ExitCode {
    child::play(part, began)
}

fn figures(acked: bool, rounds: &[Round], ceilings: &[Round]) -> Figures {
    let of = |rounds: &[Round], figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let bytes_per_second = of(rounds, |round| round.bytes_there + round.bytes_back);
    let ceiling = of(ceilings, |round| round.bytes_there + round.bytes_back);
    let there = of(rounds, |round| round.bytes_there / round.received);
    let back = of(rounds, |round| round.bytes_back / round.received);
    Figures {
        name: "two-workers",
        acked,
        tuples_per_second: of(rounds, |round| round.received),
        bytes_per_second,
        bytes_per_tuple_there: there,
        bytes_per_tuple_back: back,
        ceiling_bytes_per_second: ceiling,
        ceiling_tuples_per_second: ceiling / (there + back),
        share_of_ceiling: bytes_per_second / ceiling,
        cpu_cores: of(rounds, |round| round.cores),
        ceiling_cpu_cores: of(ceilings, |round| round.cores),
        spout_peak_rss_bytes: rounds.iter().map(|round| round.peaks.0).max().unwrap_or(0),
        bolt_peak_rss_bytes: rounds.iter().map(|round| round.peaks.1).max().unwrap_or(0),
        complete_latency_us: rounds.last().and_then(|round| round.complete_us),
        rounds_tuples_per_second: rounds.iter().map(|round| round.received).collect(),
        rounds_ceiling_bytes_per_second: ceilings.iter().map(|round| round.bytes_there + round.bytes_back).collect(),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = ((figures.len() - 1) / 2, figures.len() / 2);
    (figures[lower] + figures[upper]) / 2.0
}

pub(crate) fn print(figures: &Figures) {
    let mega = |figure: f64| figure / 1e6;
    let list = |figures: &[f64]| figures.iter().map(|one| format!("{:.2}", mega(*one))).collect::<Vec<_>>().join(" ");
    println!("two-workers{}", if figures.acked { " (acked)" } else { "" });
    println!("  at the bolt        {:.2} M/s", mega(figures.tuples_per_second));
    println!("  on the wire        {:.0} MB/s", mega(figures.bytes_per_second));
    let (there, back) = (figures.bytes_per_tuple_there, figures.bytes_per_tuple_back);
    println!("  bytes a tuple      {there:.1} there, {back:.1} back");
    let (bytes, tuples) = (mega(figures.ceiling_bytes_per_second), mega(figures.ceiling_tuples_per_second));
    let share = figures.share_of_ceiling * 100.0;
    println!("  bare connection    {bytes:.0} MB/s, or {tuples:.2} M/s of these (reached {share:.0} %)");
    crate::print_latency("complete latency", figures.complete_latency_us);
    println!("  cores              {:.2} (bare: {:.2})", figures.cpu_cores, figures.ceiling_cpu_cores);
    let peaks = (figures.spout_peak_rss_bytes as f64, figures.bolt_peak_rss_bytes as f64);
    println!("  peak memory        {:.1} MB spout, {:.1} MB bolt", mega(peaks.0), mega(peaks.1));
    println!("  rounds, M/s        {}", list(&figures.rounds_tuples_per_second));
    println!("  bare rounds, MB/s  {}", list(&figures.rounds_ceiling_bytes_per_second));
}

/// What a round came to, in each second of it.
struct Round {
    /// Tuples, or bytes of frames, at the receiver.
    received: f64,
    /// Written by the sender, and by the receiver.
    bytes_there: f64,
    bytes_back: f64,
    /// Of both.
    cores: f64,
    /// The most memory of both, in bytes.
    peaks: (u64, u64),
    complete_us: Option<Quantiles>,
}

/// What two children have done by now.
struct Moment {
    at: Instant,
    received: u64,
    cpu: f64,
    written: (u64, u64),
}

impl Moment {
    async fn take(sender: &Child, receiver: &mut Child) -> Result<Self> {
        let received = receiver.ask(Question::Count).await?.received;
        Ok(Self {
            at: Instant::now(),
            received,
            cpu: cpu_seconds(sender.id) + cpu_seconds(receiver.id),
            written: (written_bytes(sender.id), written_bytes(receiver.id)),
        })
    }
}

/// Watches two children for `duration`, after a fifth of it to warm up.
async fn watch(sender: &mut Child, receiver: &mut Child, duration: Duration) -> Result<Round> {
    sleep(duration / 5).await;
    sender.ask(Question::Measure).await?;
    let before = Moment::take(sender, receiver).await?;
    sleep(duration).await;
    let after = Moment::take(sender, receiver).await?;
    let seconds = (after.at - before.at).as_secs_f64();
    let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
    ensure!(after.received > before.received, "nothing arrived within {duration:?}");
    Ok(Round {
        received: rate(before.received, after.received),
        bytes_there: rate(before.written.0, after.written.0),
        bytes_back: rate(before.written.1, after.written.1),
        cores: (after.cpu - before.cpu) / seconds,
        peaks: (peak_memory(sender.id), peak_memory(receiver.id)),
        complete_us: None,
    })
}

async fn ceiling_round(duration: Duration) -> Result<Round> {
    let address = format!("127.0.0.1:{}", free_ports::<1>()?[0]);
    let mut receiver = Child::launch(&Part::Receiver { address: address.clone() })?;
    // Who answers has bound its address.
    receiver.ask(Question::Count).await?;
    let mut sender = Child::launch(&Part::Sender { address })?;
    let round = watch(&mut sender, &mut receiver, duration).await?;
    sender.ask(Question::End).await?;
    let (sent, received) = (sender.ended().await?, receiver.ended().await?);
    ensure!(sent.sent == received.received, "{} bytes were sent, {} arrived", sent.sent, received.received);
    Ok(round)
}

async fn workers_round(acked: bool, duration: Duration) -> Result<Round> {
    let slots = free_ports::<2>()?.map(u32::from);
    let topology = shapes::build(Shape::TwoWorkers, acked, &Arc::new(Shared::new(Instant::now())))?;
    let tasks = topology.components().iter().map(|component| component.tasks.clone());
    let mut supervisor = Supervisor::start(slots.into_iter().zip(tasks)).await?;
    let part = |slot| Part::Worker { supervisor: supervisor.address.clone(), slot, acked };
    let (mut spout, mut bolt) = (Child::launch(&part(slots[0]))?, Child::launch(&part(slots[1]))?);
    supervisor.until(&slots, WorkerState::Running).await?;
    let mut round = watch(&mut spout, &mut bolt, duration).await?;
    supervisor.order(Order::Drain);
    let reports = supervisor.until(&slots, WorkerState::Drained).await?;
    supervisor.order(Order::Exit);
    let (sent, received) = (spout.ended().await?, bolt.ended().await?);
    check(acked, &sent, &received, &reports)?;
    round.complete_us = sent.complete_us;
    Ok(round)
}

/// Whether everything that was emitted has arrived, once, by all accounts.
fn check(acked: bool, sent: &Counts, received: &Counts, reports: &[TaskReport]) -> Result<()> {
    let (count, sum) = (sent.sent, sent.sent_sum);
    ensure!(count == received.received, "{count} tuples were emitted, {} arrived", received.received);
    ensure!(
        sum == received.received_sum,
        "the sum of what was emitted is {sum}, of what arrived {}",
        received.received_sum
    );
    let [spout, bolt] = reports else { anyhow::bail!("expected reports of 2 tasks, found {}", reports.len()) };
    ensure!(spout.emitted == count, "{count} tuples were emitted, {} are reported", spout.emitted);
    ensure!(bolt.executed == count, "{count} tuples arrived, {} are reported", bolt.executed);
    let acks = if acked { count } else { 0 };
    ensure!(spout.acked == acks && spout.failed == 0, "{} of {acks} acked, {} failed", spout.acked, spout.failed);
    Ok(())
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // All at once, so that they differ.
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("a listener without an address")?.port();
    }
    Ok(ports)
}
