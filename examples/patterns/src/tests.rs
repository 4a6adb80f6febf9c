//! Each topology, run to its end.

use std::collections::BTreeSet;

use super::*;
use galerna::cli;
use galerna::testing::*;

fn topology(file: &str) -> Result<Topology> {
    Ok(Flux::read(file).build(&registry())?)
}

#[tokio::test(start_paused = true)]
async fn words_get_louder_twice() -> TestResult {
    let cluster = LocalCluster::new().mock_spout("words", [values!["storm"], values!["gale"]]);
    let run = cluster.complete(topology("exclamation.yaml")?).await?;
    assert_same_tuples(run.emitted("exclaim2"), [values!["storm!!!!!!"], values!["gale!!!!!!"]]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn orders_meet_their_payments_and_the_unpaid_one_comes_last() -> TestResult {
    let run = LocalCluster::new().complete(topology("join.yaml")?).await?;
    let expected = [
        values![1, "anchor", 75],
        values![2, "rope", 9],
        values![3, "sail", 120],
        values![4, "lantern", Value::Null],
        values![5, "oar", 18],
    ];
    assert_same_tuples(run.emitted("join"), expected);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_fails_now_and_then_is_replayed_until_it_was_processed() -> TestResult {
    let run = LocalCluster::new().complete(topology("replay.yaml")?).await?;
    let summary = run.summary();
    let words = &summary.components[0];
    assert_eq!((words.id.as_str(), words.acked, words.gave_up), ("words", 10, 0));
    assert!(words.replayed > 0, "nothing was replayed: {words:?}");
    assert_eq!(run.emitted("flaky").len(), 10);
    Ok(())
}

/// As on the command line: exit code, output of the sink, summary.
#[test]
fn a_bolt_that_panics_now_and_then_loses_no_line() -> TestResult {
    let folder = std::env::temp_dir().join(format!("galerna-panics-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (input, output) = (folder.join("input.txt"), folder.join("output.txt"));
    let lines: BTreeSet<String> = (0..5000).map(|number| format!("line {number}")).collect();
    std::fs::write(&input, lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    let set = [format!("input={}", input.display()), format!("output={}", output.display())];
    let args = ["galerna", "local", "panics.yaml", "--set", &set[0], "--set", &set[1], "--set", "every=1000"];

    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut io = cli::Io { stdout: &mut stdout, stderr: &mut stderr, is_watched: false };
    let exit = cli::run(args.map(str::to_owned), &registry(), &mut io);
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    assert_eq!(exit.code(), 0, "{stderr}");
    let processed = std::fs::read_to_string(&output)?;
    std::fs::remove_dir_all(&folder)?;
    assert_eq!(processed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), lines);
    let (_, errors) = stdout.split_once("\nerrors:\n").expect("errors are listed");
    for part in ["buggy task ", " times): panicked at ", ": a bug in tuple 1000"] {
        assert!(errors.contains(part), "no `{part}` in:\n{errors}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_task_counts_its_part_of_the_alphabet() -> TestResult {
    let words = [values!["breeze"], values!["mistral"], values!["norther"], values!["zephyr"], values!["breeze"]];
    let run = LocalCluster::new().mock_spout("words", words).complete(topology("grouping.yaml")?).await?;
    let expected = [values!["breeze", 2], values!["mistral", 1], values!["norther", 1], values!["zephyr", 1]];
    assert_same_tuples(run.emitted("count"), expected);
    Ok(())
}

#[test]
fn the_alphabet_is_dealt_to_the_tasks_in_order() {
    let context = GroupingContext {
        source_component: "words".into(),
        source_task: 1,
        fields: Fields::new(["word"]),
        targets: [3, 4].into(),
    };
    let mut by_initial = grouping::ByInitial::new(&grouping::Properties { field: "word".into() }, &context);
    for (word, task) in [("anchor", 3), ("mast", 3), ("net", 4), ("Zephyr", 4), ("", 4)] {
        let mut chosen = Vec::new();
        by_initial.choose(&values![word], &mut chosen);
        assert_eq!(chosen, [task], "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_the_diamond_meet_again() -> TestResult {
    let run = LocalCluster::new().complete(topology("diamond.yaml")?).await?;
    assert_same_tuples(run.emitted("join"), [values![1, 6, 22], values![2, 4, 15], values![3, 2, 10]]);
    assert_eq!(run.spout("lines").acked(), 3);
    Ok(())
}

#[test]
fn every_topology_is_the_same_once_its_definition_was_read_again() -> TestResult {
    for file in ["diamond", "exclamation", "grouping", "join", "panics", "replay"] {
        let sent = Flux::read(format!("{file}.yaml")).absolute_paths("/somewhere").load(&registry())?;
        let run = Flux::resolved(&sent.definition).load(&registry())?;
        assert_eq!(run.definition, sent.definition);
        let shapes = [&run.topology, &sent.topology].map(|topology| {
            let of = topology.components().iter();
            of.map(|of| format!("{} {:?} {:?} {:?}", of.id, of.tasks, of.output, of.inputs)).collect::<Vec<_>>()
        });
        assert_eq!(shapes[0], shapes[1]);
        assert_eq!(run.topology.config(), sent.topology.config());
    }
    Ok(())
}
