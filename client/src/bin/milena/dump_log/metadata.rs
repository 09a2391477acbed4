//! Values of Milena's metadata log and of its snapshots, as far as their frames go (docs/formats.md).
//!
//! Kinds, sizes and types are shown; the fields of the records belong to the broker, which this program does not know.
//! A value of another shape, such as in Apache Kafka's own metadata log, is left to be shown as bytes.

use serde_json::{Value, json};

use crate::time;

type Fields = Vec<(&'static str, Value)>;

const VERSION: u8 = 1;
const PROPOSER_SIZE: usize = 4 + 16;

/// An entry of the log: version, kind, proposer, body.
pub fn entry(value: &[u8]) -> Option<Fields> {
    let (&[version, kind], rest) = value.split_first_chunk::<2>()?;
    let (proposer, body) = rest.split_first_chunk::<PROPOSER_SIZE>()?;
    if version != VERSION {
        return None;
    }
    let id = i32::from_be_bytes(*proposer.first_chunk()?);
    let mut fields = vec![("size", json!(value.len())), ("proposer", json!(id))];
    match kind {
        0 if body.is_empty() => fields.push(("type", json!("blank"))),
        1 => {
            let (append_time, batch) = body.split_first_chunk::<8>()?;
            fields.push(("type", json!("records")));
            fields.push(("append_time", json!(time::format(i64::from_be_bytes(*append_time)))));
            fields.push(("records", records(batch)?));
        }
        2 => fields.push(("type", json!("membership"))),
        _ => return None,
    }
    Some(fields)
}

/// A block of a snapshot: version, kind, body.
pub fn block(value: &[u8]) -> Option<Fields> {
    let (&[version, kind], _) = value.split_first_chunk::<2>()?;
    let name = match kind {
        0 => "header",
        1 => "records",
        2 => "footer",
        _ => return None,
    };
    (version == VERSION).then(|| vec![("size", json!(value.len())), ("type", json!(name))])
}

/// The records of an entry: format, count, then each with its size in front; shown as `type/version` and size.
fn records(batch: &[u8]) -> Option<Value> {
    let (&format, mut rest) = batch.split_first()?;
    let count = varint(&mut rest)?;
    let mut shown = Vec::new();
    for _ in 0..count {
        let size = usize::try_from(varint(&mut rest)?).ok()?;
        let (record, after) = rest.split_at_checked(size)?;
        let (&[kind, version], _) = record.split_first_chunk::<2>()?;
        shown.push(json!({ "type": kind, "version": version, "size": size }));
        rest = after;
    }
    (format == VERSION && rest.is_empty()).then_some(Value::Array(shown))
}

/// An unsigned number of up to 64 bits, seven per byte, lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[VERSION, kind][..], &5_i32.to_be_bytes(), &[9; 16], body].concat()
    }

    #[test]
    fn entries_show_their_records() {
        let body = [&1_000_000_000_123_i64.to_be_bytes()[..], &[1, 2, 3, 4, 1, 0, 2, 6, 1]].concat();
        let fields = entry(&value(1, &body)).expect("an entry");
        let records = json!([{ "type": 4, "version": 1, "size": 3 }, { "type": 6, "version": 1, "size": 2 }]);
        assert_eq!(fields[1], ("proposer", json!(5)));
        assert_eq!(fields[2], ("type", json!("records")));
        assert_eq!(fields[4], ("records", records));
        assert_eq!(entry(&value(0, &[])).expect("an entry")[2], ("type", json!("blank")));
    }

    #[test]
    fn other_values_are_left_alone() {
        let cut = [&0_i64.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
        for other in [&b""[..], b"\x01\x00", b"text that is no entry at all", &value(7, &[]), &value(1, &cut)]
        {
            assert_eq!(entry(other), None);
        }
        assert_eq!(block(b"\x01\x02xyz").expect("a block")[1], ("type", json!("footer")));
        assert_eq!(block(b"\x02\x02xyz"), None);
    }
}
