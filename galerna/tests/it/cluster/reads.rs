//! Commands that only look.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use galerna_protocol::*;
use serde_json::json;
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use crate::support::{call, galerna, seen};

pub(super) fn words() -> TopologySummary {
    TopologySummary {
        name: "words".into(),
        id: "words-1".into(),
        status: "ACTIVE".into(),
        tasks: 5,
        executors: 3,
        workers: 2,
        uptime_secs: 185,
        ..TopologySummary::default()
    }
}

fn component(id: &str, kind: &str, tasks: u32) -> ComponentStats {
    ComponentStats { id: id.into(), kind: kind.into(), tasks, executors: 2, ..ComponentStats::default() }
}

pub(super) fn described() -> DescribeReply {
    let [a, b] = [WorkerId::new("node-1", 6629), WorkerId::new("node-2", 6630)];
    let worker = |id: &WorkerId, state: WorkerState| WorkerSummary {
        id: Some(id.clone()),
        pid: 4711,
        incarnation: 3,
        tasks: 2,
        uptime_secs: 12,
        address: "127.0.0.1:6629".into(),
        state: state.into(),
        generation: 7,
        restarts: 0,
    };
    let executor = |component: &str, first, last, worker: &WorkerId| ExecutorSummary {
        component: component.into(),
        tasks: Some(TaskRange::new(first, last)),
        worker: Some(worker.clone()),
        uptime_secs: 12,
    };
    DescribeReply {
        summary: Some(words()),
        generation: 7,
        workers: vec![worker(&a, WorkerState::Running), worker(&b, WorkerState::Starting)],
        components: vec![
            ComponentStats {
                emitted: 1_234_567,
                acked: 1_234_000,
                failed: 3,
                replayed: 3,
                execute_latency: Some(Latency { p50: 12.5, p99: 1_610.0, max: 2_000.0 }),
                complete_latency: Some(Latency { p50: 1_460.0, p99: 3_340.0, max: 5e6 }),
                ..component("lines", "spout", 1)
            },
            ComponentStats {
                executed: 1_234_567,
                restarts: 1,
                errors: 2,
                user_metrics: user_metrics(),
                ..component("count", "bolt", 4)
            },
        ],
        are_counts_exact: false,
        unscheduled: vec!["count: no free slot\nof 8".into()],
        spec: Some(TopologySpec { config: "{\"topology.message.timeout.secs\":45}".into(), ..TopologySpec::default() }),
        failure: String::new(),
        executors: vec![
            executor("lines", 1, 1, &a),
            executor("count", 2, 3, &b),
            executor("count", 4, 4, &b),
            executor("count", 5, 5, &a),
        ],
        ..DescribeReply::default()
    }
}

fn end() -> WorkerEnd {
    WorkerEnd {
        worker: Some(WorkerId::new("node-2", 6630)),
        incarnation: 2,
        pid: 4700,
        unix_ms: 1_700_000_000_123,
        signal: Some(9),
        reason: "was ended by signal 9".into(),
        last_lines: "INFO it runs\nWARN no more".into(),
        up_ms: 12_345,
        ..WorkerEnd::default()
    }
}

fn user_metrics() -> Vec<UserMetric> {
    let metric = |name: &str, value| UserMetric { name: name.into(), value: Some(value) };
    vec![
        metric("cache.hits", user_metric::Value::Counter(12_345)),
        metric("cache\nsize", user_metric::Value::Gauge(0.5)),
        metric("bytes", user_metric::Value::Histogram(UserDistribution { count: 4, p50: 10, p99: 2_000, max: 2_005 })),
    ]
}

fn nimbus() -> FakeNimbus {
    let error = |message: &str, count| ErrorReport {
        component: "count".into(),
        task: 2,
        message: message.into(),
        count,
        kind: String::new(),
        is_consequence: false,
        first_unix_ms: 1_699_999_000_000,
        last_unix_ms: 1_700_000_000_123,
        worker: Some(WorkerId::new("node-2", 6630)),
    };
    let supervisor = |id: &str, platform| SupervisorSummary {
        id: id.into(),
        address: format!("{id}:6628"),
        slots: 4,
        used: 1,
        uptime_secs: 90_000,
        platform,
        ..SupervisorSummary::default()
    };
    let linux = Platform { os: "linux".into(), architecture: "x86_64".into(), libc: "glibc 2.36".into() };
    let chunk = |slot, content: &str| LogChunk {
        worker: Some(WorkerId::new("node-1", slot)),
        content: content.to_owned().into_bytes(),
        ..LogChunk::default()
    };
    FakeNimbus::start(State {
        topologies: vec![
            words(),
            TopologySummary { name: "a-longer-name".into(), status: "INACTIVE".into(), ..words() },
        ],
        described: Some(described()),
        errors: vec![
            error("no field `word`\nfound `line`", 12_000),
            error("boom", 1),
            ErrorReport { component: String::new(), task: 0, ..error("it had 530 MiB", 1) },
        ],
        supervisors: vec![
            SupervisorSummary { cpu: 350.0, memory_mb: 7936.0, ..supervisor("node-1", Some(linux)) },
            SupervisorSummary { is_leaving: true, ..supervisor("node-2", None) },
        ],
        log: vec![chunk(6629, "one\ntwo\nhal"), chunk(6630, "other\n"), chunk(6629, "f\n"), chunk(6630, "no end")],
        ..State::default()
    })
}

#[test]
fn tables_are_good_to_read() {
    let nimbus = nimbus();
    let mut pages = String::new();
    for args in [&["list"][..], &["describe", "words"], &["supervisors"], &["errors", "words"], &["logs", "words"]] {
        let ran = nimbus.call(args).expect(0);
        assert_eq!(ran.stderr, "", "{args:?}");
        pages.push_str(&format!("=== {}\n{}\n", args.join(" "), ran.stdout));
    }
    insta::assert_snapshot!(pages, @r#"
=== list
name           status    workers  executors  tasks          up  id       note
words          ACTIVE          2          3      5  3 min 05 s  words-1
a-longer-name  INACTIVE        2          3      5  3 min 05 s  words-1

=== describe words
words (words-1): ACTIVE for 3 min 05 s, generation 7
2 workers, 3 executors, 5 tasks

not scheduled, or not staying up:
  count: no free slot
    of 8

worker        pid  incarnation  tasks    up  restarts  state     runs
node-1:6629  4711            3      2  12 s         0  running   lines 1, count 5
node-2:6630  4711            3      2  12 s         0  starting  count 2-3 4

no rates yet: they need reports of at least a second

component  kind   tasks  executors    emitted   executed      acked  failed  restarts  replayed  errors
lines      spout      1          2  1,234,567          0  1,234,000       3         0         3       0
count      bolt       4          2          0  1,234,567          0       0         1         0       2

latency  execute p50      p99      max  complete p50      p99     max
lines        12.5 µs  1.61 ms  2.00 ms       1.46 ms  3.34 ms  5.00 s
count              -        -        -             -        -       -

component  metric      kind        value  p50    p99    max
count      cache.hits  counter    12,345    -      -      -
count      cache size  gauge         0.5    -      -      -
count      bytes       histogram       4   10  2,000  2,005

counts are at least these: a worker's last moment, or a supervisor's report, is missing

=== supervisors
id      address      status   slots  used  cores    memory        up  platform
node-1  node-1:6628  ready        4     1    3.5  7.75 GiB  1 d 01 h  linux x86_64 glibc 2.36
node-2  node-2:6628  leaving      4     1      -         -  1 d 01 h

=== errors words
2023-11-14T22:13:20.123Z count task 2 on node-2:6630 (12,000 times since 2023-11-14T21:56:40Z): no field `word`
    found `line`
2023-11-14T22:13:20.123Z count task 2 on node-2:6630: boom
2023-11-14T22:13:20.123Z worker on node-2:6630: it had 530 MiB

=== logs words
node-1:6629  one
node-1:6629  two
node-1:6630  other
node-1:6629  half
node-1:6630  no end
"#);
}

#[test]
fn json_has_the_promised_keys_in_their_order() {
    let nimbus = nimbus();
    let mut pages = String::new();
    for args in [&["list"][..], &["describe", "words"], &["supervisors"], &["errors", "words"], &["logs", "words"]] {
        let ran = nimbus.call(&[args, &["--output", "json"]].concat()).expect(0);
        ran.json();
        pages.push_str(&format!("=== {}\n{}\n", args.join(" "), ran.stdout));
    }
    insta::assert_snapshot!(pages, @r#"
=== list
[{"name":"words","id":"words-1","status":"ACTIVE","tasks":5,"executors":3,"workers":2,"uptime_s":185,"owner":"","workers_down":0,"workers_not_responding":0,"note":""},{"name":"a-longer-name","id":"words-1","status":"INACTIVE","tasks":5,"executors":3,"workers":2,"uptime_s":185,"owner":"","workers_down":0,"workers_not_responding":0,"note":""}]

=== describe words
{"name":"words","id":"words-1","status":"ACTIVE","tasks":5,"executors":3,"workers":[{"supervisor":"node-1","slot":6629,"pid":4711,"incarnation":3,"tasks":2,"uptime_s":12,"state":"running","restarts":0},{"supervisor":"node-2","slot":6630,"pid":4711,"incarnation":3,"tasks":2,"uptime_s":12,"state":"starting","restarts":0}],"uptime_s":185,"owner":"","workers_down":0,"workers_not_responding":0,"note":"","generation":7,"components":[{"id":"lines","kind":"spout","tasks":1,"executors":2,"emitted":1234567,"executed":0,"acked":1234000,"failed":3,"restarts":0,"execute_latency_us":{"p50":12.5,"p99":1610.0,"max":2000.0},"complete_latency_us":{"p50":1460.0,"p99":3340.0,"max":5000000.0},"errors":0,"replayed":3,"gave_up":0,"pending":0,"queued":0,"queue_capacity":0,"last_10s":null,"last_10min":null},{"id":"count","kind":"bolt","tasks":4,"executors":2,"emitted":0,"executed":1234567,"acked":0,"failed":0,"restarts":1,"execute_latency_us":null,"complete_latency_us":null,"errors":2,"replayed":0,"gave_up":0,"pending":0,"queued":0,"queue_capacity":0,"last_10s":null,"last_10min":null,"counters":{"cache.hits":12345},"gauges":{"cache\nsize":0.5},"histograms":{"bytes":{"count":4,"p50":10,"p99":2000,"max":2005}}}],"counts_are":"at least","unscheduled":["count: no free slot\nof 8"],"errors":[],"worker_ends":[],"sources":[],"rates_lack":[]}

=== supervisors
[{"id":"node-1","address":"node-1:6628","slots":4,"used":1,"uptime_s":90000,"leaving":false,"cpu":350.0,"memory_mb":7936.0},{"id":"node-2","address":"node-2:6628","slots":4,"used":1,"uptime_s":90000,"leaving":true,"cpu":0.0,"memory_mb":0.0}]

=== errors words
[{"component":"count","task":2,"message":"no field `word`\nfound `line`","count":12000,"last_unix_ms":1700000000123,"worker":"node-2:6630","first_unix_ms":1699999000000,"kind":""},{"component":"count","task":2,"message":"boom","count":1,"last_unix_ms":1700000000123,"worker":"node-2:6630","first_unix_ms":1699999000000,"kind":""},{"component":"","task":0,"message":"it had 530 MiB","count":1,"last_unix_ms":1700000000123,"worker":"node-2:6630","first_unix_ms":1699999000000,"kind":""}]

=== logs words
{"worker":"node-1:6629","line":"one"}
{"worker":"node-1:6629","line":"two"}
{"worker":"node-1:6630","line":"other"}
{"worker":"node-1:6629","line":"half"}
{"worker":"node-1:6630","line":"no end"}
"#);
}

#[test]
fn ends_of_workers_are_told_with_time_signal_and_last_lines() {
    let for_memory = WorkerEnd {
        cause: EndCause::OutOfMemory.into(),
        reason: "it had 530 MiB".into(),
        last_lines: String::new(),
        up_ms: 0,
        ..end()
    };
    let mut described = described();
    described.workers[0].set_state(WorkerState::NotResponding);
    described.workers[1].restarts = 2;
    described.worker_ends = vec![end(), for_memory.clone()];
    let nimbus = FakeNimbus::start(State {
        described: Some(described),
        worker_ends: vec![end(), for_memory],
        ..State::default()
    });
    let mut pages = String::new();
    for args in [&["errors", "words"][..], &["errors", "words", "--output=json"]] {
        pages.push_str(&format!("=== {}\n{}\n", args.join(" "), nimbus.call(args).expect(0).stdout));
    }
    let text = nimbus.call(&["describe", "words"]).expect(0).stdout;
    let shown = text.split("\n\n").skip(2).take(3).collect::<Vec<_>>().join("\n\n");
    pages.push_str(&format!("=== describe words\n{shown}\n"));
    insta::assert_snapshot!(pages, @r#"
=== errors words
workers that ended, the last 5 times each:
2023-11-14T22:13:20.123Z worker node-2:6630 (incarnation 2, process 4700, up 12 s): was ended by signal 9; its last lines:
    INFO it runs
    WARN no more
2023-11-14T22:13:20.123Z worker node-2:6630 (incarnation 2, process 4700): it had 530 MiB (out of memory)

=== errors words --output=json
[{"component":"","task":0,"message":"was ended by signal 9","count":1,"last_unix_ms":1700000000123,"worker":"node-2:6630","first_unix_ms":1700000000123,"kind":"","end":{"worker":"node-2:6630","incarnation":2,"pid":4700,"unix_ms":1700000000123,"cause":"ended","reason":"was ended by signal 9","signal":9,"exit_code":null,"up_s":12,"last_lines":["INFO it runs","WARN no more"]}},{"component":"","task":0,"message":"it had 530 MiB","count":1,"last_unix_ms":1700000000123,"worker":"node-2:6630","first_unix_ms":1700000000123,"kind":"","end":{"worker":"node-2:6630","incarnation":2,"pid":4700,"unix_ms":1700000000123,"cause":"out of memory","reason":"it had 530 MiB","signal":9,"exit_code":null,"up_s":0,"last_lines":[]}}]

=== describe words
worker        pid  incarnation  tasks    up  restarts  state           runs
node-1:6629  4711            3      2  12 s         0  not responding  lines 1, count 5
node-2:6630  4711            3      2  12 s         2  starting        count 2-3 4

no rates yet: they need reports of at least a second

workers that ended last (`errors` shows their last lines):
  2023-11-14T22:13:20.123Z worker node-2:6630 (incarnation 2, process 4700, up 12 s): was ended by signal 9
  2023-11-14T22:13:20.123Z worker node-2:6630 (incarnation 2, process 4700): it had 530 MiB (out of memory)
"#);
    let json = nimbus.call(&["describe", "words", "--output=json"]).expect(0).json();
    assert_eq!((&json["workers"][0]["state"], &json["workers"][1]["restarts"]), (&json!("not responding"), &json!(2)));
    assert_eq!(
        (&json["worker_ends"][0]["signal"], &json["worker_ends"][1]["cause"]),
        (&json!(9), &json!("out of memory"))
    );
}

#[test]
fn list_tells_failed_topologies_and_workers_that_are_down() {
    let failed = TopologySummary { status: "FINISHED".into(), failure: "2 tuples were given up".into(), ..words() };
    let nimbus = FakeNimbus::start(State {
        topologies: vec![TopologySummary { workers_down: 1, ..words() }, TopologySummary { workers: 0, ..failed }],
        ..State::default()
    });
    insta::assert_snapshot!(nimbus.call(&["list"]).expect(0).stdout, @r#"
name   status  workers  executors  tasks          up  id       note
words  ACTIVE        2          3      5  3 min 05 s  words-1  1 of 2 workers down
words  FAILED        0          3      5  3 min 05 s  words-1  2 tuples were given up
"#);
    let json = nimbus.call(&["list", "--output=json"]).expect(0).json();
    assert_eq!((&json[0]["workers_down"], &json[0]["note"]), (&json!(1), &json!("1 of 2 workers down")));
    assert_eq!((&json[1]["status"], &json[1]["failure"]), (&json!("FINISHED"), &json!("2 tuples were given up")));
}

#[test]
fn an_end_that_was_not_good_and_exact_counts_are_told() {
    let nimbus = nimbus();
    let failure = "the last words of `count` were lost".to_owned();
    nimbus.state().described =
        Some(DescribeReply { failure, are_counts_exact: true, unscheduled: Vec::new(), ..described() });
    let text = nimbus.call(&["describe", "words"]).expect(0).stdout;
    assert!(text.contains("\nfailed: the last words of `count` were lost\n"), "{text}");
    assert!(text.ends_with("\ncounts are exact\n") && !text.contains("not scheduled"), "{text}");
    let json = nimbus.call(&["describe", "words", "--output=json"]).expect(0).json();
    assert_eq!(json["failure"], "the last words of `count` were lost");
    assert_eq!((&json["counts_are"], &json["unscheduled"]), (&json!("exact"), &json!([])));
}

#[test]
fn nothing_is_an_empty_list() {
    let nimbus = FakeNimbus::start(State::default());
    for (args, told) in [
        (&["list"][..], "no topologies\n"),
        (&["supervisors"], "no supervisors\n"),
        (&["errors", "words"], "no errors\n"),
    ] {
        let ran = nimbus.call(args).expect(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", told));
        assert_eq!(nimbus.call(&[args, &["--output=json"]].concat()).expect(0).stdout, "[]\n");
    }
    assert_eq!(nimbus.call(&["logs", "words"]).expect(0).stdout, "");
}

#[test]
fn logs_ask_for_as_many_lines_as_they_were_told_to() {
    let nimbus = nimbus();
    nimbus.call(&["logs", "words", "--lines", "7"]).expect(0);
    assert!(nimbus.state().asked[0].contains("follow: false, last_lines: 7"), "{:?}", nimbus.state().asked);
}

#[test]
fn a_refusal_is_one_message_and_exit_1() {
    let nimbus = FakeNimbus::start(State::default());
    let ran = nimbus.call(&["describe", "wrds", "--output=json"]).expect(1);
    assert_eq!(ran.stderr, "error: no topology named `wrds`; there are words\n");
    let expected = json!({"error": {"code": "not_found", "message": "no topology named `wrds`; there are words"}});
    assert_eq!(ran.json(), expected);
    nimbus.state().refusal = Some(Status::failed_precondition(""));
    let ran = nimbus.call(&["list"]).expect(1);
    assert_eq!((ran.stdout.as_str(), ran.stderr.contains("not in a state")), ("", true), "{ran:?}");
}

#[test]
fn addresses_are_tried_in_turn_also_when_one_is_unavailable() {
    let leaderless = FakeNimbus::start(State {
        refusal: Some(Status::unavailable("no nimbus leads at the moment; try again")),
        ..State::default()
    });
    let good = nimbus();
    // Nobody listens at a port that was just given back.
    let closed =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string();
    let all = [closed.as_str(), &leaderless.address, &good.address].join(",");
    assert_eq!(call(["list", "--nimbus", &all, "--output=json"]).expect(0).json()[0]["name"], "words");
    assert_eq!(leaderless.state().asked.len(), 1);

    let bad = [closed.as_str(), &leaderless.address].join(",");
    let ran = call(["list", "--nimbus", &bad, "--output=json"]).expect(1);
    let told = format!(
        "error: cannot connect to {closed}: Connection refused (os error 111); {}: no nimbus leads at the moment; try again\n",
        leaderless.address
    );
    assert_eq!((ran.stderr.as_str(), &ran.json()["error"]["code"]), (told.as_str(), &json!("unavailable")));
}

#[test]
fn the_environment_says_where_nimbus_is() {
    let nimbus = nimbus();
    let ran = seen(galerna().env("GALERNA_NIMBUS", &nimbus.address).arg("list").output().expect("it starts"));
    assert!(ran.expect(0).stdout.contains("words-1"));
}

#[cfg(unix)]
#[test]
fn a_signal_or_a_closed_pipe_ends_following_quietly() {
    let nimbus = nimbus();
    for is_signalled in [true, false] {
        let mut command = galerna();
        command.args(["logs", "words", "--follow", "--nimbus", &nimbus.address]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert_eq!(line, "node-1:6629  one\n");
        if is_signalled {
            let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(killed.is_ok_and(|status| status.success()));
        } else {
            drop(lines);
        }
        assert_eq!(seen(child.wait_with_output().expect("it ends")).expect(0).stderr, "");
    }
}

#[test]
fn describe_shows_the_errors_with_their_cause_first() {
    let cause = ErrorReport {
        component: "store".into(),
        task: 3,
        message: "no connection to 10.0.0.1".into(),
        count: 40,
        first_unix_ms: 1_699_999_000_000,
        last_unix_ms: 1_700_000_000_123,
        ..ErrorReport::default()
    };
    let message = "gave up a tuple after 3 tries: `store`: no connection to 10.0.0.1; values: [7]".into();
    let given_up = ErrorReport { component: "lines".into(), task: 1, message, count: 1, ..cause.clone() };
    let described = DescribeReply { errors: vec![cause, given_up], ..described() };
    let nimbus = FakeNimbus::start(State { described: Some(described), ..State::default() });
    let text = nimbus.call(&["describe", "words"]).expect(0).stdout;
    let shown = text.split("\n\n").last().unwrap_or_default();
    insta::assert_snapshot!(shown, @r"
    errors (`errors` shows all):
      2023-11-14T22:13:20.123Z store task 3 (40 times since 2023-11-14T21:56:40Z): no connection to 10.0.0.1
      2023-11-14T22:13:20.123Z lines task 1: gave up a tuple after 3 tries: `store`: no connection to 10.0.0.1; values: [7]
    ");
}
