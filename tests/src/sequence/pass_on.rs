//! The bolt in the middle.

use galerna::prelude::*;
use galerna::topology_api::human::HumanDuration;

use super::FIELDS;
use crate::journal::monotonic_ns;

/// Passes each tuple on, with its own task and run added.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassOn {
    /// How long it takes for each tuple.
    delay: Option<HumanDuration>,
    #[serde(skip)]
    run: i64,
}

impl Bolt for PassOn {
    fn output(&self) -> Streams {
        Streams::default_fields(Fields::new(FIELDS.into_iter().chain(["middle_task", "middle_run"])))
    }

    async fn prepare(&mut self, _context: &TopologyContext) -> BoltResult {
        self.run = monotonic_ns();
        Ok(())
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let context = out.context();
        if let Some(HumanDuration(delay)) = self.delay
            && !delay.is_zero()
        {
            context.sleep(delay).await;
        }
        let mut values = tuple.values().to_vec();
        values.extend(values![i64::from(context.task_id()), self.run]);
        out.emit(values);
        Ok(())
    }
}
