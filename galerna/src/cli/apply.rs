//! `apply`: has a cluster run what a file says, whatever it runs now.
//!
//! Each round compares and takes one step. What has come in between (another `apply`, a new leader,
//! an earlier call that was cut off) is seen by the next comparison, so that it can be called again
//! and again, and by several at once.

mod candidate;
mod outcome;
mod prune;
mod round;
mod session;
mod standing;

use galerna_flux::Registry;

use super::args::{Apply, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Nimbus, block_on};
use candidate::Candidate;
use outcome::Outcome;
use session::Session;

pub(super) fn run(args: &Apply, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let candidate = match &args.file {
        Some(file) => Some(Candidate::read(file, args, registry, io)?),
        None => None,
    };
    let mut outcomes = Vec::new();
    let ended = block_on(async {
        let mut session = Session::new(Nimbus::of(&args.cluster), args, io);
        apply(&mut session, candidate.as_ref(), &mut outcomes).await
    });
    if args.cluster.output == Output::Json {
        // What was done is told even if what came after it failed.
        for outcome in &outcomes {
            io.print(&format!("{}\n", outcome.as_json()))?;
        }
    }
    ended.map(|()| Exit::Done)
}

/// Applies the file, kills what nobody applies any more, then waits for all of it.
async fn apply(
    session: &mut Session<'_, '_>,
    candidate: Option<&Candidate>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    if let Some(candidate) = candidate {
        let outcome = round::make_so(session, candidate).await?;
        session.tell(outcome, outcomes)?;
    }
    if session.args.prune {
        // What is waited for may need the slots.
        prune::kill_others(session, candidate.map(|candidate| candidate.spec.name.as_str()), outcomes).await?;
    }
    if session.args.wait {
        if candidate.is_some()
            && let Some(outcome) = outcomes.first_mut()
        {
            standing::runs(session, outcome).await?;
        }
        prune::are_gone(session, outcomes).await?;
    }
    Ok(())
}
