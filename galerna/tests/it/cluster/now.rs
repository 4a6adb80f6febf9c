//! What topologies do now: rates, levels, pages that are shown again and again.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

use galerna_protocol::*;
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use super::reads::{described, words};
use crate::support::{galerna, seen};

fn window(seconds: f64, scale: f64) -> Window {
    Window {
        seconds,
        emitted: 12_345.6 * scale,
        executed: 0.0,
        acked: 12_340.0 * scale,
        failed: 0.25,
        execute_latency: Some(Latency { p50: 12.5, p99: 1_610.0, max: 2_000.0 }),
        complete_latency: Some(Latency { p50: 1_460.0, p99: 3_340.0, max: 5e6 }),
        busy: Some(0.09),
        blocked: 0.45,
    }
}

/// `described`, with what it does now.
fn busy(short: f64, long: f64) -> DescribeReply {
    let mut reply = described();
    let [spout, bolt] = &mut reply.components[..] else { panic!("two components") };
    (spout.last_10_s, spout.last_10_min) = (Some(window(short, 1.0)), Some(window(long, 0.5)));
    spout.pending = 977;
    let of_bolt = |window: Window| Window { emitted: 0.0, executed: 12_345.6, complete_latency: None, ..window };
    let old = Window { busy: None, blocked: 0.0, ..of_bolt(window(short, 1.0)) };
    (bolt.last_10_s, bolt.last_10_min) = (Some(old), Some(of_bolt(window(long, 1.0))));
    (bolt.queued, bolt.queue_capacity) = (1_200, 4_000);
    let source =
        |task, position: &str, lag| SourceSummary { component: "lines".into(), task, position: position.into(), lag };
    reply.sources = vec![source(1, "book.txt: line 1,204", Some(31_000)), source(2, "stdin\tline 3", None)];
    reply.gaps = vec!["node-2 has not reported for 7 s".into()];
    reply.unscheduled.clear();
    reply
}

/// The part of a description that says what is now.
fn now(text: &str) -> String {
    let from = text.find("\nlast ").or_else(|| text.find("\nno rates")).expect("it says what is now");
    text[from + 1..text.find("\ncomponent").expect("totals follow")].to_owned()
}

fn nimbus(described: DescribeReply) -> FakeNimbus {
    let listed = TopologySummary { last_10_s: Some(window(10.0, 1.0)), pending: 977, ..words() };
    let fresh = TopologySummary { name: "a-longer-name".into(), status: "INACTIVE".into(), ..words() };
    let over = TopologySummary { name: "over".into(), status: "FINISHED".into(), workers: 0, ..words() };
    let fresh = TopologySummary { last_10_s: Some(window(4.0, 0.0)), ..fresh };
    FakeNimbus::start(State { described: Some(described), topologies: vec![fresh, over, listed], ..State::default() })
}

#[test]
fn description_has_rates_and_latencies_of_both_windows_and_how_full_all_is() {
    let nimbus = nimbus(busy(10.0, 594.0));
    let text = nimbus.call(&["describe", "words"]).expect(0).stdout;
    let now = now(&text);
    assert!(now.lines().all(|line| line.chars().count() <= 80), "{now}");
    insta::assert_snapshot!(now, @r"
    last 10 s  emitted/s  executed/s  acked/s  failed/s      p50      p99
    lines         12,346           -   12,340       0.2  1.46 ms  3.34 ms
    count              0      12,346   12,340       0.2  12.5 µs  1.61 ms

    last 10 min  emitted/s  executed/s  acked/s  failed/s      p50      p99
    lines            6,173           -    6,170       0.2  1.46 ms  3.34 ms
    count                0      12,346   12,340       0.2  12.5 µs  1.61 ms

    now    pending  queued  queue full  busy  waiting  blocked
    lines      977       -           -    9%      46%      45%
    count        0   1,200         30%     -        -       0%
    p50, p99: complete latency of spouts, execute of bolts; shares: last 10 s
    rates lack figures: node-2 has not reported for 7 s

    source  task     lag  position
    lines      1  31,000  book.txt: line 1,204
    lines      2       -  stdin line 3
    ");
    let json = nimbus.call(&["describe", "words", "--output=json"]).expect(0).stdout;
    let window = r#""last_10s":{"seconds":10.0,"emitted_per_s":12345.6,"executed_per_s":0.0,"acked_per_s":12340.0,"failed_per_s":0.25,"execute_latency_us":{"p50":12.5,"p99":1610.0,"max":2000.0},"complete_latency_us":{"p50":1460.0,"p99":3340.0,"max":5000000.0},"busy":0.09,"waiting":0.46,"blocked":0.45}"#;
    assert!(json.contains(window), "{json}");
    let rest = r#""sources":[{"component":"lines","task":1,"position":"book.txt: line 1,204","lag":31000},{"component":"lines","task":2,"position":"stdin\tline 3","lag":null}],"rates_lack":["node-2 has not reported for 7 s"]"#;
    assert!(json.contains(rest), "{json}");
}

#[test]
fn window_that_is_not_full_yet_says_how_long_it_is() {
    let titles = |short, long| {
        let text = nimbus(busy(short, long)).call(&["describe", "words"]).expect(0).stdout;
        let titles = text.lines().filter(|line| line.starts_with("last ")).map(|line| line.replace("emitted", "\n"));
        titles.map(|line| line.lines().next().unwrap_or_default().trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(10.0, 600.0), ["last 10 s", "last 10 min"]);
    assert_eq!(titles(9.6, 185.3), ["last 10 s", "last 3 min 05 s"]);
    assert_eq!(titles(4.2, 4.2), ["last 4 s"]);
    let text = nimbus(described()).call(&["describe", "words"]).expect(0).stdout;
    assert_eq!(now(&text), "no rates yet: they need reports of at least a second\n");
}

#[test]
fn top_is_one_table_where_nobody_watches() {
    let nimbus = nimbus(described());
    let text = nimbus.call(&["top"]).expect(0).stdout;
    insta::assert_snapshot!(text, @r"
    3 topologies, 2 running; rates of spouts, p50 and p99 of complete latency

    name           status    last  emitted/s  acked/s  failed/s      p50      p99  pending  workers          up
    a-longer-name  INACTIVE   4 s          0        0       0.2  1.46 ms  3.34 ms        0        2  3 min 05 s
    over           FINISHED     -          -        -         -        -        -        0        0  3 min 05 s
    words          ACTIVE    10 s     12,346   12,340       0.2  1.46 ms  3.34 ms      977        2  3 min 05 s
    ");
    assert_eq!(nimbus.call(&["top", "--once"]).expect(0).stdout, text);
    assert!(nimbus.state().asked[0].contains("with_rates: true"));
    let json = nimbus.call(&["top", "--output=json"]).expect(0).json();
    assert_eq!((&json[2]["name"], &json[2]["pending"]), (&"words".into(), &977.into()));
    assert_eq!((&json[2]["last_10s"]["emitted_per_s"], json[1]["last_10s"].is_null()), (&12_345.6.into(), true));
    let none = FakeNimbus::start(State::default()).call(&["top"]).expect(0);
    assert_eq!(none.stdout, "no topologies\n");
}

#[test]
fn description_that_is_watched_is_printed_again_until_the_topology_has_ended() {
    let nimbus = nimbus(busy(10.0, 594.0));
    let ran = thread::scope(|scope| {
        let watching = scope.spawn(|| nimbus.call(&["describe", "words", "--watch", "--every", "100ms"]));
        let asked = |times: usize| {
            while nimbus.state().asked.len() < times {
                thread::yield_now();
            }
        };
        asked(2);
        nimbus.state().refusal = Some(Status::unavailable("no nimbus leads at the moment"));
        asked(5);
        let mut state = nimbus.state();
        state.refusal = None;
        state.described = Some(DescribeReply { ended_unix_ms: 1, workers: Vec::new(), ..described() });
        drop(state);
        watching.join().expect("it does not panic")
    });
    let ran = ran.expect(0);
    assert!(ran.stdout.matches("words (words-1): ACTIVE for").count() >= 2, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("words (words-1): ACTIVE at 1970").count(), 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("\n\nwords (words-1)") && !ran.stdout.contains('\x1b'), "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("not up to date: ").count(), 1, "{}", ran.stderr);
}

#[test]
fn what_cannot_be_watched_is_told_at_once() {
    let nimbus = FakeNimbus::start(State::default());
    let ran = nimbus.call(&["describe", "wrds", "--watch"]).expect(1);
    assert_eq!(ran.stderr, "error: no topology named `wrds`; there are words\n");
    let ran = nimbus.call(&["describe", "words", "--watch", "--every", "10ms"]).expect(2);
    assert!(ran.stderr.contains("`10ms` is too short, expected at least 100 ms"), "{}", ran.stderr);
    nimbus.state().refusal = Some(Status::unavailable("no nimbus leads at the moment"));
    assert!(nimbus.call(&["top"]).expect(1).stderr.contains("no nimbus leads"));
}

#[cfg(unix)]
#[test]
fn a_signal_or_a_closed_pipe_ends_watching_quietly() {
    let nimbus = nimbus(busy(10.0, 594.0));
    for is_signalled in [true, false] {
        let mut command = galerna();
        command.args(["describe", "words", "--watch", "--every=1h", "--nimbus", &nimbus.address]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert!(line.starts_with("words (words-1): ACTIVE for"), "{line}");
        if is_signalled {
            let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(killed.is_ok_and(|status| status.success()));
        } else {
            drop(lines);
        }
        assert_eq!(seen(child.wait_with_output().expect("it ends")).expect(0).stderr, "");
    }
}
