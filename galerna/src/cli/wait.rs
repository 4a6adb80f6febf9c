//! `wait`: until a topology's input has ended, and what it came to.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use galerna_protocol::{ComponentStats, DescribeReply};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::args::Wait;
use super::describe::{self, describe};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Nimbus, block_on};
use super::numbers::count;

/// How often it is asked after.
const ASK: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Wait, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut seen = None;
    let reply = block_on(async {
        let ended = ended(args, &mut seen);
        match args.timeout {
            None => ended.await,
            Some(seconds) => match timeout(Duration::from_secs(seconds), ended).await {
                Ok(reply) => reply,
                Err(_) => Err(Failure::new("timeout", too_long(&args.name, seconds, seen.as_ref()))),
            },
        }
    })?;
    describe::print(&args.cluster, &reply, io)?;
    if !reply.failure.is_empty() {
        return Err(Failure::new("failed", format!("`{}` failed: {}", args.name, reply.failure)));
    }
    let wrong: Vec<_> = args.expect.iter().filter_map(|expected| expected.missed_by(&reply.components)).collect();
    match wrong.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Failure::new("unexpected", wrong.join("; "))),
    }
}

/// What the topology came to, once it did; until then what was seen last, or why nothing is.
async fn ended(args: &Wait, seen: &mut Option<Result<DescribeReply, String>>) -> Result<DescribeReply, Failure> {
    let nimbus = Nimbus::of(&args.cluster);
    let mut ask = interval(ASK);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ask.tick().await;
        match describe(&nimbus, &args.name).await {
            Ok(reply) => match status(&reply) {
                "FINISHED" => return Ok(reply),
                "KILLED" => {
                    return Err(Failure::new("killed", format!("`{}` was killed before it had finished", args.name)));
                }
                _ => *seen = Some(Ok(reply)),
            },
            // Another may lead in a moment.
            Err(Failure::Told { code: "unavailable", message }) => *seen = Some(Err(message)),
            Err(failure) => return Err(failure),
        }
    }
}

fn too_long(name: &str, seconds: u64, seen: Option<&Result<DescribeReply, String>>) -> String {
    let state = match seen {
        None => "no nimbus has answered".to_owned(),
        Some(Err(message)) => message.clone(),
        Some(Ok(reply)) if reply.unscheduled.is_empty() => format!("it is {}", status(reply)),
        Some(Ok(reply)) => format!("it is {}: {}", status(reply), reply.unscheduled.join("; ")),
    };
    format!("`{name}` has not finished within {seconds} s: {state}")
}

fn status(reply: &DescribeReply) -> &str {
    reply.summary.as_ref().map_or("", |summary| &summary.status)
}

/// A count that a component must have come to: `COMPONENT.COUNT=NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    component: String,
    count: Count,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Emitted,
    Executed,
    Acked,
    Failed,
}

impl Expectation {
    /// What to tell if it did not.
    fn missed_by(&self, components: &[ComponentStats]) -> Option<String> {
        let Some(of) = components.iter().find(|of| of.id == self.component) else {
            let ids: Vec<_> = components.iter().map(|of| of.id.as_str()).collect();
            return Some(format!("there is no component `{}`, only {}", self.component, ids.join(", ")));
        };
        let number = self.count.of(of);
        (number != self.number)
            .then(|| format!("{}.{} is {}, expected {}", of.id, self.count, count(number), count(self.number)))
    }
}

impl Count {
    const ALL: [Self; 4] = [Self::Emitted, Self::Executed, Self::Acked, Self::Failed];

    fn of(self, component: &ComponentStats) -> u64 {
        match self {
            Self::Emitted => component.emitted,
            Self::Executed => component.executed,
            Self::Acked => component.acked,
            Self::Failed => component.failed,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emitted => "emitted",
            Self::Executed => "executed",
            Self::Acked => "acked",
            Self::Failed => "failed",
        })
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (of, number) = text.rsplit_once('=')?;
            let (component, name) = of.trim().rsplit_once('.')?;
            let count = Count::ALL.into_iter().find(|count| count.to_string() == name)?;
            Some(Self { component: component.to_owned(), count, number: number.trim().parse().ok()? })
        };
        let expected = "with emitted, executed, acked or failed as COUNT, as in count.executed=10000";
        read().ok_or_else(|| format!("`{text}` is not COMPONENT.COUNT=NUMBER {expected}"))
    }
}
