//! A child process, from both sides of its pipes: it is asked by lines, and answers each with its
//! counts; with its last ones when it has done its part. It goes when its parent does.

use std::io::{BufRead, stdin};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_protocol::TopologySpec;
use galerna_worker::process::{self, Ended};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use super::bare;
use super::supervisor::{ID, TOPOLOGY};
use crate::Shape;
use crate::measure::Quantiles;
use crate::shapes::{self, Shared};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a child is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// A worker; it listens at the port of its slot.
    Worker { supervisor: String, slot: u32, acked: bool },
    /// The receiving end of a bare connection.
    Receiver { address: String },
    /// The sending end.
    Sender { address: String },
}

/// What a child is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// How far it is.
    Count,
    /// Also to take latencies from now on.
    Measure,
    /// Also to send nothing more.
    End,
}

/// Tuples, or bytes of frames, and sums of their numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) sent_sum: i64,
    pub(super) received: u64,
    pub(super) received_sum: i64,
    pub(super) complete_us: Option<Quantiles>,
}

impl Counts {
    fn of(shared: &Shared) -> Self {
        Self {
            sent: shared.emitted.load(Ordering::Relaxed),
            sent_sum: shared.emitted_sum.load(Ordering::Relaxed),
            received: shared.sunk.load(Ordering::Relaxed),
            received_sum: shared.sunk_sum.load(Ordering::Relaxed),
            complete_us: Quantiles::of(&shared.complete),
        }
    }
}

/// A child, as its parent has it. It is killed when this is dropped.
pub(super) struct Child {
    /// The number of its process.
    pub(super) id: u32,
    process: tokio::process::Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Launches this program anew, for a part.
    pub(super) fn launch(part: &Part) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["two-workers", "--part", &serde_json::to_string(part)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot launch a child")?;
        let id = process.id().context("a child without a number")?;
        let questions = process.stdin.take().context("a child without stdin")?;
        let answers = BufReader::new(process.stdout.take().context("a child without stdout")?).lines();
        Ok(Self { id, process, questions, answers })
    }

    pub(super) async fn ask(&mut self, question: Question) -> Result<Counts> {
        let line = serde_json::to_string(&question)? + "\n";
        self.questions.write_all(line.as_bytes()).await.context("a child takes no questions")?;
        self.answer().await
    }

    /// The last counts of a child that has done its part.
    pub(super) async fn ended(&mut self) -> Result<Counts> {
        let counts = self.answer().await?;
        let status = timeout(PATIENCE, self.process.wait()).await.context("a child does not exit")??;
        ensure!(status.success(), "a child has failed: {status}");
        Ok(counts)
    }

    async fn answer(&mut self) -> Result<Counts> {
        let line = timeout(PATIENCE, self.answers.next_line()).await.context("a child does not answer")??;
        Ok(serde_json::from_str(&line.context("a child has ended early")?)?)
    }
}

/// What a child does.
pub(super) fn play(part: &str, began: Instant) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let shared = Arc::new(Shared::new(began));
    let played = serde_json::from_str(part).context("not a part").and_then(|part| match part {
        Part::Worker { supervisor, slot, acked } => {
            answer_questions(shared.clone())?;
            work(supervisor, slot, acked, shared.clone())
        }
        Part::Receiver { address } => bare::receive(&address, &shared),
        Part::Sender { address } => {
            answer_questions(shared.clone())?;
            bare::send(&address, &shared)
        }
    });
    match played {
        Ok(()) => {
            tell(&shared);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(supervisor: String, slot: u32, acked: bool, shared: Arc<Shared>) -> Result<()> {
    let options = process::Options {
        supervisor,
        id: ID.to_owned(),
        topology: TOPOLOGY.to_owned(),
        slot,
        incarnation: 1,
        listen: format!("127.0.0.1:{slot}"),
        advertise: "127.0.0.1".to_owned(),
        log: None,
    };
    let build =
        move |_: &TopologySpec| shapes::build(Shape::TwoWorkers, acked, &shared).map_err(|error| error.to_string());
    let ended = process::run(options, build);
    ensure!(ended == Ended::Told, "worker {slot} ended as {ended:?}");
    Ok(())
}

/// Answers on a thread of its own, until the process ends.
pub(super) fn answer_questions(shared: Arc<Shared>) -> Result<()> {
    let answer = move || {
        for line in stdin().lock().lines() {
            match line.ok().and_then(|line| serde_json::from_str(&line).ok()) {
                Some(Question::Count) => {}
                Some(Question::Measure) => shared.is_measuring.store(true, Ordering::Relaxed),
                Some(Question::End) => shared.has_ended.store(true, Ordering::Relaxed),
                None => break,
            }
            tell(&shared);
        }
        // The parent is gone.
        std::process::exit(1);
    };
    std::thread::Builder::new().name("answers".to_owned()).spawn(answer)?;
    Ok(())
}

fn tell(shared: &Shared) {
    match serde_json::to_string(&Counts::of(shared)) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("error: {error}"),
    }
}
