//! The sequence check: no number that a source has emitted may be missing at the end of the way.
//!
//! Each task of the spout [`NumberedLog`] is a log of the numbers 0, 1, 2, …, read again from its
//! committed offset whenever the task is started anew. It writes down what it emits before it does,
//! and what was acked. [`PassOn`] stands in the middle; [`NoteDown`] at the end writes down what
//! arrives *before* it acks it. [`SequenceLog`] reads all these files, [`Verdict`] says whether the
//! engine kept its promises.
//!
//! One file for each start of a task (a *run*) and kind, `<kind>-<task>-<run>.txt`, with a tuple a line:
//!
//! | kind | written | fields |
//! |---|---|---|
//! | `emitted` | before the emit is taken up | time, number, whether it is a replay |
//! | `acked` | in `ack` | time, number |
//! | `seen` | before the ack | time, number, whether it is a replay, spout task and run, middle task and run |
//!
//! Times are of one clock of the machine, and taken before the line is written: so a tuple that was
//! acked before it was written down shows an earlier time in `acked` than in `seen`. A run is named
//! by the time it began.

mod log;
mod note_down;
mod numbered_log;
mod pass_on;
mod verdict;
mod watch;

pub use log::SequenceLog;
pub use note_down::NoteDown;
pub use numbered_log::{NumberedLog, end_source};
pub use pass_on::PassOn;
pub use verdict::{Broken, Verdict};
pub use watch::{Recovery, Watch};

/// The fields of the tuples on their way.
const FIELDS: [&str; 5] = ["key", "number", "is_replay", "spout_task", "spout_run"];
/// How many keys the numbers are dealt to unless the topology says otherwise: `number % KEYS`.
pub const KEYS: u64 = 16;
