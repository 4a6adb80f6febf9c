//! The images that the tests install: made of this checkout, and of Debian's etcd.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use galerna_tests::bound::secs;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::command::Shell;
use super::report::say;

/// Images that all nodes have.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) galerna: Image,
    /// The same programs under another tag: what an upgrade goes to.
    pub(crate) next: Image,
    pub(crate) etcd: Image,
    /// The program of the tests' topologies, without what only debuggers read: it is sent along.
    pub(super) program: PathBuf,
}

/// `localhost/galerna:test`, in two parts as charts want it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) tag: String,
}

/// What the image of etcd holds.
const ETCD: [&str; 2] = ["etcd", "etcdctl"];

impl Images {
    /// Makes them and gives them to the cluster.
    pub(super) async fn of(cluster: &Cluster) -> Result<Self> {
        let shell = Shell::default();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        fs::create_dir_all(&folder)?;
        let begun = Instant::now();
        let (archive, galerna) = match env::var_os("GALERNA_KUBE_IMAGE") {
            Some(archive) => {
                let archive = fs::canonicalize(&archive).context("GALERNA_KUBE_IMAGE")?;
                let image = named_in(&shell, &archive).await?;
                (archive, image)
            }
            None => build(&shell, &folder.join("galerna.tar")).await?,
        };
        let next = Image { tag: format!("{}-next", galerna.tag), ..galerna.clone() };
        let next_archive = folder.join("galerna-next.tar");
        retag(&shell, &archive, &next, &next_archive).await?;
        let (etcd_archive, etcd) = pack_etcd(&shell, &folder.join("etcd.tar")).await?;
        let program = folder.join("test-topologies");
        let (built, stripped) = (env!("CARGO_BIN_EXE_test-topologies"), program.display().to_string());
        shell.run(&["strip", "--strip-debug", "-o", &stripped, built]).await?;
        let made = begun.elapsed();
        cluster.load(&[&archive, &next_archive, &etcd_archive]).await?;
        let loaded = begun.elapsed() - made;
        let size = fs::metadata(&archive)?.len() as f64 / 1e6;
        say(&format!("images made in {made:.1?}, loaded in {loaded:.1?}; galerna's has {size:.1} MB"));
        Ok(Self { galerna, next, etcd, program })
    }
}

impl Image {
    fn new(name: &str) -> Result<Self> {
        let (repository, tag) = name.rsplit_once(':').with_context(|| format!("`{name}` has no tag"))?;
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }

    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

fn deploy(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image").join(program)
}

async fn build(shell: &Shell, archive: &Path) -> Result<(PathBuf, Image)> {
    let name = "localhost/galerna:test";
    // A release build from nothing.
    shell.run_file(&deploy("build"), &[&archive.display().to_string(), name], secs(3600)).await?;
    Ok((archive.to_owned(), Image::new(name)?))
}

async fn pack_etcd(shell: &Shell, archive: &Path) -> Result<(PathBuf, Image)> {
    let name = "localhost/etcd:test";
    let mut words = vec![archive.display().to_string(), name.to_owned()];
    for program in ETCD {
        words.push(format!("{}=/usr/bin/{program}", installed(program)?.display()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    shell.run_file(&deploy("pack"), &words, secs(60)).await?;
    Ok((archive.to_owned(), Image::new(name)?))
}

/// Where a program is installed; what `kube-up` puts on the path is not.
fn installed(program: &str) -> Result<PathBuf> {
    let other = env::var_os("KUBE_DIR").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|folder| other.as_ref().is_none_or(|other| !folder.starts_with(other)))
        .map(|folder| folder.join(program))
        .find(|path| path.exists())
        .with_context(|| format!("{program} is not installed (Debian: etcd-server, etcd-client)"))
}

const MANIFEST: &str = "manifest.json";

/// The name in an archive as `docker save` writes it.
async fn named_in(shell: &Shell, archive: &Path) -> Result<Image> {
    let manifest = shell.run(&["tar", "-xOf", &archive.display().to_string(), MANIFEST]).await?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let name = manifest[0]["RepoTags"][0].as_str().with_context(|| format!("{} has no name", archive.display()))?;
    Image::new(name)
}

/// Writes an archive again, under another name.
async fn retag(shell: &Shell, archive: &Path, image: &Image, out: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (inside, archive) = (folder.path().display().to_string(), archive.display().to_string());
    shell.run(&["tar", "-xf", &archive, "-C", &inside]).await?;
    let path = folder.path().join(MANIFEST);
    let mut manifest: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    manifest[0]["RepoTags"] = serde_json::json!([image.name()]);
    fs::write(&path, manifest.to_string())?;
    shell.run(&["tar", "-cf", &out.display().to_string(), "-C", &inside, "."]).await?;
    Ok(())
}
