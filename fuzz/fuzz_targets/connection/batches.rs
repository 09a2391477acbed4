//! Record batches that are nearly right.

use arbitrary::Arbitrary;
use milena_protocol::records::{Batch, Builder, Compression};

use crate::frames::Change;

/// A batch before it is changed, and how.
#[derive(Arbitrary, Debug)]
pub struct Plan {
    codec: u8,
    count: u8,
    timestamp: Timestamp,
    producer: Option<(u8, i16, i32)>,
    is_transactional: bool,
    is_control: bool,
    has_keys: bool,
    changes: Vec<Change>,
    /// Left alone, a changed batch fails its checksum.
    is_sealed: bool,
}

#[derive(Arbitrary, Debug)]
enum Timestamp {
    Usual,
    Any(i64),
}

impl Plan {
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let codec = Compression::from_code(self.codec % 5).expect("0 to 4 are codecs");
        let mut builder = Builder::new()
            .compression(codec, None)
            .transactional(self.is_transactional)
            .control(self.is_control);
        if let Some((id, epoch, sequence)) = self.producer {
            builder = builder.producer(i64::from(id), epoch, sequence);
        }
        let timestamp = match self.timestamp {
            Timestamp::Usual => 1_700_000_000_000,
            Timestamp::Any(timestamp) => timestamp,
        };
        for _ in 0..self.count % 32 {
            builder
                .append(timestamp, self.has_keys.then_some(b"key"), Some(b"a value, a value"), &[])
                .ok()?;
        }
        let mut bytes = builder.finish().ok()?;
        self.changes.iter().take(8).for_each(|change| change.apply(&mut bytes));
        if self.is_sealed
            && let Ok((batch, _)) = Batch::parse(&bytes)
        {
            let header = batch.header().sealed(batch.payload());
            bytes[..header.len()].copy_from_slice(&header);
        }
        Some(bytes)
    }
}
