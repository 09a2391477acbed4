//! What became of the transactions whose batches a pass walks over, in offset order.
//!
//! Data of an aborted transaction is never kept. The marker goes only when nothing of its transaction was met before
//! it: until then a reader needs it, and an aborted one its entry in the transaction index.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use milena_protocol::records::Batch;
use milena_protocol::records::control::ControlType;

use crate::transaction_index::AbortedTransaction;

/// The transactions of one walk.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Aborted transactions that the walk has not come to, by their first offset.
    coming: VecDeque<AbortedTransaction>,
    /// By producer: the aborted transaction whose marker is ahead, and whether a batch of it was met.
    aborted: BTreeMap<i64, (AbortedTransaction, bool)>,
    /// Producers of whose committed transaction a batch was met.
    committed: BTreeSet<i64>,
    /// Entries for the transaction index of what is written.
    kept: Vec<AbortedTransaction>,
}

impl Fates {
    /// `aborted` are those that overlap the offsets of the walk.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Fates { coming: aborted.into(), ..Fates::default() }
    }

    /// A batch of data is met: whether its transaction was aborted.
    pub fn is_aborted(&mut self, batch: &Batch<'_>) -> bool {
        self.advance(batch.last_offset());
        if !batch.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&batch.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id);
                false
            }
        }
    }

    /// A control batch is met: whether nobody needs it any more.
    pub fn is_marker_done(&mut self, batch: &Batch<'_>) -> bool {
        self.advance(batch.last_offset());
        let record = batch.records().and_then(|mut records| records.next());
        let Some(Ok(record)) = record else {
            // Emptied before, because nobody needed it then.
            return batch.count == 0;
        };
        match ControlType::of(&record) {
            Some(ControlType::Abort) => match self.aborted.remove(&batch.producer_id) {
                Some((transaction, true)) => {
                    self.kept.push(transaction);
                    false
                }
                _ => true,
            },
            Some(ControlType::Commit) => !self.committed.remove(&batch.producer_id),
            _ => false,
        }
    }

    /// Index entries of the markers that stay, since the last call.
    pub fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }

    fn advance(&mut self, offset: i64) {
        while let Some(next) = self.coming.pop_front_if(|next| next.first_offset <= offset) {
            let is_open = self
                .aborted
                .get(&next.producer_id)
                .is_some_and(|(open, _)| open.last_offset >= next.first_offset);
            if !is_open {
                self.aborted.insert(next.producer_id, (next, false));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::records::Builder;
    use milena_protocol::records::control::EndTxnMarker;

    use super::*;

    fn data(producer_id: i64, offset: i64) -> Vec<u8> {
        let mut builder = Builder::new().base_offset(offset).producer(producer_id, 0, 0).transactional(true);
        builder.append(1, Some(b"k"), Some(b"v"), &[]).expect("small");
        builder.finish().expect("small")
    }

    fn marker(producer_id: i64, offset: i64, committed: bool) -> Vec<u8> {
        let bytes = EndTxnMarker { committed, coordinator_epoch: 0 }.batch(producer_id, 0, 0, 1);
        let bytes = bytes.expect("small");
        let (batch, _) = Batch::parse(&bytes).expect("built");
        [&batch.patched_header(offset, 0, None)[..], batch.payload()].concat()
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    fn parsed(bytes: &[u8]) -> Batch<'_> {
        Batch::parse(bytes).expect("built").0
    }

    #[test]
    fn markers_stay_while_data_of_their_transaction_is_met() {
        let mut fates = Fates::new(vec![aborted(1, 10, 12), aborted(1, 20, 22), aborted(2, 5, 30)]);
        // Its data is gone already.
        assert!(!fates.is_aborted(&parsed(&data(3, 6))));
        assert!(fates.is_aborted(&parsed(&data(2, 8))));
        assert!(fates.is_marker_done(&parsed(&marker(1, 12, false))), "nothing of it was met");
        assert!(fates.is_aborted(&parsed(&data(1, 20))));
        assert!(!fates.is_marker_done(&parsed(&marker(1, 22, false))));
        assert!(!fates.is_aborted(&parsed(&data(1, 23))), "a later, committed one of the producer");
        assert!(!fates.is_marker_done(&parsed(&marker(1, 24, true))));
        assert!(fates.is_marker_done(&parsed(&marker(1, 25, true))), "nothing of it was met");
        assert!(!fates.is_marker_done(&parsed(&marker(3, 26, true))));
        assert!(!fates.is_marker_done(&parsed(&marker(2, 30, false))));
        assert_eq!(fates.take_kept(), [aborted(1, 20, 22), aborted(2, 5, 30)]);
        assert_eq!(fates.take_kept(), []);
    }
}
