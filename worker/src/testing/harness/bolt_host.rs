//! The harness's side of the calls of a bolt, and of the output of its spawned work.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use galerna_topology_api::engine::{
    BoltHost, Done, Flow, HeldEvent, OutputCommand, Room, RowAnchors, Staged, StagedRow, Staging, TaskPort, Unstaged,
};
use galerna_topology_api::{Error, Result, Streams};

use super::bolt::Executed;

/// Notes the effects of the calls for one batch, or of one call without a tuple.
pub(super) struct Host {
    streams: Arc<Streams>,
    room: Arc<Room>,
    /// The effects of the running call so far.
    pub(super) executed: Executed,
    /// The anchors of each row in `executed`.
    pub(super) anchors: Vec<RowAnchors>,
    /// The outcome of each tuple so far.
    pub(super) rows: Vec<Executed>,
}

impl Host {
    pub(super) fn new(staging: &Staging) -> Self {
        let (streams, room) = (staging.streams.clone(), staging.room());
        Self { streams, room, executed: Executed::default(), anchors: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn take_rows(&mut self, staged: &mut Staged) {
        self.anchors.extend(staged.rows.iter().map(StagedRow::anchors));
        self.executed.take_rows(staged, &self.streams);
    }

    /// Takes the rows that the running call has handed over. Returns whether there were rows.
    fn take_mail(&mut self) -> bool {
        let (parts, _) = self.room.take();
        let has_rows = !parts.is_empty();
        parts.into_iter().for_each(|mut part| self.take_rows(&mut part.staged));
        has_rows
    }

    /// Ends the call: takes the remaining rows that the call has handed over.
    pub(super) fn take_early(&mut self, staging: &mut Staging) {
        if staging.take_handed_over() {
            self.take_mail();
            self.room.made();
        }
    }

    /// Settles held tuples by the decisions of the call.
    pub(super) fn decide(&mut self, staging: &mut Staging, is_ok: bool) {
        for event in std::mem::take(&mut staging.events) {
            match event {
                HeldEvent::Ack(slot) if is_ok => {
                    if staging.held.count_ack(slot) {
                        self.executed.settle(staging, slot, true);
                    }
                }
                HeldEvent::Ack(slot) | HeldEvent::Fail(slot) => self.executed.settle(staging, slot, false),
            }
        }
        for slot in staging.held.take_dropped() {
            self.executed.settle(staging, slot, false);
        }
    }

    /// Settles the call for one tuple.
    fn end_row(&mut self) {
        self.anchors.clear();
        self.rows.push(std::mem::take(&mut self.executed));
    }
}

impl BoltHost for Host {
    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow {
        self.take_early(staging);
        let refusal = staging.take_refusal().map(Error::from);
        let outcome = outcome.and(refusal.map_or(Ok(()), Err));
        let is_ok = outcome.is_ok();
        self.executed.error = outcome.err();
        if is_ok {
            self.take_rows(&mut staging.staged);
        }
        staging.withdraw();
        let kept = staging.kept.take();
        match kept {
            // The input fails, whether kept or not.
            Some(slot) if !is_ok => {
                staging.held.remove(slot);
            }
            _ => {}
        }
        self.executed.is_kept = is_ok && kept.is_some();
        self.executed.is_acked = is_ok && row.is_some() && kept.is_none();
        self.decide(staging, is_ok);
        if row.is_some() {
            self.end_row();
        }
        Flow::Continue
    }

    fn settle_run(&mut self, done: &mut Staged, _: Range<usize>) -> Flow {
        self.take_rows(done);
        // The harness has each row settled by itself.
        self.executed.is_acked = true;
        self.end_row();
        Flow::Continue
    }

    fn settle_batch(&mut self, staging: &mut Staging, rows: Range<usize>, outcome: Result<()>) -> Flow {
        self.settle_rows(staging, rows.start, outcome);
        Flow::Continue
    }

    fn poll_pending(&mut self, _: &mut Done, _: Option<usize>, _: &mut Context<'_>) -> Poll<()> {
        if !self.take_mail() {
            return Poll::Pending;
        }
        self.room.made();
        Poll::Ready(())
    }

    fn time_call(&mut self, _: bool) -> bool {
        false
    }
}

/// Processes a command of spawned work: emits its rows, and acks or fails tuples.
pub(super) fn obey(command: OutputCommand, staging: &mut Staging, port: &dyn TaskPort, executed: &mut Executed) {
    let (rows, decisions) = command.into_parts();
    let staged = staging.stage_command(rows);
    match &staged {
        Ok(()) => executed.take_rows(&mut staging.staged, &staging.streams),
        Err(Unstaged::Refused(refusal)) => port.report_error(&refusal.clone().into()),
        // The tuples have failed already.
        Err(Unstaged::Lost) => return,
    }
    staging.withdraw();
    for (held, outcome) in decisions {
        if let Err(error) = &outcome {
            port.report_error(error);
        }
        let is_acked = staged.is_ok() && outcome.is_ok();
        if let Some(slot) = staging.held.decide(held, is_acked) {
            executed.settle(staging, slot, is_acked);
        }
    }
}
