//! The encoding of values.

use galerna_topology_api::{Timestamp, Value};
use smol_str::SmolStr;

use super::reader::Reader;
use super::{WireError, put};

/// Lists and maps in lists and maps, at most.
pub(crate) const DEEPEST: usize = 64;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const STR: u8 = 5;
const BYTES: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;
const TIMESTAMP: u8 = 9;

pub(super) fn encode(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(NULL),
        Value::Bool(value) => bytes.push(if *value { TRUE } else { FALSE }),
        Value::Int(value) => {
            bytes.push(INT);
            put(zigzag(*value), bytes);
        }
        Value::Float(value) => {
            bytes.push(FLOAT);
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Str(text) => {
            bytes.push(STR);
            encode_text(text, bytes);
        }
        Value::Bytes(content) => {
            bytes.push(BYTES);
            put(content.len() as u64, bytes);
            bytes.extend_from_slice(content);
        }
        Value::List(items) => {
            bytes.push(LIST);
            put(items.len() as u64, bytes);
            items.iter().for_each(|item| encode(item, bytes));
        }
        Value::Map(entries) => {
            bytes.push(MAP);
            put(entries.len() as u64, bytes);
            for (key, value) in entries.iter() {
                encode_text(key, bytes);
                encode(value, bytes);
            }
        }
        Value::Timestamp(time) => {
            bytes.push(TIMESTAMP);
            bytes.extend_from_slice(&time.as_nanos().to_le_bytes());
        }
        // A kind that this release does not know cannot have been made by it.
        _ => bytes.push(NULL),
    }
}

pub(super) fn encode_text(text: &str, bytes: &mut Vec<u8>) {
    put(text.len() as u64, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Value, WireError> {
    decode_nested(reader, 0)
}

fn decode_nested(reader: &mut Reader<'_>, depth: usize) -> Result<Value, WireError> {
    if depth > DEEPEST {
        return Err(WireError::Depth(DEEPEST));
    }
    Ok(match reader.byte()? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(unzigzag(reader.number()?)),
        FLOAT => Value::Float(f64::from_bits(reader.fixed()?)),
        STR => Value::Str(decode_text(reader)?),
        BYTES => {
            let len = reader.number()?;
            Value::from(reader.bytes(len)?)
        }
        LIST => decode_list(reader, depth + 1)?,
        MAP => decode_map(reader, depth + 1)?,
        TIMESTAMP => Value::from(Timestamp::from_nanos(reader.fixed()? as i64)),
        found => return Err(WireError::Unknown { what: "value", found: found.into() }),
    })
}

// Apart, so that scalars are decoded without the room that these need.
#[inline(never)]
fn decode_list(reader: &mut Reader<'_>, depth: usize) -> Result<Value, WireError> {
    let count = reader.count(1)?;
    let items: Result<Vec<_>, _> = (0..count).map(|_| decode_nested(reader, depth)).collect();
    Ok(Value::from(items?))
}

#[inline(never)]
fn decode_map(reader: &mut Reader<'_>, depth: usize) -> Result<Value, WireError> {
    let count = reader.count(2)?;
    let entries: Result<Vec<_>, WireError> =
        (0..count).map(|_| Ok((decode_text(reader)?, decode_nested(reader, depth)?))).collect();
    Ok(Value::map(entries?))
}

pub(super) fn decode_text(reader: &mut Reader<'_>) -> Result<SmolStr, WireError> {
    let len = reader.number()?;
    std::str::from_utf8(reader.bytes(len)?).map(SmolStr::new).map_err(|_| WireError::Text)
}
