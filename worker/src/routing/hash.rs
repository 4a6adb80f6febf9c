//! The hash of fields grouping: XXH3-64 with a fixed seed over a canonical encoding. It is a
//! promise: the same in every process and every release (see the golden table below).

use galerna_topology_api::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SEED: u64 = 0x6761_6c65_726e_6131;
const SECOND_SEED: u64 = 0x6761_6c65_726e_6132;

/// Hashes the key fields of rows; keeps its buffer.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher {
    buffer: Vec<u8>,
}

impl KeyHasher {
    /// The hash of the values at these places.
    #[inline]
    pub(crate) fn hash(&mut self, values: &[Value], places: &[usize]) -> u64 {
        self.encode(values, places);
        xxh3_64_with_seed(&self.buffer, SEED)
    }

    /// Two independent hashes of the values at these places.
    pub(crate) fn two_hashes(&mut self, values: &[Value], places: &[usize]) -> [u64; 2] {
        self.encode(values, places);
        [SEED, SECOND_SEED].map(|seed| xxh3_64_with_seed(&self.buffer, seed))
    }

    #[inline]
    fn encode(&mut self, values: &[Value], places: &[usize]) {
        self.buffer.clear();
        for place in places {
            encode(&values[*place], &mut self.buffer);
        }
    }
}

/// Appends the canonical encoding of a value: a tag, for what has no fixed size the length as
/// 8 bytes, and the content; all numbers little-endian.
fn encode(value: &Value, buffer: &mut Vec<u8>) {
    let sized = |tag: u8, len: usize, buffer: &mut Vec<u8>| {
        buffer.push(tag);
        buffer.extend_from_slice(&(len as u64).to_le_bytes());
    };
    match value {
        Value::Null => buffer.push(0),
        Value::Bool(value) => buffer.extend_from_slice(&[1, u8::from(*value)]),
        Value::Int(value) => {
            buffer.push(2);
            buffer.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            buffer.push(3);
            buffer.extend_from_slice(&Value::canonical_float_bits(*value).to_le_bytes());
        }
        Value::Str(text) => {
            sized(4, text.len(), buffer);
            buffer.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            sized(5, bytes.len(), buffer);
            buffer.extend_from_slice(bytes);
        }
        Value::List(items) => {
            sized(6, items.len(), buffer);
            items.iter().for_each(|item| encode(item, buffer));
        }
        Value::Map(entries) => {
            sized(7, entries.len(), buffer);
            for (key, value) in entries.iter() {
                buffer.extend_from_slice(&(key.len() as u64).to_le_bytes());
                buffer.extend_from_slice(key.as_bytes());
                encode(value, buffer);
            }
        }
        Value::Timestamp(time) => {
            buffer.push(8);
            buffer.extend_from_slice(&time.as_nanos().to_le_bytes());
        }
        // A kind that this release does not know cannot have been made by it.
        _ => buffer.push(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use galerna_topology_api::{Timestamp, values};

    fn hash(values: &[Value]) -> u64 {
        let places: Vec<usize> = (0..values.len()).collect();
        KeyHasher::default().hash(values, &places)
    }

    #[test]
    fn field_hash_matches_golden_table() {
        let golden: [(&[Value], u64); 9] = [
            (&values![Value::Null], GOLDEN[0]),
            (&values![true], GOLDEN[1]),
            (&values![42], GOLDEN[2]),
            (&values![-0.5], GOLDEN[3]),
            (&values!["galerna"], GOLDEN[4]),
            (&values![b"galerna".as_slice()], GOLDEN[5]),
            (&values![Value::list([1, 2])], GOLDEN[6]),
            (&values![Value::map([("b", 1), ("a", 2)])], GOLDEN[7]),
            (&values![Timestamp::from_nanos(1), "x"], GOLDEN[8]),
        ];
        let found: Vec<u64> = golden.iter().map(|(values, _)| hash(values)).collect();
        let expected: Vec<u64> = golden.iter().map(|(_, hash)| *hash).collect();
        assert_eq!(found, expected, "{found:#x?}");
    }

    const GOLDEN: [u64; 9] = [
        0x71e6_e35f_c368_ef5b,
        0xd476_64ff_68fe_2141,
        0x45af_a8aa_95ae_48b4,
        0xeda3_9cf0_14d6_8edb,
        0x640f_ca3e_1058_7324,
        0x2d7a_7c08_fadb_71d8,
        0x1622_5dd9_d18c_26d6,
        0xcf2f_c0d0_6a4f_73df,
        0xe513_8953_641a_b3d5,
    ];

    #[test]
    fn equal_floats_hash_alike_and_adjacent_texts_do_not_blur() {
        assert_eq!(hash(&values![0.0]), hash(&values![-0.0]));
        assert_eq!(hash(&values![f64::NAN]), hash(&values![-f64::NAN]));
        assert_ne!(hash(&values!["ab", "c"]), hash(&values!["a", "bc"]));
        assert_ne!(hash(&values![1]), hash(&values![1.0]));
    }
}
