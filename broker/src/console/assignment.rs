//! What a member of a consumer group was assigned, from the bytes that its leader made.

use milena_protocol::codec::Decode;
use milena_protocol::messages::ConsumerProtocolAssignment;
use milena_protocol::reader::Reader;
use serde::Serialize;

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assigned {
    pub topic: String,
    pub partitions: Vec<i32>,
}

/// None when the bytes are not those of a consumer: other groups may have what they like. Later versions only
/// append fields, so everyone is read as version 0.
pub fn read(bytes: &[u8]) -> Option<Vec<Assigned>> {
    let mut reader = Reader::new(bytes);
    if reader.i16().ok()? < 0 {
        return None;
    }
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, 0).ok()?;
    let topics = assignment.assigned_partitions.iter();
    Some(
        topics
            .map(|one| Assigned { topic: one.topic.to_string(), partitions: one.partitions.clone() })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_any_version_are_read_and_other_bytes_are_none() {
        let body = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0];
        for version in [0u8, 3, 9] {
            let bytes = [&[0, version][..], &body].concat();
            let expected = Assigned { topic: "t".to_owned(), partitions: vec![3, 5] };
            assert_eq!(read(&bytes), Some(vec![expected]));
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0xff, 0xff, 0, 0, 0, 0]), None);
        // A count that the bytes cannot hold.
        assert_eq!(read(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }
}
