//! The volumes of clusters that `kube-up` has made: folders that all nodes see, and this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Folders of volumes, which are opened to all users as soon as they are made.
///
/// Volumes of this kind belong to root, and Kubernetes does not give them to a pod's `fsGroup` as
/// it does with those of real storage: without help no pod of the restricted profile could write.
#[derive(Debug)]
pub(crate) struct Volumes {
    folder: PathBuf,
    _opener: JoinSet<()>,
}

/// A pod starts later than that after its volume was made.
const INTERVAL: Duration = Duration::from_millis(20);

impl Volumes {
    /// Those of the cluster whose files lie in `folder`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let folder = folder.join("pv");
        fs::read_dir(&folder).with_context(|| format!("cannot look into {}", folder.display()))?;
        let mut opener = JoinSet::new();
        let volumes = folder.clone();
        opener.spawn(async move {
            let mut opened = BTreeSet::new();
            loop {
                for entry in fs::read_dir(&volumes).into_iter().flatten().flatten() {
                    if !opened.contains(&entry.file_name())
                        && fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o777)).is_ok()
                    {
                        opened.insert(entry.file_name());
                    }
                }
                sleep(INTERVAL).await;
            }
        });
        Ok(Self { folder, _opener: opener })
    }

    /// The folder of a volume, from the path that its nodes know.
    pub(super) fn folder_of(&self, path: &str) -> Result<PathBuf> {
        let name = Path::new(path).file_name().with_context(|| format!("{path} has no name"))?;
        Ok(self.folder.join(name))
    }
}
