//! Measures the engine on four topologies, each beside the ceiling that a bare channel sets; two linked
//! workers beside a bare connection; shuffle among tasks of different speeds; components of many tasks;
//! the scheduler; and how fast a test's cluster starts.
//!
//! The shapes are those that Storm's and Flink's harnesses measure: a constant into a null bolt, the
//! same with an identity bolt between, words counted by key, and lines split into words.

mod ceiling;
mod heap;
mod many_tasks;
mod measure;
mod process;
mod schedule;
mod shapes;
#[cfg(feature = "testing")]
mod start;
mod two_workers;
mod uneven;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use galerna_topology_api::human::HumanDuration;

use measure::{Measured, Quantiles};

/// A topology to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// A spout emits a constant, a bolt reads it.
    ConstNull,
    /// As const-null, with a bolt between that passes tuples on.
    ConstIdentityNull,
    /// A spout emits words, a bolt counts them by key.
    WordCount,
    /// A spout emits lines of ten words, a bolt splits them, a bolt counts them by key.
    LinesWordCount,
    /// As const-null, with the spout and the bolt in worker processes of their own.
    TwoWorkers,
    /// A fast spout, a bolt of four tasks by shuffle that sleep 1, 1, 1 and 10 ms a tuple.
    Uneven,
    /// A spout and a bolt of as many tasks as the options say.
    ManyTasks,
    /// Starts of a cluster in a test function (needs the feature `testing`).
    ClusterStart,
    /// Plans of the scheduler for large clusters.
    Schedule,
}

/// Measures the engine.
#[derive(Debug, Parser)]
#[command(name = "galerna-benches", version)]
struct Arguments {
    /// What to measure
    shape: Shape,
    /// Track tuples, and ack them
    #[arg(long)]
    acked: bool,
    /// How long to measure, after a warm-up of a fifth of it
    #[arg(long, default_value = "10s")]
    duration: HumanDuration,
    /// How to print the figures
    #[arg(long, default_value = "text")]
    output: Output,
    #[command(flatten)]
    many: many_tasks::Options,
    /// What this process does for another one that measures
    #[arg(long, hide = true)]
    part: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let began = tokio::time::Instant::now();
    let arguments = Arguments::parse();
    if let Some(part) = &arguments.part {
        return two_workers::play(part, began);
    }
    let Arguments { shape, acked, duration: HumanDuration(duration), output, many, .. } = arguments;
    match shape {
        Shape::TwoWorkers => report(two_workers::measure(acked, duration), output, two_workers::print),
        Shape::Uneven => report(uneven::measure(acked, duration), output, uneven::print),
        Shape::ManyTasks => report(many_tasks::measure(&many, acked, duration, began), output, many_tasks::print),
        Shape::ClusterStart => cluster_start(),
        Shape::Schedule => report(schedule::measure(), output, |figures| schedule::print(figures)),
        Shape::ConstNull | Shape::ConstIdentityNull | Shape::WordCount | Shape::LinesWordCount => {
            report(measure::measure(shape, acked, duration, began), output, print)
        }
    }
}

/// Prints figures, or why there are none.
fn report<F: serde::Serialize>(figures: anyhow::Result<F>, output: Output, print: impl FnOnce(&F)) -> ExitCode {
    match figures {
        Ok(figures) if output == Output::Json => println!("{}", json(&figures)),
        Ok(figures) => print(&figures),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(feature = "testing")]
fn cluster_start() -> ExitCode {
    start::measure();
    ExitCode::SUCCESS
}

#[cfg(not(feature = "testing"))]
fn cluster_start() -> ExitCode {
    eprintln!("error: cluster-start needs the test kit: add `--features testing`");
    ExitCode::from(2)
}

fn json(figures: &impl serde::Serialize) -> String {
    serde_json::to_string(figures).unwrap_or_else(|error| unreachable!("plain figures serialize: {error}"))
}

fn print(measured: &Measured) {
    print_load(measured);
    println!("  start to tuple     {:.1} ms", measured.start_ms);
}

/// Prints all but the times of starting.
fn print_load(measured: &Measured) {
    let millions = |per_second: f64| format!("{:.2} M/s", per_second / 1e6);
    println!("{}{}", measured.name, if measured.acked { " (acked)" } else { "" });
    println!("  at the last bolt   {}", millions(measured.tuples_per_second));
    println!("  emitted            {}", millions(measured.emitted_per_second));
    let share = measured.tuples_per_second / measured.ceiling_tuples_per_second * 100.0;
    println!("  ceiling            {} (reached {share:.0} %)", millions(measured.ceiling_tuples_per_second));
    print_latency("latency", measured.latency_us);
    print_latency("complete latency", measured.complete_latency_us);
    println!("  cores              {:.2}", measured.cpu_cores);
    println!("  peak memory        {:.1} MB", measured.peak_rss_bytes as f64 / 1e6);
}

fn print_latency(name: &str, latency: Option<Quantiles>) {
    if let Some(Quantiles { p50, p99, p999, max }) = latency {
        println!("  {name:<18} p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, max {max:.0} µs");
    }
}
