//! Control records: what a coordinator or a controller writes between the data.
//!
//! The key of a control record is a version and a type; the value depends on the type. Consumers
//! never see them.

use super::batch::Batch;
use super::builder::{BuildError, Builder};
use super::record::Record;

/// Type of a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    KRaftVersion = 5,
    KRaftVoters = 6,
}

impl ControlType {
    pub fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => return None,
        })
    }

    /// Type of a control record by its key; `None` for a key that is cut or of a type that a later
    /// Kafka may add, which readers must skip.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        let &[v0, v1, t0, t1, ..] = record.key? else { return None };
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 { None } else { Self::from_code(i16::from_be_bytes([t0, t1])) }
    }

    /// The key of a control record of this type, version 0.
    pub fn key(self) -> [u8; 4] {
        let code = (self as i16).to_be_bytes();
        [0, 0, code[0], code[1]]
    }
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub committed: bool,
    /// Epoch of the coordinator that decided; a lower one than seen before is a zombie's.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in a control batch; `None` when the batch holds something else or is damaged.
    pub fn of(batch: &Batch<'_>) -> Option<Self> {
        if !batch.attributes.is_control() {
            return None;
        }
        Self::of_record(&batch.records()?.next()?.ok()?)
    }

    pub fn of_record(record: &Record<'_>) -> Option<Self> {
        let committed = match ControlType::of(record)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        // Version, then the epoch; later versions may add fields behind.
        let &[v0, v1, e0, e1, e2, e3, ..] = record.value? else { return None };
        let version = i16::from_be_bytes([v0, v1]);
        let coordinator_epoch = i32::from_be_bytes([e0, e1, e2, e3]);
        (version >= 0).then_some(Self { committed, coordinator_epoch })
    }

    /// The batch that carries this marker.
    pub fn batch(
        self,
        producer_id: i64,
        producer_epoch: i16,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Vec<u8>, BuildError> {
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder = Builder::new()
            .leader_epoch(leader_epoch)
            .producer(producer_id, producer_epoch, super::NO_SEQUENCE)
            .transactional(true)
            .control(true);
        builder.append(now_ms, Some(&kind.key()), Some(&value), &[])?;
        builder.finish()
    }
}
