//! What a bare bounded channel between two threads reaches with the same tuples: batches filled by
//! one task, read and dropped by the other.

use std::hint::black_box;
use std::time::Duration;

use galerna_topology_api::Value;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::Instant;

const BATCHES: [usize; 3] = [64, 256, 1024];
const IN_FLIGHT: usize = 16;
const LOOK_EVERY: u32 = 64;

/// Tuples a second of the best size of batches.
pub(crate) fn ceiling(each: Duration) -> std::io::Result<f64> {
    let mut best: f64 = 0.0;
    for rows in BATCHES {
        best = best.max(channel(rows, each)?);
    }
    Ok(best)
}

fn channel(rows: usize, duration: Duration) -> std::io::Result<f64> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let (full, mut full_ends) = mpsc::channel::<Vec<Value>>(IN_FLIGHT);
    let tuples = runtime.block_on(async move {
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        tasks.spawn(async move {
            let text = Value::from("some data");
            let mut n = 0;
            for batch in 0u32.. {
                if batch.is_multiple_of(LOOK_EVERY) && began.elapsed() >= duration {
                    break;
                }
                let mut values = Vec::with_capacity(rows * 2);
                for _ in 0..rows {
                    values.push(text.clone());
                    values.push(Value::Int(n));
                    n += 1;
                }
                if full.send(values).await.is_err() {
                    break;
                }
            }
        });
        let mut tuples = 0;
        while let Some(values) = full_ends.recv().await {
            for row in values.chunks_exact(2) {
                black_box(row[0].as_str().map_or(0, str::len) as i64 + row[1].as_i64().unwrap_or(0));
            }
            tuples += values.len() / 2;
        }
        tuples as f64 / began.elapsed().as_secs_f64()
    });
    Ok(tuples)
}
