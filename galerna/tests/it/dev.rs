//! `dev`: a whole cluster, with real workers.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use crate::support::{Ran, example, galerna, run};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    process: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
    data: PathBuf,
}

impl Cluster {
    fn start(args: &[&str]) -> Self {
        let mut command = galerna();
        command.args(["dev", "--listen", "127.0.0.1:0"]).args(args);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            assert!(stdout.read_line(&mut said).is_ok_and(|read| read > 0), "it ended: {said}");
        }
        let between = |from: &str, to: &str| {
            let rest = said.split_once(from).map_or("", |(_, rest)| rest);
            rest.split_once(to).map_or("", |(found, _)| found).to_owned()
        };
        let (address, data) = (between("answers at ", ";"), between("data in ", " is removed").into());
        Self { process, stdout, address, data }
    }

    fn call(&self, args: &[&str]) -> Ran {
        run(args.iter().copied().chain(["--nimbus", &self.address, "--output", "json"]))
    }

    /// Waits until `describe` shows what is waited for.
    async fn described(&self, name: &str, is_it: impl Fn(&Json) -> bool) -> Json {
        let until = Instant::now() + PATIENCE;
        loop {
            let described = self.call(&["describe", name]).expect(0).json();
            if is_it(&described) {
                return described;
            }
            assert!(Instant::now() < until, "{described:#}\n{}", self.call(&["logs", name]).stdout);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ctrl-C.
    fn interrupt(mut self) -> PathBuf {
        let killed = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        self.stdout.read_to_string(&mut String::new()).expect("the rest");
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
        std::mem::take(&mut self.data)
    }
}

/// A test that failed must not leave it behind.
impl Drop for Cluster {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
            let _ = self.process.wait();
        }
    }
}

fn pids(described: &Json) -> Vec<u64> {
    let workers = described["workers"].as_array().expect("workers").iter();
    workers.filter_map(|worker| worker["pid"].as_u64()).filter(|pid| *pid > 0).collect()
}

#[tokio::test]
async fn word_count_runs_to_its_end_on_a_cluster_in_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("counts-{task}.tsv");
    let cluster = Cluster::start(&["--slots", "2"]);
    assert_eq!(cluster.call(&["supervisors"]).expect(0).json().as_array().map(Vec::len), Some(2));
    let set = format!("output={}", output.display());
    let ran = cluster.call(&["submit", &example("word-count/topology.yaml"), "--set", &set, "-n", "3"]).expect(0);
    assert!(ran.json()["id"].as_str().is_some_and(|id| id.starts_with("word-count-")), "{ran:?}");
    let described = cluster.described("word-count", |of| of["status"] == "FINISHED").await;
    let (lines, save) = (&described["components"][0], &described["components"][5]);
    assert_eq!((&lines["emitted"], &lines["failed"]), (&lines["acked"], &Json::from(0)), "{described:#}");
    let text = std::fs::read_to_string(folder.path().join("counts-0.tsv")).expect("the counts");
    assert_eq!(save["executed"].as_u64(), Some(text.lines().count() as u64), "{described:#}");
    cluster.call(&["kill", "word-count"]).expect(0);
    assert_eq!(cluster.call(&["list"]).expect(0).stdout, "[]\n");
    assert!(!cluster.interrupt().exists());
}

#[tokio::test]
async fn ctrl_c_ends_the_cluster_its_workers_and_its_data() {
    let cluster = Cluster::start(&["--supervisors", "1"]);
    cluster.call(&["submit", &example("rolling-top-words/topology.yaml"), "-n", "2"]).expect(0);
    let is_running = |of: &Json| of["components"][0]["emitted"].as_u64() > Some(0) && pids(of).len() == 2;
    let workers = pids(&cluster.described("rolling-top-words", is_running).await);
    let data = cluster.interrupt();
    for pid in workers {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "worker {pid} is still there");
    }
    assert!(!data.exists(), "{}", data.display());
}

#[test]
fn a_taken_port_is_one_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let ran = run(["dev", "--listen", &address]).expect(1);
    assert!(ran.stderr.contains(&format!("error: cannot listen on {address}: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("--listen takes another address"), "{}", ran.stderr);
}
