//! Whatever the files and arguments are: exit 0, 1 or 2, and never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::{call, example, file, run};

/// How many cases to try: as many as the test says, or `MUTATIONS` of them for a long look.
fn cases(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("MUTATIONS").ok().and_then(|count| count.parse().ok());
    0..asked.unwrap_or(usual)
}

/// A small generator (xorshift64*), so that a failure names its seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const TOKENS: &[&str] = &[
    "null",
    "~",
    "true",
    "no",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "[]",
    "{}",
    "[[[[",
    "{a: {b: ",
    "&a",
    "*a",
    "<<: *a",
    "!!binary x",
    "? ",
    "- ",
    ": ",
    "\"",
    "'",
    "|",
    ">",
    "#",
    "---",
    "...",
    "\t",
    "\u{0}",
    "\u{feff}",
    "\u{1f300}",
    "\u{301}",
    "${",
    "${x}",
    "${x:-${y}}",
    "$${",
    "${ENV-HOME}",
    "className",
    "type",
    "id",
    "from",
    "to",
    "FIELDS",
    "CUSTOM",
    "DIRECT",
    "parallelism",
    "numTasks",
    "topology.workers",
    "includes",
    "components",
    "ref",
    "reflist",
    "factory",
    "constructorArgs",
    "configMethods",
    "topologySource",
    "streamId",
    "customClass",
    "resource",
];

fn mutated(text: &str, random: &mut Random) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(4) {
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
        let a = places[random.below(places.len())];
        let b = places[random.below(places.len()).min(places.len() - 1)];
        let (from, to) = (a.min(b), a.max(b));
        let near = places[places.partition_point(|place| *place < from + 8).min(places.len() - 1)];
        match random.below(7) {
            0 => text.insert_str(from, random.pick(TOKENS)),
            1 => text.replace_range(from..near.max(from), random.pick(TOKENS)),
            2 => text.replace_range(from..near.max(from), ""),
            3 => text.truncate(from),
            4 => {
                let again = text[from..to].to_owned();
                text.insert_str(from, &again);
            }
            5 => text.insert_str(from, "\n  "),
            _ => {
                let mut lines: Vec<&str> = text.lines().collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(one, other);
                }
                text = lines.join("\n");
            }
        }
    }
    text
}

fn originals() -> Vec<String> {
    let files = [
        "word-count/topology.yaml",
        "word-count/socket.yaml",
        "rolling-top-words/topology.yaml",
        "patterns/join.yaml",
        "patterns/grouping.yaml",
    ];
    files.map(|path| std::fs::read_to_string(example(path)).expect("an example")).into()
}

#[test]
fn mutated_files_are_valid_or_refused_and_never_a_panic() {
    let originals = originals();
    for seed in cases(400) {
        let mut random = Random::new(seed);
        let original = &originals[random.below(originals.len())];
        let text = mutated(original, &mut random);
        let (_folder, path) = file("topology.yaml", &text);
        let args: &[&str] = match seed % 4 {
            0 => &["graph", &path],
            1 => &["validate", &path, "--output", "json", "--set", "port=1"],
            _ => &["validate", &path],
        };
        let code = catch_unwind(AssertUnwindSafe(|| call(args).code));
        let code = code.unwrap_or_else(|_| panic!("seed {seed} made it panic:\n{text}"));
        assert!(code == 0 || code == 1, "seed {seed}: exit {code}:\n{text}");
    }
}

#[test]
fn any_argument_list_is_done_failed_or_wrong_usage() {
    let files = [example("word-count/topology.yaml"), example("word-count/text.txt"), "no-such".into()];
    let mut words = vec![
        "validate",
        "graph",
        "schema",
        "types",
        "completions",
        "bash",
        "--help",
        "-h",
        "--version",
        "--output",
        "json",
        "text",
        "--set",
        "a=b",
        "input=x",
        "=",
        "--properties",
        "-c",
        "topology.debug=true",
        "topology.debug=[",
        "--format",
        "dot",
        "--for",
        "1s",
        "-n",
        "2",
        "--",
        "-",
        "",
        "\u{0}",
        "--set=\u{1f300}=${x}",
        "file-lines",
    ];
    words.extend(files.iter().map(String::as_str));
    for seed in cases(200) {
        let mut random = Random::new(seed);
        let args: Vec<&str> = (0..=random.below(6)).map(|_| random.pick(&words)).collect();
        let code = catch_unwind(AssertUnwindSafe(|| call(&args).code));
        let code = code.unwrap_or_else(|_| panic!("seed {seed} made it panic: {args:?}"));
        assert!((0..=2).contains(&code), "seed {seed}: exit {code}: {args:?}");
    }
}

/// Prints what it is given, and ends.
const SMALL: &str = "\
name: small
config: {topology.max.spout.pending: 10, topology.message.timeout.secs: 1}
spouts:
  - id: rows
    className: values
    properties: {fields: [word, n], rows: [[a, 1], [b, 2], [a, 3]], retries: {limit: 1, backoff: 1ms}}
bolts:
  - {id: count, className: count-by, parallelism: 2, numTasks: 3, properties: {fields: [word], emit: finish}}
  - {id: print, className: console}
streams:
  - {from: rows, to: count, grouping: {type: FIELDS, args: [word]}}
  - {from: count, to: print, grouping: {type: SHUFFLE}}
";

#[test]
fn mutated_topologies_run_or_fail_and_never_panic() {
    for seed in 0..30 {
        let text = mutated(SMALL, &mut Random::new(seed + 1_000));
        let (_folder, path) = file("topology.yaml", &text);
        let ran = run(["local", &path, "--for", "500ms", "--output", "json"]);
        assert!(ran.code == 0 || ran.code == 1, "seed {seed}: {ran:?}\n{text}");
        assert!(!ran.stderr.contains("panicked"), "seed {seed}: {ran:?}\n{text}");
        assert!(ran.json().is_object());
    }
}
