//! `apply`: what it asks of Nimbus, and what it makes of the answers.

use galerna_protocol::{CompareReply, Comparison, DescribeReply, ListRequest, TopologySummary};
use serde_json::json;
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use super::reads::{described, words};
use super::submit::own_artifact;
use crate::support::{Ran, call, example};

fn found(comparison: Comparison, status: &str, reasons: &[&str]) -> CompareReply {
    CompareReply {
        comparison: comparison.into(),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        topology_id: "words-1".into(),
        status: status.into(),
        is_inactive: status == "INACTIVE",
        drain_ms: 30_000,
        ..CompareReply::default()
    }
}

fn absent() -> CompareReply {
    CompareReply { comparison: Comparison::Absent.into(), ..CompareReply::default() }
}

fn unchanged() -> CompareReply {
    found(Comparison::Unchanged, "ACTIVE", &[])
}

fn changed() -> CompareReply {
    found(Comparison::Changed, "ACTIVE", &["config topology.debug: false → true", "program"])
}

fn ending() -> CompareReply {
    found(Comparison::Ending, "KILLED", &[])
}

/// One that has this executable already, and answers comparisons so.
fn nimbus(comparisons: impl IntoIterator<Item = Result<CompareReply, Status>>) -> FakeNimbus {
    let comparisons = comparisons.into_iter().collect();
    FakeNimbus::start(State { complete: vec![own_artifact().0], comparisons, ..State::default() })
}

/// Applies an example, which is called `words`.
fn apply(nimbus: &FakeNimbus, args: &[&str]) -> Ran {
    let file = example("word-count/topology.yaml");
    nimbus.call(&[&["apply", &file, "--set", "output=/out.tsv", "--name", "words"][..], args].concat())
}

/// What was asked, by the names of the requests.
fn asked(nimbus: &FakeNimbus) -> Vec<String> {
    let state = nimbus.state();
    state.asked.iter().map(|request| request.split([' ', '{']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn absent_is_submitted_as_it_was_compared() {
    let nimbus = nimbus([Ok(absent())]);
    let ran = apply(&nimbus, &["--owner", "billing", "--inactive", "-n", "3"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("words: submitted (words-1)\n", ""));
    let state = nimbus.state();
    assert!(state.submitted[0].is_inactive);
    let spec = state.submitted[0].spec.as_ref().expect("a specification");
    assert_eq!((spec.owner.as_str(), spec), ("billing", &state.compared[0]));
    assert!(spec.config.contains("\"topology.workers\":3"), "{}", spec.config);
}

#[test]
fn unchanged_is_told_and_nothing_is_sent() {
    for (status, told) in [("ACTIVE", "words: unchanged\n"), ("FINISHED", "words: unchanged (FINISHED)\n")] {
        let nimbus = nimbus([Ok(found(Comparison::Unchanged, status, &[]))]);
        let ran = apply(&nimbus, &[]).expect(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (told, ""));
        assert!(asked(&nimbus).is_empty(), "{:?}", asked(&nimbus));
        assert_eq!(nimbus.state().compared.len(), 1);
    }
}

#[test]
fn scaled_is_rebalanced_to_the_numbers_of_the_file() {
    let reasons = ["workers: 1 → 2"];
    let nimbus = nimbus([Ok(found(Comparison::Scaled, "ACTIVE", &reasons))]);
    let ran = apply(&nimbus, &["-n", "2", "-w", "7", "--output=json"]).expect(0);
    let expected =
        json!({"name": "words", "id": "words-1", "result": "rebalanced", "reasons": reasons, "status": "REBALANCING"});
    assert_eq!(ran.json(), expected);
    assert_eq!(asked(&nimbus), ["RebalanceRequest"]);
    let request = nimbus.state().asked[0].clone();
    for part in ["workers: Some(2)", "\"split\": 2", "\"count\": 2", "wait_secs: Some(7)", "topology_id: \"words-1\""] {
        assert!(request.contains(part), "{part}: {request}");
    }
}

#[test]
fn changed_is_checked_drained_and_replaced_under_its_name_and_stays_inactive() {
    let inactive = CompareReply { is_inactive: true, status: "REBALANCING".into(), ..changed() };
    let nimbus = nimbus([Ok(inactive), Ok(ending()), Ok(absent())]);
    let ran = apply(&nimbus, &["-w", "7"]).expect(0);
    let why = "config topology.debug: false → true; program";
    assert_eq!(ran.stdout, format!("words: replaced (words-1: {why})\n"));
    assert_eq!(ran.stderr, format!("words: replacing words-1, which gets up to 7 s for what is in flight: {why}\n"));
    assert_eq!(asked(&nimbus), ["FindArtifactRequest", "KillRequest", "FindArtifactRequest", "SubmitRequest"]);
    let state = nimbus.state();
    let killed = "KillRequest { name: \"words\", wait_secs: Some(7), topology_id: \"words-1\" }";
    assert_eq!(state.asked[1], killed);
    assert_eq!(state.checked[0].spec, state.submitted[0].spec);
    assert!(state.submitted[0].is_inactive);
}

#[test]
fn what_could_not_run_ends_nothing() {
    let nimbus = nimbus([Ok(changed())]);
    nimbus.state().check_refusal = Some(Status::failed_precondition("it needs glibc 2.99"));
    let ran = apply(&nimbus, &[]).expect(1);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "error: it needs glibc 2.99\n"));
    assert_eq!(asked(&nimbus), ["FindArtifactRequest"]);
}

#[test]
fn whoever_was_faster_is_compared_with_and_an_answer_that_was_lost_is_found_out() {
    for (refusal, told) in [
        (Status::already_exists("a topology named `words` is already there"), "words: unchanged\n"),
        (Status::unavailable("whether `words` was submitted is not known"), "words: submitted (words-1)\n"),
    ] {
        let nimbus = nimbus([Ok(absent()), Ok(unchanged())]);
        nimbus.state().submit_refusals = vec![refusal];
        assert_eq!(apply(&nimbus, &[]).expect(0).stdout, told);
        assert_eq!(nimbus.state().submitted.len(), 1);
    }
}

#[test]
fn a_change_that_came_too_late_for_its_topology_is_decided_anew() {
    let nimbus = nimbus([Ok(found(Comparison::Scaled, "ACTIVE", &["workers: 1 → 2"])), Ok(unchanged())]);
    nimbus.state().refusal = Some(Status::aborted("`words` is words-2 by now, not words-1"));
    assert_eq!(apply(&nimbus, &[]).expect(0).stdout, "words: unchanged\n");
    assert_eq!(asked(&nimbus), ["RebalanceRequest"]);
}

#[test]
fn a_failure_between_kill_and_submission_says_that_nothing_runs() {
    let nimbus = nimbus([Ok(changed()), Ok(absent())]);
    nimbus.state().submit_refusals = vec![Status::resource_exhausted("the disk is full")];
    let ran = apply(&nimbus, &["--output=json"]).expect(1);
    let error = "error: the disk is full; `words` was killed to be replaced: apply it again\n";
    assert!(ran.stderr.ends_with(error), "{}", ran.stderr);
    assert_eq!(ran.json()["error"]["code"], "resource_exhausted");
}

#[test]
fn what_others_have_killed_is_waited_for_but_not_for_ever() {
    let first = nimbus([Ok(ending()), Ok(absent())]);
    assert_eq!(apply(&first, &[]).expect(0).stdout, "words: submitted (words-1)\n");
    let endless = nimbus([Ok(ending())]);
    let ran = apply(&endless, &["--timeout", "0"]).expect(1);
    let told = "error: `words` could not be applied within 0 s: words-1 is still being killed, for up to 30 s\n";
    assert!(ran.stderr.ends_with(told), "{}", ran.stderr);
    assert!(asked(&endless).is_empty());
}

#[test]
fn nimbus_is_waited_for_only_if_asked_to_or_once_something_has_begun() {
    let missing = || Err(Status::unavailable("no nimbus leads at the moment"));
    let impatient = nimbus([missing(), Ok(unchanged())]);
    assert!(apply(&impatient, &[]).expect(1).stderr.ends_with("no nimbus leads at the moment\n"));
    let finished = TopologySummary { status: "FINISHED".into(), ..words() };
    let patient = nimbus([missing(), missing(), Ok(unchanged())]);
    patient.state().described = Some(DescribeReply { summary: Some(finished), ..described() });
    let ran = apply(&patient, &["--wait"]).expect(0);
    let told = format!("waiting for Nimbus: {}: no nimbus leads at the moment\n", patient.address);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("words: unchanged\n", told.as_str()));
    let begun = nimbus([Ok(changed()), missing(), Ok(absent())]);
    assert!(apply(&begun, &[]).expect(0).stdout.starts_with("words: replaced"));
    let late = nimbus([missing()]);
    assert!(apply(&late, &["--wait", "--timeout", "0"]).expect(1).stderr.contains("no nimbus leads"));
}

#[test]
fn a_nimbus_that_is_too_old_is_named() {
    let old = nimbus([]);
    let ran = apply(&old, &["--wait"]).expect(1);
    assert_eq!(
        ran.stderr,
        "error: this cluster's Nimbus is too old for `apply`: update it, or use `submit` and `kill`\n"
    );
}

#[test]
fn what_belongs_to_others_is_left_alone_unless_it_is_taken_over() {
    let owned = |owner: &str, comparison: Comparison| CompareReply {
        owner: owner.to_owned(),
        ..found(comparison, "ACTIVE", &["program"])
    };
    for comparison in [Comparison::Unchanged, Comparison::Scaled, Comparison::Changed] {
        for (owner, args, told) in [
            (
                "",
                &["--owner", "me"][..],
                "`words` is there already and belongs to nobody; --take-over gives it to `me`",
            ),
            ("you", &["--owner", "me"], "`words` belongs to `you`; --take-over gives it to `me`"),
            ("you", &[], "`words` belongs to `you`; apply it with --owner 'you', or --take-over so"),
        ] {
            let nimbus = nimbus([Ok(owned(owner, comparison))]);
            let ran = apply(&nimbus, args).expect(1);
            assert!(ran.stderr.contains(told), "{}", ran.stderr);
            assert!(asked(&nimbus).is_empty(), "{:?}", asked(&nimbus));
        }
    }
    let unchanged = nimbus([Ok(owned("you", Comparison::Unchanged))]);
    let told = apply(&unchanged, &["--owner", "me", "--take-over"]).expect(0).stdout;
    assert_eq!(told, "words: unchanged (owner: you → me)\n");
    let asked_for = "SetOwnerRequest { name: \"words\", topology_id: \"words-1\", owner: \"me\" }";
    assert_eq!(unchanged.state().asked, [asked_for]);
    let scaled = nimbus([Ok(owned("you", Comparison::Scaled))]);
    let told = apply(&scaled, &["--take-over"]).expect(0).stdout;
    assert_eq!(told, "words: rebalanced (program; owner: you → nobody)\n");
    let changed = nimbus([Ok(owned("you", Comparison::Changed)), Ok(absent())]);
    apply(&changed, &["--owner", "me", "--take-over"]).expect(0);
    assert_eq!(changed.state().submitted[0].spec.as_ref().map(|spec| spec.owner.clone()), Some("me".to_owned()));
}

#[test]
fn pruning_kills_what_the_owner_has_besides_and_nothing_else() {
    let of = |name: &str, owner: &str, status: &str| TopologySummary {
        name: name.into(),
        id: format!("{name}-1"),
        owner: owner.into(),
        status: status.into(),
        ..TopologySummary::default()
    };
    let topologies = || {
        vec![
            of("words", "me", "ACTIVE"),
            of("kept", "me", "ACTIVE"),
            of("old", "me", "FINISHED"),
            of("going", "me", "KILLED"),
            of("yours", "you", "ACTIVE"),
            of("nobodys", "", "ACTIVE"),
        ]
    };
    let nimbus = nimbus([Ok(CompareReply { owner: "me".into(), ..unchanged() })]);
    nimbus.state().topologies = topologies();
    let ran = apply(&nimbus, &["--owner", "me", "--prune", "--keep", "kept", "-w", "3"]).expect(0);
    assert_eq!(ran.stdout, "words: unchanged\nold: killed (old-1)\n");
    let kill =
        |name: &str| format!("KillRequest {{ name: \"{name}\", wait_secs: Some(3), topology_id: \"{name}-1\" }}");
    assert_eq!(nimbus.state().asked, [format!("{:?}", ListRequest::default()), kill("old")]);

    nimbus.state().asked.clear();
    let args = ["apply", "--owner", "me", "--prune", "--keep=kept", "--keep=old", "-w3", "--output=json"];
    let ran = nimbus.call(&args).expect(0);
    let killed = json!({
        "name": "words", "id": "words-1", "result": "killed", "reasons": ["not applied any more"], "status": "KILLED",
    });
    assert_eq!((ran.json(), ran.stdout.lines().count()), (killed, 1));
    assert_eq!(nimbus.state().asked, [format!("{:?}", ListRequest::default()), kill("words")]);
    // It is listed for ever.
    let ran = nimbus.call(&["apply", "--owner=me", "--prune", "--keep=kept", "--wait", "--timeout=0"]).expect(1);
    assert!(ran.stderr.ends_with("error: words-1, old-1 did not end in time\n"), "{}", ran.stderr);
}

#[test]
fn waiting_ends_well_badly_or_with_what_is_missing() {
    let status = |status: &str| TopologySummary { status: status.into(), ..words() };
    let running = DescribeReply { workers: described().workers[..1].to_vec(), unscheduled: Vec::new(), ..described() };
    let finished = DescribeReply { summary: Some(status("FINISHED")), ..described() };
    let cases = [
        (running, 0, "ACTIVE", ""),
        (finished.clone(), 0, "FINISHED", ""),
        (
            DescribeReply { failure: "gave up 3 tuples".into(), ..finished },
            1,
            "FINISHED",
            "error: `words` does not run: it has ended badly: gave up 3 tuples\n",
        ),
        (described(), 1, "ACTIVE", "error: `words` does not run after 0 s: count: no free slot\nof 8\n"),
        (
            DescribeReply { unscheduled: Vec::new(), ..described() },
            1,
            "ACTIVE",
            "error: `words` does not run after 0 s: 1 of 2 workers run\n",
        ),
    ];
    for (reply, code, status, told) in cases {
        let nimbus = nimbus([Ok(absent())]);
        nimbus.state().described = Some(reply);
        let ran = apply(&nimbus, &["--wait", "--timeout=0", "--output=json"]).expect(code);
        assert_eq!(ran.stderr, told);
        // What was done is told, whatever came of it.
        let first = ran.stdout.lines().next().unwrap_or_default();
        assert!(first.contains("\"submitted\"") && first.contains(&format!("\"status\":\"{status}\"")), "{first}");
    }
    let gone = nimbus([Ok(absent())]);
    let ran = apply(&gone, &["--wait"]).expect(1);
    assert_eq!(ran.stderr, "error: `words` does not run: it was killed meanwhile\n");
}

#[test]
fn only_pruning_does_without_a_file_and_only_an_owner_can_prune() {
    for args in
        [&["apply"][..], &["apply", "--prune"], &["apply", "a.yaml", "--keep", "x"], &["apply", "a", "--owner", ""]]
    {
        call(args).expect(2);
    }
}

#[test]
fn an_owner_is_described_and_listed() {
    let nimbus = nimbus([]);
    let owned = TopologySummary { owner: "billing".into(), ..words() };
    nimbus.state().topologies = vec![owned.clone()];
    nimbus.state().described = Some(DescribeReply { summary: Some(owned), ..described() });
    let text = nimbus.call(&["describe", "words"]).expect(0).stdout;
    assert!(text.contains("\nowner: billing\n"), "{text}");
    assert_eq!(nimbus.call(&["list", "--output=json"]).expect(0).json()[0]["owner"], "billing");
}
