//! openraft's values as the fields of the private messages (keys 120 to 123), and back.
//!
//! Each message has structs of its own for a vote and a log id; two small traits make them one. Entries travel as the
//! record batches of the metadata log: what a voter receives has passed the same checks as what it reads from its disk.

use bytes::Bytes;
use milena_protocol::messages::{
    raft_append_request, raft_append_response, raft_snapshot_request, raft_snapshot_response,
    raft_transfer_request, raft_transfer_response, raft_vote_request, raft_vote_response,
};
use milena_protocol::records::Batches;
use milena_protocol::types::Records;

use super::log_store::{decode_batch, encode_batch};
use super::types::{Entry, LeaderId, LogId, Vote, VoterId};

/// A vote in a message.
pub trait WireVote {
    fn of(vote: &Vote) -> Self;
    fn vote(&self) -> Vote;
}

/// A log id in a message, or none.
pub trait WireLogId {
    fn of(log_id: Option<&LogId>) -> Self;
    fn log_id(&self) -> Option<LogId>;
}

macro_rules! wire_votes {
    ($($module:ident),* $(,)?) => {$(
        impl WireVote for $module::Vote {
            fn of(vote: &Vote) -> Self {
                let LeaderId { term, node_id } = vote.leader_id;
                Self {
                    term: signed(term),
                    leader_id: node_id.id,
                    leader_directory_id: node_id.directory,
                    committed: vote.committed,
                }
            }

            fn vote(&self) -> Vote {
                let node_id = VoterId { id: self.leader_id, directory: self.leader_directory_id };
                Vote { leader_id: LeaderId { term: unsigned(self.term), node_id }, committed: self.committed }
            }
        }
    )*};
}

macro_rules! wire_log_ids {
    ($($module:ident),* $(,)?) => {$(
        impl WireLogId for $module::LogId {
            fn of(log_id: Option<&LogId>) -> Self {
                let Some(log_id) = log_id else { return Self { index: -1, ..Self::default() } };
                Self {
                    index: signed(log_id.index),
                    term: signed(log_id.leader_id.term),
                    leader_id: log_id.leader_id.node_id.id,
                    leader_directory_id: log_id.leader_id.node_id.directory,
                }
            }

            fn log_id(&self) -> Option<LogId> {
                let index = u64::try_from(self.index).ok()?;
                let node_id = VoterId { id: self.leader_id, directory: self.leader_directory_id };
                Some(LogId::new(LeaderId { term: unsigned(self.term), node_id }, index))
            }
        }
    )*};
}

wire_votes!(
    raft_append_request,
    raft_append_response,
    raft_vote_request,
    raft_vote_response,
    raft_snapshot_request,
    raft_snapshot_response,
    raft_transfer_request,
    raft_transfer_response,
);

wire_log_ids!(
    raft_append_request,
    raft_append_response,
    raft_vote_request,
    raft_vote_response,
    raft_snapshot_request,
    raft_transfer_request,
    raft_transfer_response,
);

/// Terms and indexes count up by one and never come near the bound.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// No sender of ours writes a negative one; the lowest value can do the least harm.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The entries as one piece of a metadata log.
pub fn encode_entries(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        encode_batch(entry, &mut bytes)?;
    }
    Ok(bytes)
}

/// Reads entries that must follow `previous` without a hole.
pub fn decode_entries(records: Option<&Records<'_>>, previous: Option<&LogId>) -> Result<Vec<Entry>, String> {
    let Some(Records::Bytes(bytes)) = records else { return Ok(Vec::new()) };
    let bytes = Bytes::copy_from_slice(bytes);
    let first = previous.map_or(0, |previous| previous.index + 1);
    let decoded = Batches::new(&bytes).zip(first..).map(|(batch, index)| {
        let batch = batch.map_err(|error| error.to_string())?;
        decode_batch(&batch, &bytes, index)
    });
    decoded.collect()
}

#[cfg(test)]
mod tests {
    use milena_protocol::types::Uuid;

    use super::*;
    use crate::controller::raft::types::{Payload, Proposal};

    fn voter(id: i32) -> VoterId {
        VoterId { id, directory: Uuid::from_u128(7 + id.unsigned_abs() as u128) }
    }

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: voter(3) }, index)
    }

    #[test]
    fn votes_and_log_ids_survive_the_wire() {
        let vote = Vote { leader_id: LeaderId { term: 9, node_id: voter(2) }, committed: true };
        assert_eq!(<raft_vote_request::Vote as WireVote>::of(&vote).vote(), vote);
        let id = log_id(4, 0);
        assert_eq!(<raft_vote_request::LogId as WireLogId>::of(Some(&id)).log_id(), Some(id));
        assert_eq!(<raft_vote_request::LogId as WireLogId>::of(None).log_id(), None);
    }

    #[test]
    fn entries_survive_the_wire_and_a_hole_is_refused() {
        let records = Bytes::from_static(b"some records");
        let proposal = Proposal { append_time_ms: 5, records };
        let entries = vec![
            Entry { log_id: log_id(2, 8), payload: Payload::Blank },
            Entry { log_id: log_id(3, 9), payload: Payload::Normal(proposal) },
        ];
        let bytes = encode_entries(&entries).expect("small");
        let records = Records::Bytes(bytes.clone().into());
        assert_eq!(decode_entries(Some(&records), Some(&log_id(2, 7))), Ok(entries));
        let error = decode_entries(Some(&records), Some(&log_id(2, 6))).expect_err("a hole");
        assert!(error.contains("no entry 7"), "{error}");
        let cut = Records::Bytes(bytes[..bytes.len() - 1].to_vec().into());
        assert!(decode_entries(Some(&cut), Some(&log_id(2, 7))).is_err());
        assert_eq!(decode_entries(None, None), Ok(Vec::new()));
    }
}
