use std::sync::LazyLock;

use galerna_protocol::WorkerId;
use galerna_topology_api::{Timestamp, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::fits::assert_fits;
use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::from),
        any::<i64>().prop_map(|nanos| Value::from(Timestamp::from_nanos(nanos))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,5}", inner), 0..4).prop_map(Value::map),
        ]
    })
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    any::<(u32, u32, u32, u32, u64)>().prop_map(|(spout, incarnation, slot, generation, edge)| Anchor {
        root: Root { spout, incarnation, slot, generation },
        edge,
    })
}

fn any_sender() -> impl Strategy<Value = Sender> {
    (1..=3u32, any::<u32>(), any::<bool>()).prop_map(|(task, launch, is_final)| Sender { task, launch, is_final })
}

prop_compose! {
    /// Rows of one of the streams of three tasks, for four tasks.
    fn any_parcel()(
        stream in 0..3usize,
        rows in prop::collection::vec((any_value(), any_value(), any_anchor(), any_sender(), 4..=7u32, 0..9usize), 1..20),
        has_anchors: bool,
        more in prop::collection::vec(any_anchor(), 0..3),
    ) -> Parcel {
        let mut parcel = Parcel::new(GRAPH.node(0).streams[stream].clone());
        let arity = parcel.batch.source.fields.len();
        for (a, b, anchor, sender, target, extra) in rows {
            let row = parcel.batch.rows;
            parcel.batch.senders.begin(row, sender);
            parcel.batch.values.extend([a, b].into_iter().take(arity));
            parcel.batch.rows += 1;
            if has_anchors {
                parcel.batch.anchors.push(anchor);
            }
            parcel.note(HELD, target, extra, 0);
        }
        if has_anchors {
            let last = parcel.batch.rows as u32 - 1;
            parcel.batch.more_anchors = more.into_iter().map(|anchor| (last, anchor)).collect();
        }
        parcel
    }
}

static GRAPH: LazyLock<Graph> = LazyLock::new(|| crate::graph::example::graph(3, 4));

fn decoded(bytes: &[u8]) -> Result<Frame, WireError> {
    decode(bytes, &GRAPH)
}

/// What a parcel says of each of its rows.
fn rows_of(parcel: &Parcel) -> Vec<(Sender, u32)> {
    let batch = &parcel.batch;
    let target = |row: usize| parcel.runs.iter().find(|run| row < run.end as usize).expect("a run").target;
    (0..batch.rows).map(|row| (batch.senders.of(row), target(row))).collect()
}

proptest! {
    #[test]
    fn parcels_survive_the_wire(parcel in any_parcel(), lane: u32, launch: u32, limit: u32) {
        let mut bytes = Vec::new();
        encode(&Frame::Rows { lane, launch, limit, parcel: parcel.clone() }, &mut bytes);
        let Ok(Frame::Rows { lane: a, launch: b, limit: c, parcel: found }) = decoded(&bytes) else {
            panic!("not the frame that was encoded");
        };
        prop_assert_eq!((a, b, c), (lane, launch, limit));
        prop_assert_eq!(rows_of(&found), rows_of(&parcel));
        prop_assert_eq!(found.runs, parcel.runs);
        prop_assert_eq!(found.batch.values, parcel.batch.values);
        prop_assert_eq!(found.batch.anchors, parcel.batch.anchors);
        prop_assert_eq!(found.batch.more_anchors, parcel.batch.more_anchors);
        for cut in 0..bytes.len() {
            prop_assert!(decoded(&bytes[..cut]).is_err());
        }
    }

    /// One byte of a frame is another one. What is decoded all the same fits together: every row has a sender, a
    /// receiver, values and ties.
    #[test]
    fn changed_parcels_are_refused_or_fit_together(parcel in any_parcel(), at: prop::sample::Index, byte: u8) {
        let mut bytes = Vec::new();
        encode(&Frame::Rows { lane: 1, launch: 1, limit: 1024, parcel }, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Frame::Rows { parcel, .. }) = decoded(&bytes) {
            assert_fits(&parcel, &GRAPH);
        }
    }

    #[test]
    fn any_bytes_give_a_frame_that_fits_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_bytes(&bytes, &GRAPH);
        // Past the header of a parcel, where most of the decoder is.
        let mut data = vec![DATA, 1, 1, 9, 1, 1];
        data.extend(bytes);
        check_bytes(&data, &GRAPH);
    }
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let mut bytes = vec![DATA, 1, 1, 9, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 4, 0];
    bytes.extend([7u8, 1].repeat(100_000));
    assert_eq!(decoded(&bytes).err(), Some(WireError::Depth(64)));
}

/// A row without values takes no bytes of its own.
#[test]
fn rows_without_values_are_bounded() {
    let frame = |rows: &[u8]| [&[DATA, 1, 1, 9, 1, 2][..], rows, &[0, 1], rows, &[1, 1, 0, 1], rows, &[4, 0]].concat();
    let many = [0x80, 0x80, 0x40];
    assert!(matches!(decoded(&frame(&many)), Ok(Frame::Rows { parcel, .. }) if parcel.batch.rows == 1 << 20));
    for rows in [&[0][..], &[0x81, 0x80, 0x40], &[0xff; 9]] {
        let rows = if rows.len() == 9 { [rows, &[1]].concat() } else { rows.to_vec() };
        assert_eq!(decoded(&frame(&rows)).err(), Some(WireError::Range), "{rows:?}");
    }
}

/// A frame of each kind but rows.
fn sample_frames() -> Vec<Frame> {
    let (kind, xor) = (AckKind::Held, u64::MAX);
    let delta = AckDelta { spout: 1, incarnation: 2, slot: 300, generation: 2, kind, xor };
    let from = Sender { task: 1, launch: 65_537, is_final: false };
    vec![
        Frame::Acks(Acks {
            deltas: vec![delta],
            failures: vec![Failure::failed("store", "no connection"), Failure::TimedOut.into(), Failure::Lost.into()],
        }),
        Frame::Mark(Mark { from, marker: Marker::Flush(9) }),
        Frame::Mark(Mark { from, marker: Marker::End(Ending::Stopped) }),
        Frame::Mark(Mark { from, marker: Marker::Open }),
        Frame::Credit {
            lane: 1,
            launch: 65_537,
            to: 2,
            weight: 70_000,
            progress: Progress { pace: Duration::from_micros(3), is_idle: true },
        },
        Frame::Hold { task: 3, generation: 9 },
        Frame::Released { task: 3, generation: 1 << 40 },
        Frame::Lost { worker: WorkerId::new("node-1", 6701), incarnation: 1 << 33 },
    ]
}

#[test]
fn acks_markers_and_credits_survive_the_wire() {
    for frame in sample_frames() {
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes);
        let found = decoded(&bytes).expect("decodes");
        assert_eq!(format!("{found:?}"), format!("{frame:?}"));
    }
}

#[test]
fn numbers_that_end_too_early_or_are_too_large_are_refused() {
    let credit = |weight: &[u8]| decoded(&[&[CREDIT, 1, 1, 2], weight].concat());
    let most = [&[0xff; 9][..], &[1]].concat();
    assert!(matches!(credit(&[&most[..], &[7, 1]].concat()), Ok(Frame::Credit { weight: usize::MAX, .. })));
    for groups in [0, 1, 9] {
        assert_eq!(credit(&vec![0x80; groups]).err(), Some(WireError::Short), "{groups}");
    }
    for end in [&[2][..], &[0x80], &[0x81, 0]] {
        assert_eq!(credit(&[&[0xff; 9][..], end].concat()).err(), Some(WireError::Range), "{end:?}");
    }
}

/// The body of the fuzz target `frames` for machines without cargo-fuzz: random bytes, and frames of which some bytes
/// were changed, cut out, inserted or repeated. `FUZZ_SECONDS` sets a longer time; the test prints the seed of a failure.
#[test]
fn changed_frames_fit_together_or_are_refused() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    let began = tokio::time::Instant::now();
    let mut runner = TestRunner::default();
    let (parcels, others) = (any_parcel(), sample_frames());
    let (mut tried, mut fitting) = (0u64, 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut frames = vec![Vec::new()];
        let parcel = parcels.new_tree(&mut runner).expect("a parcel").current();
        encode(&Frame::Rows { lane: 1, launch: 1, limit: 1024, parcel }, &mut frames[0]);
        frames.extend(others.iter().map(|frame| {
            let mut bytes = Vec::new();
            encode(frame, &mut bytes);
            bytes
        }));
        for _ in 0..200 {
            let seed = fastrand::u64(..);
            let mut random = fastrand::Rng::with_seed(seed);
            // Most of the decoder is behind the header of a parcel.
            let of = if random.u8(..) < 200 { 0 } else { random.usize(0..frames.len()) };
            let mut bytes = frames[of].clone();
            (0..random.usize(1..6)).for_each(|_| change(&mut bytes, &mut random));
            let checked = std::panic::catch_unwind(|| check_bytes(&bytes, &GRAPH));
            assert!(checked.is_ok(), "seed {seed}: {bytes:?}");
            tried += 1;
            fitting += u64::from(decoded(&bytes).is_ok());
        }
    }
    println!("{tried} frames, {fitting} of which were decoded");
}

/// Changes bytes in one place.
fn change(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..=bytes.len());
    let end = (at + random.usize(0..8)).min(bytes.len());
    match random.u8(0..6) {
        0 if at < bytes.len() => bytes[at] = random.u8(..),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.insert(at, random.u8(..)),
        4 => bytes.extend_from_within(at..end),
        _ => bytes.truncate(bytes.len().max(1) - random.usize(0..2).min(bytes.len())),
    }
}
