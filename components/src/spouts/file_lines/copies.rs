//! Recognizes copies of files that were read.
//!
//! A rotated log is often a copy: logrotate's `copytruncate` copies it and cuts off the original,
//! `compress` writes it compressed and removes the original. With a pattern for both, each line would
//! come twice. A copy has the first bytes of the original, and the last bytes that were read of the
//! original stand at the same offset.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use super::fingerprint::{Fingerprint, LEN, Likeness};
use super::reader::{Seen, open_content};
use super::source::{Found, Identity};

/// Originals that are remembered.
const MOST: usize = 1000;

/// Less content than this may be the same by chance.
const LEAST_EVIDENCE: u64 = 128;

/// How long a copy may take that is not complete yet.
const LONGEST_COPYING: Duration = Duration::from_secs(30);

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) content: Fingerprint,
    /// Where to go on with a copy.
    pub(super) offset: u64,
    /// Up to where all lines were processed.
    pub(super) done: u64,
}

/// What a new file is.
pub(super) enum Verdict {
    New,
    CopyOf(Original),
    /// It may become a copy: somebody seems to be writing it.
    Unclear,
}

/// The files that were read and may be copied, and the copies that are being made.
#[derive(Default)]
pub(super) struct Copies {
    originals: VecDeque<Original>,
    unclear: BTreeMap<PathBuf, (Seen, Duration)>,
}

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.originals.is_empty()
    }

    pub(super) fn remember(&mut self, original: Original) {
        self.originals.retain(|known| known.identity != original.identity || known.path != original.path);
        self.originals.truncate(MOST - 1);
        self.originals.push_front(original);
    }

    /// Whether a file that was not read before is a copy of one that was: of a remembered one, or of
    /// one that is `open`, which is asked for those that may be by the first bytes. With `now`, a file
    /// that is being written is waited for.
    pub(super) fn judge(
        &mut self,
        found: &Found,
        open: impl FnOnce(&[u8]) -> Vec<Original>,
        now: Option<Duration>,
    ) -> io::Result<Verdict> {
        let is_candidate = |known: &&Original| {
            let is_another = known.path != found.path && known.identity != found.identity;
            is_another && known.content.evidence() >= LEAST_EVIDENCE
        };
        let head = head_of(found)?;
        let open = open(&head);
        let candidates = open.iter().chain(&self.originals).filter(is_candidate);
        let mut is_unclear = false;
        for known in candidates.filter(|known| known.content.may_begin_with(&head)) {
            match known.content.compare(open_content(found)?.0)? {
                Likeness::Same => {
                    self.unclear.remove(&found.path);
                    return Ok(Verdict::CopyOf(known.clone()));
                }
                Likeness::TooShort => is_unclear = true,
                Likeness::Different => {}
            }
        }
        let is_worth_waiting = match now {
            Some(now) if is_unclear => self.is_being_written(found, now)?,
            _ => false,
        };
        if is_worth_waiting {
            return Ok(Verdict::Unclear);
        }
        self.unclear.remove(&found.path);
        Ok(Verdict::New)
    }

    /// Whether a file has changed since the last call, within the time that a copy may take.
    fn is_being_written(&mut self, found: &Found, now: Duration) -> io::Result<bool> {
        let seen = Seen::of(&fs::metadata(&found.path)?);
        let Some((before, since)) = self.unclear.remove(&found.path) else {
            self.unclear.insert(found.path.clone(), (seen, now));
            return Ok(true);
        };
        if before == seen || now > since + LONGEST_COPYING {
            return Ok(false);
        }
        self.unclear.insert(found.path.clone(), (seen, since));
        Ok(true)
    }
}

/// The first bytes of a file's content, as far as they are there.
fn head_of(found: &Found) -> io::Result<Vec<u8>> {
    let (mut content, _) = open_content(found)?;
    let mut head = Vec::new();
    let mut buffer = [0; LEN];
    while head.len() < LEN {
        match content.read(&mut buffer[..LEN - head.len()]) {
            Ok(0) => break,
            Ok(bytes) => head.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}
