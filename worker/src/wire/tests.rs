use std::sync::Arc;

use galerna_protocol::WorkerId;
use galerna_topology_api::engine::TupleSource;
use galerna_topology_api::{Timestamp, Value};
use proptest::prelude::*;

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

fn source() -> Arc<TupleSource> {
    Arc::new(TupleSource {
        component: "c".into(),
        task: 3,
        incarnation: 7,
        stream_index: 1,
        stream: "s".into(),
        fields: ["a", "b"].into(),
    })
}

fn sources() -> Sources {
    [((3, 1), source())].into_iter().collect()
}

proptest! {
    #[test]
    fn batches_survive_the_wire(
        rows in prop::collection::vec((any_value(), any_value(), any_anchor()), 1..20),
        has_anchors: bool,
        more in prop::collection::vec(any_anchor(), 0..3),
        is_final: bool,
    ) {
        let mut batch = Batch::new(source(), 9);
        batch.is_final = is_final;
        for (a, b, anchor) in rows {
            batch.values.extend([a, b]);
            batch.rows += 1;
            if has_anchors {
                batch.anchors.push(anchor);
            }
        }
        if has_anchors {
            batch.more_anchors = more.into_iter().map(|anchor| (0, anchor)).collect();
        }
        let mut bytes = Vec::new();
        encode(&Frame::Data { batch: batch.clone(), weight: 17, limit: 2048 }, &mut bytes);
        let Ok(Frame::Data { batch: found, weight: 17, limit: 2048 }) = decode(&bytes, &mut sources()) else {
            panic!("not the frame that was encoded");
        };
        prop_assert_eq!(found.values, batch.values);
        prop_assert_eq!(found.anchors, batch.anchors);
        prop_assert_eq!(found.more_anchors, batch.more_anchors);
        prop_assert_eq!((found.rows, found.target, found.is_final), (batch.rows, 9, is_final));
        for cut in 0..bytes.len() {
            prop_assert!(decode(&bytes[..cut], &mut sources()).is_err());
        }
    }

    #[test]
    fn any_bytes_give_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &mut sources());
        // Past the header of a batch, where most of the decoder is.
        let mut data = vec![DATA, 3, 1, 7, 9, 1, 1];
        data.extend(bytes);
        let _ = decode(&data, &mut sources());
    }
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let mut bytes = vec![DATA, 3, 1, 7, 9, 1, 1, 1, 0];
    bytes.extend([7u8, 1].repeat(100_000));
    assert_eq!(decode(&bytes, &mut sources()).err(), Some(WireError::Depth(64)));
}

#[test]
fn acks_markers_and_credits_survive_the_wire() {
    let delta = AckDelta { slot: 300, generation: 2, kind: AckKind::Held, xor: u64::MAX };
    let frames = [
        Frame::Acks(AckBatch {
            spout: 1,
            incarnation: 2,
            deltas: vec![delta],
            failures: vec![Failure::failed("store", "no connection"), Failure::TimedOut.into(), Failure::Lost.into()],
        }),
        Frame::Marker { from: 1, to: 2, marker: Marker::Flush(9) },
        Frame::Marker { from: 1, to: 2, marker: Marker::End(Ending::Stopped) },
        Frame::Marker { from: 1, to: 2, marker: Marker::Open },
        Frame::Credit {
            from: 1,
            launch: 65_537,
            to: 2,
            weight: 70_000,
            progress: Progress { pace: Duration::from_micros(3), is_idle: true },
        },
        Frame::Hold { task: 3, generation: 9 },
        Frame::Released { task: 3, generation: 1 << 40 },
        Frame::Lost { worker: WorkerId::new("node-1", 6701), incarnation: 1 << 33 },
    ];
    for frame in frames {
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes);
        let found = decode(&bytes, &mut sources()).expect("decodes");
        assert_eq!(format!("{found:?}"), format!("{frame:?}"));
    }
}

#[test]
fn numbers_that_end_too_early_or_are_too_large_are_refused() {
    let credit = |weight: &[u8]| decode(&[&[CREDIT, 1, 1, 2], weight].concat(), &mut sources());
    let most = [&[0xff; 9][..], &[1]].concat();
    assert!(matches!(credit(&[&most[..], &[7, 1]].concat()), Ok(Frame::Credit { weight: usize::MAX, .. })));
    for groups in [0, 1, 9] {
        assert_eq!(credit(&vec![0x80; groups]).err(), Some(WireError::Short), "{groups}");
    }
    for end in [&[2][..], &[0x80], &[0x81, 0]] {
        assert_eq!(credit(&[&[0xff; 9][..], end].concat()).err(), Some(WireError::Range), "{end:?}");
    }
}
