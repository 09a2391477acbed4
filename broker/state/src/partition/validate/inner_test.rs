//! Both walks agree, whatever the bytes and the rules.

use super::*;
use crate::partition::validate::{Inner, Target};
use milena_protocol::records::{Builder, HEADER_SIZE, Limits};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

fn rules(compacted: bool, timestamp_type: TimestampType, before: i64, after: i64) -> Rules {
    Rules {
        compression: Target::Producer,
        timestamp_type,
        timestamp_before_max_ms: before,
        timestamp_after_max_ms: after,
        message_bytes_max: 1 << 20,
        compacted,
        inner: Inner::Always,
        unpack: Limits::default(),
    }
}

/// Where timestamps turn from good to bad.
fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(-1),
        Just(i64::MIN),
        Just(i64::MAX),
        (NOW - 1_002)..(NOW - 998),
        (NOW + 998)..(NOW + 1_002),
        Just(NOW),
    ]
}

fn span() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(1_000), Just(i64::MAX)]
}

proptest! {
    #[test]
    fn batch_that_passes_the_look_is_the_one_that_passes_the_examination(
        records in prop::collection::vec((timestamp(), any::<bool>(), 0..3i64), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..24u8), 0..3),
        (compacted, is_append_time, is_stamped) in any::<(bool, bool, bool)>(),
        (before, after) in (span(), span()),
        more in -1..2i32,
    ) {
        let mut builder = Builder::new();
        if is_stamped {
            builder = builder.log_append_time(NOW);
        }
        for (timestamp, has_key, gap) in records {
            let (offset, key) = (builder.next_offset() + gap / 2, has_key.then_some(&b"k"[..]));
            // Deltas that do not fit are the business of the builder.
            let _ = builder.append_at(offset, timestamp, key, None, std::iter::empty());
        }
        let Ok(mut bytes) = builder.finish() else { return Ok(()) };
        if bytes.len() > HEADER_SIZE {
            for (position, byte) in changes {
                *position.get_mut(&mut bytes[HEADER_SIZE..]) = byte;
            }
        }
        let count = i32::from_be_bytes(*bytes[57..61].first_chunk().expect("four bytes")) + more;
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let (batch, _) = Batch::parse(&bytes).expect("the header is sound");
        let timestamp_type =
            if is_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let rules = rules(compacted, timestamp_type, before, after);
        let (looked, examined) = (
            look(&batch, batch.payload(), &rules, NOW),
            examine(&batch, batch.payload(), &rules, NOW),
        );
        if is_stamped && batch.count > 0 {
            prop_assert_eq!(looked, None, "a time that the producer may not set is examined");
        } else if batch.timestamp_type() == TimestampType::CreateTime {
            prop_assert_eq!(looked, examined.ok());
        }
    }
}
