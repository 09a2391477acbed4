//! What a controller gives to those who follow the metadata log without being members of the quorum: committed entries,
//! or an image in pieces when the log does not reach back to where they stand.
//!
//! Only what is committed and applied here is given, so that it does not matter which controller is asked: one that is
//! behind has less of the same. Reads of the log block on the disk.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use milena_state::metadata::{self, Applied, BatchSize, Image};
use parking_lot::Mutex;

use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::types::{Entry, Payload};

/// Entries in one answer.
const ENTRIES_MAX: usize = 256;

/// Images that are being read in pieces. They share their memory with the current one; who reads one that has made
/// room for others begins with a newer one.
const IMAGES_MAX: usize = 4;

/// One committed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub applied: Applied,
    /// Nothing when it only concerns the quorum.
    pub records: Bytes,
}

/// What there is after some entry.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    Entries(Vec<Served>),
    /// The log does not reach back so far.
    Purged,
    /// The reader stands at an entry that was never committed: one of the two has lost its mind.
    Diverged,
}

/// Records of an image, and the position after them, none after the last.
#[derive(Debug)]
pub struct Piece {
    pub records: Bytes,
    pub next: Option<usize>,
}

/// The images that are being read.
#[derive(Debug, Default)]
pub struct Images(Mutex<VecDeque<Arc<Image>>>);

impl Images {
    /// Keeps `image` for those who read it.
    pub fn keep(&self, image: &Arc<Image>) {
        let mut kept = self.0.lock();
        if kept.iter().any(|other| other.applied() == image.applied()) {
            return;
        }
        if kept.len() == IMAGES_MAX {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(image));
    }

    /// The image that stands at `index`.
    pub fn at(&self, index: i64) -> Option<Arc<Image>> {
        self.0.lock().iter().find(|image| image.applied().index == index).cloned()
    }
}

/// The committed entries after `after`, at least one if there is any, and not more than about `bytes_max`.
pub fn entries(quorum: &Quorum, after: Applied, bytes_max: usize) -> io::Result<After> {
    // With the one where the reader stands, so that it can be compared. The first entry of all only names the voters.
    if after.index > 0 {
        let before = Applied { index: after.index - 1, term: 0 };
        if let Some(entries) = quorum.entries_after(before, ENTRIES_MAX + 1)? {
            let mut entries = entries.into_iter().map(served);
            return Ok(match entries.next() {
                Some(first) if first.applied != after => After::Diverged,
                _ => After::Entries(bounded(entries, bytes_max)),
            });
        }
    }
    let entries = quorum.entries_after(after, ENTRIES_MAX)?;
    Ok(entries
        .map_or(After::Purged, |entries| After::Entries(bounded(entries.into_iter().map(served), bytes_max))))
}

fn served(entry: Entry) -> Served {
    let applied = Applied { index: entry.log_id.index as i64, term: entry.log_id.leader_id.term as i64 };
    let records = match entry.payload {
        Payload::Normal(proposal) => proposal.records,
        Payload::Blank | Payload::Membership(_) => Bytes::new(),
    };
    Served { applied, records }
}

fn bounded(entries: impl Iterator<Item = Served>, bytes_max: usize) -> Vec<Served> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in entries {
        bytes += entry.records.len();
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}

/// The records of `image` from a position on, as many as an entry may have.
pub fn piece(image: &Image, position: usize) -> Piece {
    let mut records = image.snapshot().skip(position).peekable();
    let (mut taken, mut size) = (Vec::new(), BatchSize::default());
    while let Some(record) = records.peek() {
        let more = size.and(BatchSize::of(std::slice::from_ref(record)));
        if !taken.is_empty() && !more.fits() {
            break;
        }
        size = more;
        taken.extend(records.next());
    }
    let next = records.peek().is_some().then_some(position + taken.len());
    Piece { records: Bytes::from(metadata::encode_batch(&taken)), next }
}

#[cfg(test)]
mod tests {
    use milena_state::metadata::Record;
    use milena_state::metadata::record::FeatureLevel;

    use super::*;

    fn image(features: usize) -> Image {
        let record =
            |number| Record::FeatureLevel(FeatureLevel { name: format!("feature-{number:06}"), level: 1 });
        Image::from_snapshot(Applied { index: 7, term: 2 }, (0..features).map(record))
            .expect("levels fit any image")
    }

    #[test]
    fn pieces_add_up_to_the_image() {
        let whole = image(25_000);
        let (mut records, mut position, mut pieces) = (Vec::new(), Some(0), 0);
        while let Some(at) = position {
            let piece = piece(&whole, at);
            records.extend(metadata::decode_batch(&piece.records).expect("a batch"));
            position = piece.next;
            pieces += 1;
        }
        assert!(pieces > 1, "{pieces}");
        assert_eq!(Image::from_snapshot(whole.applied(), records), Ok(whole));
        let empty = piece(&Image::default(), 0);
        assert_eq!((empty.records.len(), empty.next), (metadata::encode_batch(&[]).len(), None));
    }

    #[test]
    fn an_image_is_kept_until_others_take_its_place() {
        let images = Images::default();
        let at = |index| {
            let image = Image::from_snapshot(Applied { index, term: 1 }, []).expect("nothing does not fit");
            Arc::new(image)
        };
        for index in 0..=IMAGES_MAX as i64 {
            images.keep(&at(index));
            images.keep(&at(index));
        }
        assert!(images.at(0).is_none());
        assert_eq!(images.at(1).map(|image| image.applied().index), Some(1));
    }

    #[test]
    fn answers_are_bounded_and_never_empty_when_there_is_something() {
        let entry =
            |index| Served { applied: Applied { index, term: 1 }, records: Bytes::from(vec![0; 100]) };
        assert_eq!(bounded((0..9).map(entry), 250).len(), 2);
        assert_eq!(bounded((0..9).map(entry), 1).len(), 1);
        assert_eq!(bounded(std::iter::empty(), 1).len(), 0);
    }
}
