//! The checked-in code is what the `.proto` files say. `UPDATE_GENERATED=1` writes it anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const FILES: [&str; 5] = ["topology", "report", "nimbus", "supervisor", "link"];
const SERDE: &str = "#[derive(serde::Serialize, serde::Deserialize)]\n#[serde(default)]";

/// Messages that also stand in the store or on disk, as JSON.
const STORED: [&str; 19] = [
    "WorkerId",
    "TopologySpec",
    "Artifact",
    "ComponentSpec",
    "StreamSpec",
    "InputSpec",
    "TaskRange",
    "Assignment",
    "AssignedWorker",
    "Handover",
    "Platform",
    "WorkerReport",
    "WorkerEnd",
    "TaskReport",
    "StreamReport",
    "ErrorReport",
    "Retrying",
    "UserMetrics",
    "UserHistograms",
];

#[test]
fn checked_in_code_is_what_the_proto_files_say() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir()?;
    let files: Vec<PathBuf> = FILES.iter().map(|file| PathBuf::from(format!("galerna/v1/{file}.proto"))).collect();
    let descriptors = protox::compile(files, [root.join("proto")])?;
    let mut build =
        tonic_prost_build::configure().out_dir(folder.path()).bytes("LinkPacket.frames").bytes("ArtifactChunk.content");
    build = build.btree_map(".galerna.v1.UserMetrics");
    build = build.btree_map(".galerna.v1.UserHistograms");
    for message in STORED.iter().chain(&["ComponentLatency", "HistogramReport"]) {
        build = build.type_attribute(format!("galerna.v1.{message}"), SERDE);
    }
    build = build.type_attribute("galerna.v1.WorkerId", "#[derive(PartialOrd, Ord)]");
    build = build.type_attribute("galerna.v1.TaskRange", "#[derive(PartialOrd, Ord)]");
    build.compile_fds(descriptors)?;
    let fresh = std::fs::read_to_string(folder.path().join("galerna.v1.rs"))?;
    let checked_in = root.join("src/generated/galerna.v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&checked_in, &fresh)?;
    }
    let known = std::fs::read_to_string(&checked_in).context("run this test with UPDATE_GENERATED=1")?;
    ensure!(known == fresh, "the .proto files have changed: run this test with UPDATE_GENERATED=1");
    Ok(())
}
