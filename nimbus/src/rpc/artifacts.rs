//! Takes and gives artifacts. Each nimbus answers for what it has itself.

use galerna_protocol::{ArtifactChunk, DownloadArtifactRequest, FetchArtifactRequest, FindArtifactReply};
use tonic::{Status, Streaming};

use super::Streamed;
use crate::blobs::Held;
use crate::core::Core;
use crate::transfer::{Source, blob_status, chunks, next_chunk, write_chunk};

impl Core {
    pub(super) async fn find_artifact(&self, sha256: &str) -> Result<FindArtifactReply, Status> {
        match self.blobs.find(sha256).await.map_err(|error| blob_status(&error))? {
            Held::Whole(bytes) => Ok(FindArtifactReply { is_complete: true, bytes }),
            Held::Part(bytes) => Ok(FindArtifactReply { is_complete: false, bytes }),
        }
    }

    pub(super) async fn upload_artifact(&self, mut chunks: Streaming<ArtifactChunk>) -> Result<(), Status> {
        let first = next_chunk(&mut chunks).await?;
        let Some(mut chunk) = first else { return Err(Status::invalid_argument("the upload is empty")) };
        let Some(artifact) = chunk.artifact.take() else {
            return Err(Status::invalid_argument("the first chunk of an upload must say what artifact it is of"));
        };
        let mut offset = chunk.offset;
        let upload = self.blobs.upload(&artifact, offset).await.map_err(|error| blob_status(&error))?;
        // Someone else has uploaded it meanwhile.
        let Some(mut upload) = upload else { return Ok(()) };
        write_chunk(upload.as_mut(), &mut offset, chunk).await?;
        while let Some(chunk) = next_chunk(&mut chunks).await? {
            write_chunk(upload.as_mut(), &mut offset, chunk).await?;
        }
        upload.finish().await.map_err(|error| blob_status(&error))?;
        tracing::info!(artifact = artifact.sha256, bytes = artifact.bytes, program = artifact.program, "was uploaded");
        Ok(())
    }

    pub(super) async fn download_artifact(
        &self,
        request: &DownloadArtifactRequest,
    ) -> Result<Streamed<ArtifactChunk>, Status> {
        let reader = self.blobs.read(&request.sha256, request.offset).await.map_err(|error| blob_status(&error))?;
        Ok(Box::pin(chunks(reader, request.offset)))
    }

    pub(super) async fn fetch_artifact(&self, request: &FetchArtifactRequest) -> Result<(), Status> {
        let Some(artifact) = &request.artifact else { return Err(Status::invalid_argument("no artifact is named")) };
        self.fetch(artifact, &Source::Nimbus(request.from.clone())).await
    }
}
