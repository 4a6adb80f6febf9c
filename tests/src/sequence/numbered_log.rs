//! The spout: a log of numbers that is read from its committed offset on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use galerna::prelude::*;
use galerna::topology_api::human::HumanDuration;

use super::{FIELDS, KEYS};
use crate::journal::{Follower, Journal, files, monotonic_ns};

/// Emits 0, 1, 2, …, reliably; goes on at the first number that was never acked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberedLog {
    /// Where its files stand.
    folder: PathBuf,
    /// How many numbers each task has; without end unless given, or until [`end_source`].
    total: Option<u64>,
    /// How many keys the numbers are dealt to.
    #[serde(default = "default_keys")]
    keys: u64,
    /// How many numbers a task emits in a second at most.
    rate: Option<f64>,
    #[serde(skip)]
    run: Option<Run>,
}

fn default_keys() -> u64 {
    KEYS
}

/// The longest call of `next`.
const NUMBERS_A_CALL: usize = 64;
/// How often it is looked whether the source has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Short, and the same after many failures only because faults end soon.
const BACKOFF: Duration = Duration::from_millis(10);

/// What a task holds between `open` and `close`.
struct Run {
    id: i64,
    emitted: Journal,
    acked: Journal,
    retries: RetryBuffer<u64>,
    next: u64,
    end: Option<u64>,
    next_look: Duration,
    allowance: Allowance,
}

impl Spout for NumberedLog {
    type MessageId = u64;

    fn output(&self) -> Streams {
        Streams::default_fields(FIELDS)
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        let (folder, task, id) = (&self.folder, context.task_id(), monotonic_ns());
        fs::create_dir_all(folder)?;
        self.run = Some(Run {
            id,
            next: committed_offset(folder, task)?,
            emitted: Journal::create(&folder.join(format!("emitted-{task}-{id}.txt")))?,
            acked: Journal::create(&folder.join(format!("acked-{task}-{id}.txt")))?,
            retries: RetryBuffer::new(
                Retries { backoff: HumanDuration(BACKOFF), ..Retries::endless() },
                Boundedness::Unbounded,
            ),
            end: self.total,
            next_look: Duration::ZERO,
            allowance: Allowance { rate: self.rate, tokens: 0.0, at: context.elapsed() },
        });
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        let context = out.context();
        let task = context.task_id();
        let run = self.run.as_mut().ok_or("not open")?;
        if run.end.is_none() && context.elapsed() >= run.next_look {
            run.next_look = context.elapsed() + LOOK_INTERVAL;
            run.end = end_of_source(&self.folder, task)?;
        }
        let mut rows = Vec::new();
        while rows.len() < NUMBERS_A_CALL
            && let Some((number, mut values)) = run.retries.due(context)
        {
            values[2] = Value::from(true);
            rows.push((number, values));
        }
        run.allowance.refill(context.elapsed());
        while rows.len() < NUMBERS_A_CALL && run.end.is_none_or(|end| run.next < end) && run.allowance.take() {
            let number = run.next;
            run.next += 1;
            let values = values![(number % self.keys) as i64, number as i64, false, i64::from(task), run.id].to_vec();
            run.retries.sent(number, values.clone());
            rows.push((number, values));
        }
        let mut lines = String::new();
        for (number, values) in &rows {
            let is_replay = values[2].as_bool() == Some(true);
            writeln!(lines, "{} {number} {}", monotonic_ns(), i32::from(is_replay))?;
        }
        run.emitted.append(&lines)?;
        let is_idle = rows.is_empty();
        context.report_source(&format!("number {}", run.next), run.end.map(|end| end.saturating_sub(run.next)));
        for (number, values) in rows {
            out.emit(number, values);
        }
        if !is_idle {
            return Ok(Next::Emitted);
        }
        let has_ended = run.end.is_some_and(|end| run.next >= end) && !run.retries.is_waiting();
        Ok(if has_ended { Next::Exhausted } else { Next::Idle })
    }

    async fn ack(&mut self, number: u64, context: &TopologyContext) -> Result<()> {
        let run = self.run.as_mut().ok_or("not open")?;
        run.retries.ack(&number, context);
        run.acked.append(&format!("{} {number}\n", monotonic_ns()))?;
        Ok(())
    }

    async fn fail(&mut self, number: u64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.run.as_mut().ok_or("not open")?.retries.fail(&number, failure, context);
        Ok(())
    }
}

/// Has all tasks of the source end, after every number that one of their runs has emitted.
pub fn end_source(folder: &Path) -> io::Result<()> {
    File::create(folder.join("end")).map(|_| ())
}

/// Where a task's log ends, if the source was told to end.
fn end_of_source(folder: &Path, task: TaskId) -> io::Result<Option<u64>> {
    if !folder.join("end").exists() {
        return Ok(None);
    }
    Ok(Some(numbers(folder, "emitted", task)?.last().map_or(0, |last| last + 1)))
}

/// How many numbers, from the first on, were acked to earlier runs of this task without a gap.
fn committed_offset(folder: &Path, task: TaskId) -> io::Result<u64> {
    let acked = numbers(folder, "acked", task)?;
    Ok((0..).zip(&acked).take_while(|(expected, number)| expected == *number).count() as u64)
}

/// The numbers in all files of one kind of one task.
fn numbers(folder: &Path, kind: &str, task: TaskId) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for path in files(folder, &format!("{kind}-{task}-"))? {
        let text = Follower::default().read(&path)?;
        numbers.extend(text.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// How much may be emitted now. What could not be emitted for more than a tenth of a second is not
/// made up for: a source that was held up does not flood those that recover.
struct Allowance {
    rate: Option<f64>,
    tokens: f64,
    at: Duration,
}

impl Allowance {
    fn refill(&mut self, now: Duration) {
        if let Some(rate) = self.rate {
            let elapsed = now.saturating_sub(self.at).as_secs_f64();
            self.tokens = (self.tokens + elapsed * rate).min((rate / 10.0).max(1.0));
        }
        self.at = now;
    }

    fn take(&mut self) -> bool {
        if self.rate.is_none() {
            return true;
        }
        let has_room = self.tokens >= 1.0;
        if has_room {
            self.tokens -= 1.0;
        }
        has_room
    }
}
