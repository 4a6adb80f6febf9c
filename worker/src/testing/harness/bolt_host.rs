//! The harness's side of the calls of a bolt, and of what its spawned work sends.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use galerna_topology_api::engine::{
    BoltHost, Done, Flow, HeldEvent, OutputCommand, Room, RowAnchors, Staged, Staging, TaskPort,
};
use galerna_topology_api::{Error, Result, Streams};

use super::bolt::Executed;

/// Notes what one call does.
pub(super) struct Host {
    streams: Arc<Streams>,
    room: Arc<Room>,
    has_input: bool,
    pub(super) executed: Executed,
}

impl Host {
    /// The host of one call, with an input tuple or without one.
    pub(super) fn new(staging: &Staging, has_input: bool) -> Self {
        Self { streams: staging.streams.clone(), room: staging.room(), has_input, executed: Executed::default() }
    }

    fn take_rows(&mut self, staged: &mut Staged) {
        self.executed.take_rows(staged, &self.streams);
    }

    /// Takes the rows that the running call has handed over; whether there were any.
    fn take_mail(&mut self) -> bool {
        let (parts, _) = self.room.take();
        let has_rows = !parts.is_empty();
        parts.into_iter().for_each(|mut part| self.take_rows(&mut part.staged));
        has_rows
    }
}

impl BoltHost for Host {
    fn settle(&mut self, staging: &mut Staging, _: Option<usize>, outcome: Result<()>) -> Flow {
        if staging.take_handed_over() {
            self.take_mail();
            self.room.made();
        }
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
            // The input fails, kept or not.
            Some(slot) if !is_ok => {
                staging.held.remove(slot);
            }
            _ => {}
        }
        self.executed.is_kept = is_ok && kept.is_some();
        self.executed.is_acked = is_ok && self.has_input && kept.is_none();
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
        Flow::Continue
    }

    fn settle_run(&mut self, done: &mut Staged, _: Range<usize>) -> Flow {
        self.take_rows(done);
        self.executed.is_acked = true;
        Flow::Continue
    }

    fn poll_pending(&mut self, _: &mut Done, _: Option<usize>, _: &mut Context<'_>) -> Poll<()> {
        if !self.take_mail() {
            return Poll::Pending;
        }
        self.room.made();
        Poll::Ready(())
    }

    fn time_call(&mut self, _: bool) {}
}

/// Does what spawned work asks for: emits its rows, and acks or fails the tuple.
pub(super) fn obey(command: OutputCommand, staging: &mut Staging, port: &dyn TaskPort, executed: &mut Executed) {
    let OutputCommand { rows, decision } = command;
    if let Some((tuple, _)) = &decision
        && staging.held.slot_of(tuple).is_none()
    {
        // The tuple has failed already.
        return;
    }
    let has_failed = matches!(decision, Some((_, Err(_))));
    if !has_failed {
        rows.into_iter().for_each(|row| {
            staging.stage(row, RowAnchors::None);
        });
    }
    let refusal = staging.take_refusal().map(Error::from);
    let is_emitted = refusal.is_none();
    match &refusal {
        Some(error) => port.report_error(error),
        None => executed.take_rows(&mut staging.staged, &staging.streams),
    }
    staging.withdraw();
    let Some((tuple, outcome)) = decision else { return };
    if let Err(error) = &outcome {
        port.report_error(error);
    }
    let is_ok = is_emitted && outcome.is_ok();
    if let Some(slot) = staging.held.spend(tuple)
        && (!is_ok || staging.held.count_ack(slot))
    {
        executed.settle(staging, slot, is_ok);
    }
}
