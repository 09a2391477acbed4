//! What a member of a consumer group was assigned, from the bytes that its leader made.

use milena_protocol::reader::Reader;
use serde::Serialize;

/// A longer name is no topic's, and bytes with one are not a consumer's.
const TOPIC_BYTES_MAX: usize = 249;

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assigned {
    pub topic: String,
    pub partitions: Vec<i32>,
}

/// None when the bytes are not those of a consumer: other groups may have what they like. Later versions only
/// append fields, so everyone is read as version 0.
///
/// A leader may write what it likes, up to the size of a request. So no count is believed, and each topic and
/// each partition takes of `room`; what comes when nothing is left of it is not read.
pub fn read(bytes: &[u8], room: &mut usize) -> Option<Vec<Assigned>> {
    let mut reader = Reader::new(bytes);
    if reader.i16().ok()? < 0 {
        return None;
    }
    let mut all = Vec::new();
    for _ in 0..reader.i32().ok()? {
        if !take(room) {
            break;
        }
        let topic = reader.string(false).ok().filter(|topic| topic.len() <= TOPIC_BYTES_MAX)?;
        let mut partitions = Vec::new();
        for _ in 0..reader.i32().ok()? {
            if !take(room) {
                break;
            }
            partitions.push(reader.i32().ok()?);
        }
        all.push(Assigned { topic: topic.into_owned(), partitions });
    }
    Some(all)
}

fn take(room: &mut usize) -> bool {
    let is_left = *room > 0;
    *room -= usize::from(is_left);
    is_left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Option<Vec<Assigned>> {
        read(bytes, &mut 100)
    }

    #[test]
    fn assignments_of_any_version_are_read_and_other_bytes_are_none() {
        let body = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0];
        for version in [0u8, 3, 9] {
            let bytes = [&[0, version][..], &body].concat();
            let expected = Assigned { topic: "t".to_owned(), partitions: vec![3, 5] };
            assert_eq!(read_all(&bytes), Some(vec![expected]));
        }
        assert_eq!(read_all(&[]), None);
        assert_eq!(read_all(&[0xff, 0xff, 0, 0, 0, 0]), None);
        // A count that the bytes cannot hold.
        assert_eq!(read_all(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        let long = [&[0, 0, 0, 0, 0, 1, 0, 250][..], &[b't'; 250], &[0; 4]].concat();
        assert_eq!(read_all(&long), None);
    }

    #[test]
    fn no_more_is_read_than_there_is_room_for() {
        let topic = [0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5];
        let bytes = [&[0, 0, 0, 0, 0, 3][..], &topic, &topic, &topic].concat();
        for room in 0..12 {
            let mut left = room;
            let read = read(&bytes, &mut left).expect("it is a consumer's");
            let taken = read.len() + read.iter().map(|one| one.partitions.len()).sum::<usize>();
            assert_eq!((taken, left), (room.min(9), room.saturating_sub(9)), "{room}");
        }
    }
}
