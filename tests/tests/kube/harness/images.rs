//! The images that the tests install: made of this checkout, and of Debian's etcd.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
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

/// Where the image of Galerna comes from: `GALERNA_KUBE_IMAGE`.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// `build`: the release programs, by `deploy/image/build`. Takes minutes.
    Build,
    /// `tests`: the programs of this test run, packed in the same way.
    Tests,
    /// An archive that was made before.
    Archive(PathBuf),
}

/// The longest image of release programs, in bytes.
const LONGEST_IMAGE: u64 = 60_000_000;

impl Source {
    /// What the environment says, or what suits.
    pub(super) fn of_environment(is_whole: bool) -> Self {
        match env::var_os("GALERNA_KUBE_IMAGE") {
            Some(value) if value == "build" => Self::Build,
            Some(value) if value == "tests" => Self::Tests,
            Some(archive) => Self::Archive(archive.into()),
            None if is_whole => Self::Build,
            None => Self::Tests,
        }
    }
}

impl Images {
    /// Makes them and gives them to the cluster.
    pub(super) async fn of(cluster: &Cluster, source: &Source) -> Result<Self> {
        let shell = Shell::default();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        fs::create_dir_all(&folder)?;
        let begun = Instant::now();
        let built = folder.join("galerna.tar");
        let (archive, galerna) = match source {
            Source::Build => (built.clone(), build(&shell, &built).await?),
            Source::Tests => (built.clone(), pack_tests(&shell, &built).await?),
            Source::Archive(archive) => {
                let archive = fs::canonicalize(archive).context("GALERNA_KUBE_IMAGE")?;
                let image = named_in(&shell, &archive).await?;
                (archive, image)
            }
        };
        let next = Image { tag: format!("{}-next", galerna.tag), ..galerna.clone() };
        let next_archive = folder.join("galerna-next.tar");
        retag(&shell, &archive, &next, &next_archive).await?;
        let etcd_archive = folder.join("etcd.tar");
        let etcd = pack_etcd(&shell, &etcd_archive).await?;
        let program = folder.join("test-topologies");
        let (full, stripped) = (env!("CARGO_BIN_EXE_test-topologies"), program.display().to_string());
        shell.run(&["strip", "--strip-debug", "-o", &stripped, full]).await?;
        let made = begun.elapsed();
        cluster.load(&[&archive, &next_archive, &etcd_archive]).await?;
        let loaded = begun.elapsed() - made;
        say(&format!("images made in {made:.1?}, loaded in {loaded:.1?}"));
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

const GALERNA: &str = "localhost/galerna:test";
const ETCD_IMAGE: &str = "localhost/etcd:test";

async fn build(shell: &Shell, archive: &Path) -> Result<Image> {
    // A release build from nothing.
    shell.run_file(&deploy("build"), &[&archive.display().to_string(), GALERNA], secs(3600)).await?;
    let size = fs::metadata(archive)?.len();
    say(&format!("the image of the release programs has {:.1} MB (promised 60)", size as f64 / 1e6));
    ensure!(size <= LONGEST_IMAGE, "the image has {size} bytes");
    Image::new(GALERNA)
}

async fn pack_tests(shell: &Shell, archive: &Path) -> Result<Image> {
    let files = [
        (env!("CARGO_BIN_EXE_test-topologies"), "/usr/bin/galerna"),
        (env!("CARGO_BIN_EXE_test-nimbus"), "/usr/bin/galerna-nimbus"),
        (env!("CARGO_BIN_EXE_test-supervisor"), "/usr/bin/galerna-supervisor"),
    ];
    let files = files.map(|(file, path)| format!("{file}={path}"));
    pack(shell, archive, GALERNA, &files).await
}

async fn pack_etcd(shell: &Shell, archive: &Path) -> Result<Image> {
    let mut files = Vec::new();
    for program in ETCD {
        files.push(format!("{}=/usr/bin/{program}", installed(program)?.display()));
    }
    pack(shell, archive, ETCD_IMAGE, &files).await
}

async fn pack(shell: &Shell, archive: &Path, name: &str, files: &[String]) -> Result<Image> {
    let archive = archive.display().to_string();
    let mut words = vec![archive.as_str(), name, "--strip"];
    words.extend(files.iter().map(String::as_str));
    shell.run_file(&deploy("pack"), &words, secs(120)).await?;
    Image::new(name)
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
