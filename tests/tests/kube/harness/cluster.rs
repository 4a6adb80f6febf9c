//! The Kubernetes that the tests run on: one that is given, or one of their own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail, ensure};
use galerna_tests::bound::secs;
use rustix::process::Pid;

use super::command::Shell;
use super::namespace::Namespace;
use super::report::say;
use super::undo::Undo;
use super::volumes::Volumes;

/// A Kubernetes that can be talked to.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) shell: Shell,
    /// Whether it goes as a whole at the end.
    pub(super) is_own: bool,
    /// The folder of `kube-up` and its like, if this cluster was made by it.
    tools: Option<PathBuf>,
    /// Where volumes can be looked into, if they can.
    pub(super) volumes: Option<Volumes>,
}

/// Which cluster there could be.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// The one that `KUBECONFIG` names.
    Given,
    /// One of our own, by the tools in this folder.
    Own(PathBuf),
    /// None, and why.
    None(String),
}

/// The variable with the command that loads images.
const LOAD: &str = "GALERNA_KUBE_LOAD";
/// Folders of our own clusters; the process that made one follows.
const PREFIX: &str = "galerna-kube.";
const NODES: &str = "3";
/// Seconds after which a silent node counts as lost, and then again until its pods are given up.
const GRACE: &str = "8";

impl Choice {
    /// What the environment allows.
    pub(super) fn of_environment() -> Self {
        if env::var_os("KUBECONFIG").is_some() {
            return Self::given();
        }
        let why = |reason: &str| Self::None(format!("no KUBECONFIG is given, and none can be started: {reason}"));
        let tools = tools_folder();
        if !cfg!(target_os = "linux") {
            why("this is not Linux")
        } else if !rustix::process::geteuid().is_root() {
            why("that takes root")
        } else if !tools.join("kube-up").exists() {
            why(&format!("{} has no kube-up (GALERNA_KUBE_TOOLS names another folder)", tools.display()))
        } else {
            Self::Own(tools)
        }
    }

    fn given() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        if !env::split_paths(&path).any(|folder| folder.join("kubectl").exists()) {
            return Self::None("KUBECONFIG is given, but kubectl is not on the path".to_owned());
        }
        if !Self::Given.has_tools() && env::var_os(LOAD).is_none() {
            let why = "KUBECONFIG names a cluster that kube-up has not made, and GALERNA_KUBE_LOAD does not say which \
                       command loads the archives of images that are given to it, as `kind load image-archive` does";
            return Self::None(why.to_owned());
        }
        Self::Given
    }

    /// Whether it was made by `kube-up`, and its like are at hand.
    pub(super) fn has_tools(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Given => env::var_os("KUBE_DIR").is_some() && tools_folder().join("kube-load").exists(),
            Self::None(_) => false,
        }
    }
}

/// Where `kube-up` lies, if anywhere.
fn tools_folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kube");
    env::var_os("GALERNA_KUBE_TOOLS").map_or_else(default, PathBuf::from)
}

impl Cluster {
    /// Takes the given cluster, or starts one.
    pub(super) async fn of(choice: &Choice, undo: &Undo) -> Result<Self> {
        let mut cluster = match choice {
            Choice::Given => Self::given()?,
            Choice::Own(tools) => Self::start(tools, undo).await?,
            Choice::None(reason) => bail!("{reason}"),
        };
        cluster.find_helm().await?;
        cluster.shell.run(&["kubectl", "wait", "node", "--all", "--for=condition=Ready", "--timeout=60s"]).await?;
        Ok(cluster)
    }

    fn given() -> Result<Self> {
        let folder = env::var_os("KUBE_DIR").filter(|_| Choice::Given.has_tools()).map(PathBuf::from);
        let volumes = folder.as_deref().map(Volumes::of).transpose()?;
        Ok(Self { shell: Shell::default(), is_own: false, tools: folder.map(|_| tools_folder()), volumes })
    }

    async fn start(tools: &Path, undo: &Undo) -> Result<Self> {
        sweep(tools).await?;
        let folder = env::temp_dir().join(format!("{PREFIX}{}", process::id()));
        let mut shell = Shell::with("KUBE_DIR", &folder);
        undo.remember("the cluster", &shell, [tools.join("kube-down")]);
        shell.set("KUBE_NODES", NODES);
        shell.set("KUBE_GRACE", GRACE);
        // The first time it may install packages.
        let settings = shell.run_file(&tools.join("kube-up"), &[], secs(300)).await.context("kube-up")?;
        say(&format!("kube-up made a cluster of {NODES} nodes in {}", folder.display()));
        let config = settings
            .split_whitespace()
            .find_map(|setting| setting.strip_prefix("KUBECONFIG="))
            .with_context(|| format!("kube-up names no KUBECONFIG: {settings}"))?;
        shell.set("KUBECONFIG", config);
        shell.prepend_path(folder.join("bin"))?;
        Ok(Self { shell, is_own: true, tools: Some(tools.to_owned()), volumes: Some(Volumes::of(&folder)?) })
    }

    /// Helm comes with the tools where it is not installed.
    async fn find_helm(&mut self) -> Result<()> {
        if self.shell.answer(&["helm", "version"]).await.is_ok_and(|answer| answer.is_good()) {
            return Ok(());
        }
        let fetch = tools_folder().join("kube-tools");
        ensure!(fetch.exists(), "helm is not installed, and there is no {} to fetch it", fetch.display());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kube-tools");
        self.shell.run_file(&fetch, &[&folder.display().to_string()], secs(300)).await?;
        // Behind the others: it brings a kubectl of its own.
        self.shell.append_path(folder)?;
        self.shell.run(&["helm", "version"]).await?;
        Ok(())
    }

    /// Gives images to all nodes.
    pub(super) async fn load(&self, archives: &[&Path]) -> Result<()> {
        let archives: Vec<String> = archives.iter().map(|path| path.display().to_string()).collect();
        let words: Vec<&str> = archives.iter().map(String::as_str).collect();
        if let Some(tools) = &self.tools {
            self.shell.run_file(&tools.join("kube-load"), &words, secs(300)).await?;
            return Ok(());
        }
        let command = env::var(LOAD).context(LOAD)?;
        for archive in words {
            self.shell.run(&["sh", "-c", &format!("{command} \"$1\""), "load", archive]).await?;
        }
        Ok(())
    }

    /// Has the cluster know a kind of resource, which is forgotten at the end.
    pub(crate) async fn define(&self, name: &str, definition: &str, undo: &Undo) -> Result<()> {
        if self.shell.answer(&["kubectl", "get", "crd", name]).await?.is_good() {
            return Ok(());
        }
        if !self.is_own {
            undo.remember(name, &self.shell, ["kubectl", "delete", "crd", name]);
        }
        self.shell.run_fed(&["kubectl", "create", "-f", "-"], definition).await?;
        let crd = format!("crd/{name}");
        self.shell.run(&["kubectl", "wait", "--for=condition=Established", "--timeout=20s", &crd]).await?;
        Ok(())
    }

    /// What runs in a pod's containers, as this machine numbers it.
    pub(crate) async fn processes(&self, namespace: &Namespace, pod: &str) -> Result<Vec<Pid>> {
        let tools = self.tools.as_ref().context("only processes of kube-up's nodes can be seen")?;
        let find = tools.join("kube-pids");
        let pids = self.shell.run_file(&find, &[pod, "-n", &namespace.name], secs(20)).await?;
        let pids: Vec<Pid> = pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        ensure!(!pids.is_empty(), "nothing runs in {pod}");
        Ok(pids)
    }

    /// Cuts the power of a node, as `node2`.
    pub(crate) async fn cut_power(&self, node: &str) -> Result<()> {
        self.node(node, &["stop"]).await
    }

    /// Has a node come back.
    pub(crate) async fn restore_power(&self, node: &str) -> Result<()> {
        self.node(node, &[]).await?;
        let node = format!("node/{node}");
        self.shell.run(&["kubectl", "wait", &node, "--for=condition=Ready", "--timeout=60s"]).await?;
        Ok(())
    }

    async fn node(&self, node: &str, order: &[&str]) -> Result<()> {
        let tools = self.tools.as_ref().context("only nodes of kube-up can be switched off")?;
        let number = node.strip_prefix("node").with_context(|| format!("`{node}` is no node of kube-up"))?;
        let words: Vec<&str> = [number].into_iter().chain(order.iter().copied()).collect();
        self.shell.run_file(&tools.join("kube-node"), &words, secs(60)).await?;
        Ok(())
    }
}

/// Takes down what earlier tests left behind that were themselves killed.
async fn sweep(tools: &Path) -> Result<()> {
    for entry in fs::read_dir(env::temp_dir())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|owner| owner.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let shell = Shell::with("KUBE_DIR", &path);
            shell.run_file(&tools.join("kube-down"), &[], secs(60)).await?;
        }
    }
    Ok(())
}
