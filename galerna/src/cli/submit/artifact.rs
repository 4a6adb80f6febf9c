//! This program's own executable, on its way to Nimbus.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use galerna_protocol::{Artifact, ArtifactChunk, FindArtifactRequest};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::cli::failure::Failure;
use crate::cli::io::Io;
use crate::cli::nimbus::{Client, Nimbus};

/// What one message of an upload holds.
const CHUNK: usize = 1024 * 1024;
/// Chunks that are read before they can be sent.
const AHEAD: usize = 4;
/// How often an interrupted upload is taken up again.
const RETRIES: u32 = 5;
/// How long the first time; twice as long each further time.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// An executable, and what Nimbus is told of it.
pub(in crate::cli) struct Program {
    pub(in crate::cli) artifact: Artifact,
    file: File,
}

impl Program {
    /// The executable that this process runs, even if its file was replaced meanwhile.
    pub(in crate::cli) fn of_this_process() -> Result<Self, Failure> {
        let path = std::env::current_exe().map_err(|error| Failure::start(&error))?;
        let link = Path::new("/proc/self/exe");
        let opened = if link.exists() { link } else { &path };
        let program = File::open(opened).and_then(|file| Self::read(file, name_of(&path)));
        program.map_err(|error| Failure::io("read this program's file", &path, &error))
    }

    fn read(mut file: File, program: String) -> io::Result<Self> {
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => {
                    hash.update(&buffer[..read]);
                    bytes += read as u64;
                }
            }
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { artifact: Artifact { sha256, bytes, program, is_debug: cfg!(debug_assertions) }, file })
    }

    /// Has Nimbus have it: sends what is missing there, and takes an interrupted upload up again.
    pub(in crate::cli) async fn upload(&self, nimbus: &Nimbus<'_>, io: &Io<'_>) -> Result<(), Failure> {
        let progress = self.progress(io);
        let mut retries = 0;
        let outcome = loop {
            let before = progress.position();
            match nimbus.call(async |client| self.send(client, &progress).await).await {
                Err(status) if is_interruption(&status) => {
                    // What moves on may take as long as it takes.
                    retries = if progress.position() > before { 1 } else { retries + 1 };
                    if retries > RETRIES {
                        break Err(status);
                    }
                    tokio::time::sleep(RETRY_WAIT * 2_u32.pow(retries - 1)).await;
                }
                outcome => break outcome,
            }
        };
        progress.finish_and_clear();
        outcome.map_err(|status| {
            let Artifact { program, bytes, .. } = &self.artifact;
            let message = format!("cannot upload {program} ({bytes} bytes): {}", status.message());
            Failure::from(Status::new(status.code(), message))
        })
    }

    /// Sends what is missing at one Nimbus.
    async fn send(&self, mut client: Client, progress: &ProgressBar) -> Result<(), Status> {
        let sha256 = self.artifact.sha256.clone();
        let found = client.find_artifact(FindArtifactRequest { sha256 }).await?.into_inner();
        if found.is_complete {
            return Ok(());
        }
        let from = found.bytes.min(self.artifact.bytes);
        progress.set_position(from);
        let (chunks, receiver) = mpsc::channel(AHEAD);
        let (sent, answer) = tokio::join!(
            self.send_chunks(from, chunks, progress),
            client.upload_artifact(ReceiverStream::new(receiver))
        );
        sent.map_err(|error| Status::aborted(format!("cannot read it: {error}")))?;
        answer.map(drop)
    }

    /// Sends the file from this place on, until nobody takes it any more.
    async fn send_chunks(
        &self,
        mut offset: u64,
        chunks: mpsc::Sender<ArtifactChunk>,
        progress: &ProgressBar,
    ) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        // The first one says what it is, even if nothing is missing but the verification.
        let mut artifact = Some(self.artifact.clone());
        loop {
            let mut content = Vec::with_capacity(CHUNK);
            file.take(CHUNK as u64).read_to_end(&mut content)?;
            if content.is_empty() && artifact.is_none() {
                return Ok(());
            }
            let bytes = content.len() as u64;
            let chunk = ArtifactChunk { artifact: artifact.take(), offset, content: Bytes::from(content) };
            if chunks.send(chunk).await.is_err() {
                return Ok(());
            }
            offset += bytes;
            progress.set_position(offset);
        }
    }

    fn progress(&self, io: &Io<'_>) -> ProgressBar {
        let target = if io.is_watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        let message = format!("uploading {}", self.artifact.program);
        ProgressBar::with_draw_target(Some(self.artifact.bytes), target).with_style(style).with_message(message)
    }
}

/// Whether a call may have ended only because of the way there.
fn is_interruption(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}

/// The name of the file; Linux says so if it was deleted.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}
