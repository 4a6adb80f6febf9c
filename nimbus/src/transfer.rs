//! Gets artifacts from where they are to where they must be.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, Stream, StreamExt};
use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{Artifact, ArtifactChunk, DownloadArtifactRequest, FetchArtifactRequest, LONGEST_MESSAGE};
use tokio::io::{AsyncRead, AsyncReadExt};
use tonic::{Code, Request, Status, Streaming};

use crate::artifact::{Needs, UnfitFile, read_needs};
use crate::blobs::{BlobError, Held, Upload};
use crate::core::{Core, lock};

/// What is sent at once.
const CHUNK: usize = 256 * 1024;
/// How long nothing may come before a transfer counts as cut off.
const SILENCE: Duration = Duration::from_secs(30);
/// How long one who is asked for an artifact may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How many are asked at once.
const ASKED_AT_ONCE: usize = 8;

/// Whom an artifact is asked of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Nimbus(String),
    Supervisor(String),
}

pub(crate) fn blob_status(error: &BlobError) -> Status {
    let message = error.to_string();
    match error {
        BlobError::Missing(_) => Status::not_found(message),
        BlobError::BadName(_) | BlobError::TooLong { .. } | BlobError::Mismatch { .. } => {
            Status::invalid_argument(message)
        }
        BlobError::Gap { .. } => Status::aborted(message),
        BlobError::Busy(_) => Status::unavailable(message),
        BlobError::DiskFull { .. } => Status::resource_exhausted(message),
        BlobError::Io { .. } => Status::internal(message),
    }
}

/// The content of an artifact, in chunks.
pub(crate) fn chunks(
    reader: Box<dyn AsyncRead + Send + Unpin>,
    offset: u64,
) -> impl Stream<Item = Result<ArtifactChunk, Status>> + Send {
    stream::try_unfold((reader, offset), |(mut reader, offset)| async move {
        let mut content = Vec::with_capacity(CHUNK);
        let read = (&mut reader).take(CHUNK as u64).read_to_end(&mut content).await;
        read.map_err(|error| Status::internal(format!("the artifact cannot be read: {error}")))?;
        if content.is_empty() {
            return Ok(None);
        }
        let next = offset + content.len() as u64;
        Ok(Some((ArtifactChunk { artifact: None, offset, content: content.into() }, (reader, next))))
    })
}

/// The next chunk of an upload or download.
pub(crate) async fn next_chunk(chunks: &mut Streaming<ArtifactChunk>) -> Result<Option<ArtifactChunk>, Status> {
    let next = tokio::time::timeout(SILENCE, chunks.message()).await;
    next.unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("nothing came for {} s", SILENCE.as_secs()))))
}

/// Adds a chunk to an upload, whose next byte is at `offset`.
pub(crate) async fn write_chunk(upload: &mut dyn Upload, offset: &mut u64, chunk: ArtifactChunk) -> Result<(), Status> {
    if chunk.offset != *offset && !chunk.content.is_empty() {
        let found = chunk.offset;
        return Err(Status::invalid_argument(format!("a chunk begins at byte {found}, expected {offset}")));
    }
    *offset += chunk.content.len() as u64;
    upload.write(chunk.content).await.map_err(|error| blob_status(&error))
}

/// Asks for an artifact, from `offset` on.
async fn open(artifact: &Artifact, offset: u64, from: &Source) -> Result<Streaming<ArtifactChunk>, Status> {
    let request = DownloadArtifactRequest { sha256: artifact.sha256.clone(), offset };
    let answer = async {
        match from {
            Source::Nimbus(address) => {
                let client = NimbusClient::new(galerna_protocol::connect(address).await?);
                client.max_decoding_message_size(LONGEST_MESSAGE).download_artifact(request).await
            }
            Source::Supervisor(address) => {
                let client = SupervisorClient::new(galerna_protocol::connect(address).await?);
                client.max_decoding_message_size(LONGEST_MESSAGE).download_artifact(request).await
            }
        }
    };
    let answer = tokio::time::timeout(ANSWER_WAIT, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("{from:?} does not answer"))));
    Ok(answer?.into_inner())
}

/// Asks several at once, and takes the first that has it. Who has answered, or cannot, is taken off
/// `sources`; `reason` becomes why, unless it is that they do not have it.
async fn open_any(
    artifact: &Artifact,
    offset: u64,
    sources: &mut Vec<Source>,
    reason: &mut Status,
) -> Option<(Source, Streaming<ArtifactChunk>)> {
    let asked = sources.clone().into_iter().map(|source| async move {
        let opened = open(artifact, offset, &source).await;
        (source, opened)
    });
    let mut answers = pin!(stream::iter(asked).buffer_unordered(ASKED_AT_ONCE));
    while let Some((source, opened)) = answers.next().await {
        sources.retain(|one| *one != source);
        match opened {
            Ok(chunks) => return Some((source, chunks)),
            Err(error) if matches!(error.code(), Code::NotFound | Code::Unimplemented) => {}
            Err(error) => *reason = error,
        }
    }
    None
}

impl Core {
    /// Gets an artifact from there, going on where an earlier attempt ended.
    pub(crate) async fn fetch(&self, artifact: &Artifact, from: &Source) -> Result<(), Status> {
        let Some(offset) = self.next_byte(artifact).await? else { return Ok(()) };
        let chunks = open(artifact, offset, from).await?;
        self.take_in(artifact, offset, chunks).await
    }

    /// Where a download goes on; `None` if all of it is here.
    async fn next_byte(&self, artifact: &Artifact) -> Result<Option<u64>, Status> {
        let held = self.blobs.find(&artifact.sha256).await.map_err(|error| blob_status(&error))?;
        Ok(match held {
            Held::Whole(_) => None,
            Held::Part(bytes) if bytes < artifact.bytes => Some(bytes),
            Held::Part(_) => Some(0),
        })
    }

    async fn take_in(
        &self,
        artifact: &Artifact,
        offset: u64,
        mut chunks: Streaming<ArtifactChunk>,
    ) -> Result<(), Status> {
        let blob_error = |error: BlobError| blob_status(&error);
        let Some(mut upload) = self.blobs.upload(artifact, offset).await.map_err(blob_error)? else { return Ok(()) };
        let mut next = offset;
        while let Some(chunk) = next_chunk(&mut chunks).await? {
            write_chunk(upload.as_mut(), &mut next, chunk).await?;
        }
        upload.finish().await.map_err(blob_error)
    }

    /// Gets an artifact from whoever has it, unless it is here.
    ///
    /// # Errors
    /// `NotFound` if all that live have answered that they do not have it; else why one of those who
    /// have it, or may have it, does not give it.
    pub(crate) async fn ensure_artifact(&self, artifact: &Artifact) -> Result<(), Status> {
        let mut reason = Status::not_found(format!("artifact {} is nowhere", artifact.sha256));
        let mut sources = self.sources();
        while let Some(offset) = self.next_byte(artifact).await? {
            let Some((source, chunks)) = open_any(artifact, offset, &mut sources, &mut reason).await else {
                return Err(reason);
            };
            match self.take_in(artifact, offset, chunks).await {
                Ok(()) => tracing::info!(artifact = artifact.sha256, ?source, "has got an artifact"),
                Err(error) => reason = error,
            }
        }
        Ok(())
    }

    /// Other nimbuses, then supervisors.
    fn sources(&self) -> Vec<Source> {
        let view = self.view.borrow();
        // An earlier start of this one may still stand there, with another address.
        let members = view.members.iter().filter(|(id, _)| **id != self.id);
        let members = members.map(|(_, member)| Source::Nimbus(member.value.address.clone()));
        let supervisors = view.supervisors.values().map(|one| Source::Supervisor(one.value.address()));
        members.chain(supervisors).collect()
    }

    /// Has every other nimbus fetch an artifact that is here: notes about those that could not.
    pub(crate) async fn replicate(&self, artifact: &Artifact) -> Vec<String> {
        let members: Vec<(String, String)> = {
            let view = self.view.borrow();
            let others = view.members.iter().filter(|(id, _)| **id != self.id);
            others.map(|(id, member)| (id.clone(), member.value.address.clone())).collect()
        };
        let asked = members.iter().map(|(id, address)| async move {
            let fetched =
                tokio::time::timeout(self.options.replication_wait, self.ask_to_fetch(artifact, address)).await;
            let fetched = fetched.unwrap_or_else(|_| Err(Status::deadline_exceeded("it takes too long")));
            match fetched {
                // One that is gone meanwhile fetches it when it is back.
                Err(error) if self.view.borrow().members.contains_key(id) => Some(format!(
                    "nimbus {id} does not have the program yet ({}); it fetches it later",
                    error.message()
                )),
                _ => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask_to_fetch(&self, artifact: &Artifact, address: &str) -> Result<(), Status> {
        let mut client = NimbusClient::new(galerna_protocol::connect(address).await?);
        let request = FetchArtifactRequest { artifact: Some(artifact.clone()), from: self.address.clone() };
        client.fetch_artifact(Request::new(request)).await.map(|_| ())
    }

    /// What an artifact that is here needs to run.
    ///
    /// # Errors
    /// When it is not here, or is no program.
    pub(crate) async fn needs_of(&self, sha256: &str) -> Result<Needs, Status> {
        if let Some(needs) = lock(&self.needs).get(sha256) {
            return Ok(needs.clone());
        }
        let path = self.blobs.file(sha256).await.map_err(|error| blob_status(&error))?;
        let read = tokio::task::spawn_blocking(move || read_needs(&mut std::fs::File::open(path)?)).await;
        let needs = match read {
            Ok(Ok(needs)) => needs,
            Ok(Err(UnfitFile::Io(error))) => {
                return Err(Status::internal(format!("the program cannot be read: {error}")));
            }
            Ok(Err(error)) => return Err(Status::failed_precondition(format!("this file cannot be run: {error}"))),
            Err(error) => return Err(Status::internal(format!("the program cannot be read: {error}"))),
        };
        lock(&self.needs).insert(sha256.to_owned(), needs.clone());
        Ok(needs)
    }
}
