//! Gets artifacts from where they are to where they must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, Stream};
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
/// How often what is missing is looked for, and what nobody needs swept.
const ROUND: Duration = Duration::from_secs(3);

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

impl Core {
    /// Gets an artifact from there, going on where an earlier attempt ended.
    pub(crate) async fn fetch(&self, artifact: &Artifact, from: &Source) -> Result<(), Status> {
        let blob_error = |error: BlobError| blob_status(&error);
        let offset = match self.blobs.find(&artifact.sha256).await.map_err(blob_error)? {
            Held::Whole(_) => return Ok(()),
            Held::Part(bytes) if bytes < artifact.bytes => bytes,
            Held::Part(_) => 0,
        };
        let request = DownloadArtifactRequest { sha256: artifact.sha256.clone(), offset };
        let mut chunks = match from {
            Source::Nimbus(address) => {
                let client = NimbusClient::new(galerna_protocol::connect(address).await?);
                client.max_decoding_message_size(LONGEST_MESSAGE).download_artifact(request).await?.into_inner()
            }
            Source::Supervisor(address) => {
                let client = SupervisorClient::new(galerna_protocol::connect(address).await?);
                client.max_decoding_message_size(LONGEST_MESSAGE).download_artifact(request).await?.into_inner()
            }
        };
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
    /// Why nobody gave it, told by the last who was asked and has it.
    pub(crate) async fn ensure_artifact(&self, artifact: &Artifact) -> Result<(), Status> {
        let held = self.blobs.find(&artifact.sha256).await.map_err(|error| blob_status(&error))?;
        if matches!(held, Held::Whole(_)) {
            return Ok(());
        }
        let mut reason = Status::not_found(format!("artifact {} is nowhere", artifact.sha256));
        for source in self.sources() {
            match self.fetch(artifact, &source).await {
                Ok(()) => {
                    tracing::info!(artifact = artifact.sha256, ?source, "has got an artifact");
                    return Ok(());
                }
                Err(error) if matches!(error.code(), Code::NotFound | Code::Unimplemented) => {}
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Other nimbuses, then supervisors.
    fn sources(&self) -> Vec<Source> {
        let view = self.view.borrow();
        let members = view.members.values().map(|member| &member.value.address).filter(|one| **one != self.address);
        let supervisors = view.supervisors.values().map(|one| format!("{}:{}", one.value.host, one.value.port));
        members.cloned().map(Source::Nimbus).chain(supervisors.map(Source::Supervisor)).collect()
    }

    /// Has every other nimbus fetch an artifact that is here: notes about those that could not.
    pub(crate) async fn replicate(&self, artifact: &Artifact) -> Vec<String> {
        let members: Vec<(String, String)> = {
            let view = self.view.borrow();
            let others = view.members.iter().filter(|(_, member)| member.value.address != self.address);
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

/// Gets what living topologies need and is not here, and sweeps what nobody needs.
pub(crate) async fn keep_artifacts(core: Arc<Core>) {
    let mut complaints = BTreeSet::new();
    loop {
        // While the store is lost, or before it was reached, nobody knows what is needed.
        let needed = {
            let view = core.view.borrow();
            let artifacts =
                view.topologies.values().filter_map(|topology| topology.spec.as_ref()?.value.artifact.clone());
            view.unbroken_since.is_some().then(|| artifacts.collect::<Vec<_>>())
        };
        if let Some(needed) = needed {
            let mut missing = BTreeMap::new();
            for artifact in &needed {
                let ensured = core.ensure_artifact(artifact).await;
                if let Err(error) = &ensured {
                    missing.insert(artifact.sha256.clone(), error.message().to_owned());
                }
                match ensured {
                    Ok(()) => complaints.remove(&artifact.sha256),
                    Err(error) if complaints.insert(artifact.sha256.clone()) => {
                        tracing::warn!(
                            artifact = artifact.sha256,
                            error = error.message(),
                            "an artifact is missing here"
                        );
                        true
                    }
                    Err(_) => false,
                };
            }
            *lock(&core.health.missing) = Some(missing);
            let needed: BTreeSet<String> = needed.into_iter().map(|artifact| artifact.sha256).collect();
            complaints.retain(|sha256| needed.contains(sha256));
            lock(&core.needs).retain(|sha256, _| needed.contains(sha256));
            if let Err(error) = core.blobs.sweep(&|sha256| needed.contains(sha256)).await {
                tracing::warn!(%error, "cannot sweep artifacts");
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}
