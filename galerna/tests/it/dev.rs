//! `dev`: a whole cluster, with real workers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
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
    /// Where metrics are served: by Nimbus, then by each supervisor.
    https: Vec<String>,
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
        let https = between("metrics and health of ", "\n");
        let https =
            https.split("http://").skip(1).map(|part| part.split(',').next().unwrap_or(part).to_owned()).collect();
        Self { process, stdout, address, data, https }
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

/// The status of an answer, and its text.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a body");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), text.to_owned())
}

const LISTENING: &str = "\
name: listening
spouts: [{id: lines, className: socket-lines, properties: {listen: \"127.0.0.1:0\", encoding: lossy}}]
bolts: [{id: out, className: \"null\"}]
streams: [{from: lines, to: out, grouping: {type: SHUFFLE}}]
";

#[tokio::test]
async fn metrics_of_components_are_described_and_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let topology = folder.path().join("listening.yaml");
    std::fs::write(&topology, LISTENING).expect("written");
    let cluster = Cluster::start(&["--supervisors", "2", "--http", "127.0.0.1:0"]);
    assert_eq!(cluster.https.len(), 3, "{:?}", cluster.https);
    cluster.call(&["submit", &topology.to_string_lossy()]).expect(0);
    let described = cluster.described("listening", |of| of["components"][0]["gauges"]["port"].as_f64().is_some()).await;
    let port = described["components"][0]["gauges"]["port"].as_f64().expect("it listens") as u16;
    // It is no text.
    TcpStream::connect(("127.0.0.1", port)).expect("it listens").write_all(b"\xff\n").expect("sent");
    let replaced = |of: &Json| of["components"][0]["counters"]["lines_replaced"] == 1;
    cluster.described("listening", replaced).await;
    let text = run(["describe", "listening", "--nimbus", &cluster.address]).expect(0).stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["lines", "lines_replaced", "counter", "1", "-", "-", "-"]), "{text}");
    assert!(get(&cluster.https[0], "/metrics").1.contains("\ngalerna_nimbus_is_leader 1\n"));
    for address in &cluster.https {
        assert_eq!((get(address, "/livez").0, get(address, "/readyz").0), (200, 200), "{address}");
    }
    let served: String = cluster.https[1..].iter().map(|address| get(address, "/metrics").1).collect();
    let values = |name: &str| {
        let samples = served.lines().filter(|line| line.starts_with(&format!("{name}{{topology=\"listening\"")));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect::<Vec<f64>>()
    };
    assert_eq!(values("galerna_user_lines_replaced_total"), [1.0], "{served}");
    assert_eq!(values("galerna_user_port"), [f64::from(port)], "{served}");
    cluster.interrupt();
}

#[test]
fn a_taken_port_for_metrics_is_one_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let ran = run(["dev", "--listen", "127.0.0.1:0", "--http", &address]).expect(1);
    assert!(ran.stderr.contains(&format!("error: cannot serve metrics on {address}: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("--http takes another address"), "{}", ran.stderr);
}
