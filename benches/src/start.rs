//! How long a cluster in a test function takes, from its start to the end of a small run.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, TopologyBuilder, Tuple, values};
use galerna_worker::testing::{LocalCluster, MockSpout};
use tokio::time::Instant;

const ROUNDS: usize = 200;

struct Pass;

impl Bolt for Pass {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(tuple.values());
        Ok(())
    }
}

/// Prints the median and the slowest of many starts.
pub(crate) fn measure() {
    let mut took: Vec<f64> = (0..ROUNDS).map(|_| one_start()).collect();
    took.sort_by(f64::total_cmp);
    println!("cluster-start: median {:.3} ms, slowest {:.3} ms", took[ROUNDS / 2], took[ROUNDS - 1]);
}

fn one_start() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let mut builder = TopologyBuilder::new("start");
    let _ = builder.spout("spout", || MockSpout::new(["n"], [values![1]]));
    let _ = builder.bolt("pass", || Pass).parallelism(2).shuffle("spout");
    let topology = builder.build().unwrap_or_else(|error| panic!("{error}"));
    let began = Instant::now();
    let outcome = runtime.block_on(LocalCluster::new().complete(topology));
    outcome.unwrap_or_else(|error| panic!("{error}"));
    began.elapsed().as_secs_f64() * 1e3
}
