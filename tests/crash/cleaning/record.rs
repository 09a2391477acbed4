//! Records as a consumer gets them.

use milena_protocol::records::{Batches, Compression, Limits, RecordIter, compression};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The records at or above `from_offset`, and where to read on; that is `from_offset` when there is no whole batch.
pub fn decode(bytes: &[u8], from_offset: i64) -> Result<(Vec<Record>, i64), String> {
    let (mut found, mut next_offset) = (Vec::new(), from_offset);
    for batch in Batches::maybe_truncated(bytes) {
        let batch = batch.map_err(|error| format!("behind {next_offset}: {error}"))?;
        batch.verify_crc().map_err(|error| format!("batch at {}: {error}", batch.base_offset))?;
        let mut unpacked = Vec::new();
        let payload = match batch.attributes.compression().map_err(|error| error.to_string())? {
            Compression::None => batch.payload(),
            codec => {
                compression::decompress(codec, batch.payload(), Limits::default(), &mut unpacked)
                    .map_err(|error| format!("batch at {}: {error}", batch.base_offset))?;
                &unpacked[..]
            }
        };
        for record in RecordIter::new(payload, batch.count) {
            let record = record.map_err(|error| format!("batch at {}: {error}", batch.base_offset))?;
            let offset = batch.offset_of(&record);
            if offset >= from_offset {
                let headers = record.headers;
                found.push(Record {
                    offset,
                    timestamp: batch.timestamp_of(&record),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers.map(|one| (one.key.to_vec(), one.value.map(<[u8]>::to_vec))).collect(),
                });
            }
        }
        if batch.next_offset() <= next_offset {
            return Err(format!("a batch at {} is followed by one that ends there", batch.next_offset()));
        }
        next_offset = batch.next_offset();
    }
    Ok((found, next_offset))
}
