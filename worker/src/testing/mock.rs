//! A spout that emits given rows and ends.

use galerna_topology_api::{
    Boundedness, Failure, Fields, Next, Result, Retries, RetryBuffer, Row, Spout, SpoutEmitter, Streams,
    TopologyContext, Value,
};

/// Emits given rows reliably, then ends. Emits again what fails, as a reliable spout does.
///
/// Only its first task emits.
pub struct MockSpout {
    fields: Fields,
    rows: Vec<Vec<Value>>,
    next: usize,
    open: RetryBuffer<usize>,
    is_first_task: bool,
}

impl MockSpout {
    /// A spout of these rows on the default stream.
    pub fn new<R: Row>(fields: impl Into<Fields>, rows: impl IntoIterator<Item = R>) -> Self {
        let to_vec = |row: R| {
            let mut values = Vec::new();
            row.append_to(&mut values);
            values
        };
        Self {
            fields: fields.into(),
            rows: rows.into_iter().map(to_vec).collect(),
            next: 0,
            open: RetryBuffer::new(Retries::at_most(5), Boundedness::Bounded),
            is_first_task: true,
        }
    }
}

impl Spout for MockSpout {
    type MessageId = usize;

    fn output(&self) -> Streams {
        Streams::default_fields(self.fields.clone())
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        self.is_first_task = context.task_index() == 0;
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, usize>) -> Result<Next> {
        if self.open.emit_due(out, 1) > 0 {
            return Ok(Next::Emitted);
        }
        match self.rows.get(self.next) {
            Some(row) if self.is_first_task => {
                self.open.sent(self.next, row.clone());
                out.emit(self.next, row);
                self.next += 1;
                Ok(Next::Emitted)
            }
            _ if self.open.is_waiting() => Ok(Next::Idle),
            _ => Ok(Next::Exhausted),
        }
    }

    async fn ack(&mut self, id: usize, context: &TopologyContext) -> Result<()> {
        self.open.ack(&id, context);
        Ok(())
    }

    async fn fail(&mut self, id: usize, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.open.fail(&id, failure, context);
        Ok(())
    }
}
