//! The bytes of a Raft entry in the metadata log: one record batch per entry.
//!
//! Base offset = index, partition leader epoch = term, one record without key whose value is
//! `version u8 · kind u8 · proposer (id i32, directory 16 bytes) · body`, big endian. The body of kind 0 (blank) is
//! empty; of kind 1 (records) `append time i64 · records`; of kind 2 (membership) the voter sets and the addresses.
//! openraft's own types never reach the disk: they promise no stable form. Described in `docs/formats.md`.

use std::collections::BTreeSet;

use bytes::Bytes;
use milena_protocol::types::Uuid;

use super::types::Entry;
use super::types::{LeaderId, LogId, Membership, Payload, Proposal, VoterAddress, VoterId};

const VERSION: u8 = 1;
const BLANK: u8 = 0;
const RECORDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Why the value of a metadata log record is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("entry ends early")]
    Truncated,
    #[error("entry version {0} is not known to this version of Milena")]
    UnknownVersion(u8),
    #[error("entry kind {0} is not known to this version of Milena")]
    UnknownKind(u8),
    #[error("entry has {0} bytes too many")]
    Trailing(usize),
    #[error("entry names a voter address that is not UTF-8")]
    Address,
    #[error("entry has an impossible membership: {0}")]
    Membership(String),
}

/// Appends the value of `entry`'s record to `out`.
pub fn encode_value(entry: &Entry, out: &mut Vec<u8>) {
    out.push(VERSION);
    let proposer = &entry.log_id.leader_id.node_id;
    match &entry.payload {
        Payload::Blank => {
            out.push(BLANK);
            put_voter(proposer, out);
        }
        Payload::Normal(proposal) => {
            out.push(RECORDS);
            put_voter(proposer, out);
            out.extend_from_slice(&proposal.append_time_ms.to_be_bytes());
            out.extend_from_slice(&proposal.records);
        }
        Payload::Membership(membership) => {
            out.push(MEMBERSHIP);
            put_voter(proposer, out);
            put_membership(membership, out);
        }
    }
}

/// Reads the entry whose record at `index` in `term` has this value. `value` is shared, not copied.
pub fn decode_value(index: u64, term: u64, value: &Bytes) -> Result<Entry, EntryError> {
    let mut reader = Reader { rest: value };
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EntryError::UnknownVersion(version));
    }
    let kind = reader.u8()?;
    let log_id = LogId::new(LeaderId { term, node_id: reader.voter()? }, index);
    let payload = match kind {
        BLANK => Payload::Blank,
        RECORDS => {
            let append_time_ms = i64::from_be_bytes(reader.array()?);
            Payload::Normal(Proposal {
                append_time_ms,
                records: value.slice_ref(std::mem::take(&mut reader.rest)),
            })
        }
        MEMBERSHIP => Payload::Membership(reader.membership()?),
        other => return Err(EntryError::UnknownKind(other)),
    };
    reader.finish()?;
    Ok(Entry { log_id, payload })
}

/// `count u16 · sets (count u16 · voters) · count u16 · (voter · length u16 · host · port u16)`.
pub fn put_membership(membership: &Membership, out: &mut Vec<u8>) {
    let sets = membership.get_joint_config();
    put_count(sets.len(), out);
    for set in sets {
        put_count(set.len(), out);
        set.iter().for_each(|voter| put_voter(voter, out));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    put_count(nodes.len(), out);
    for (voter, address) in nodes {
        put_voter(voter, out);
        put_count(address.host.len(), out);
        out.extend_from_slice(address.host.as_bytes());
        out.extend_from_slice(&address.port.to_be_bytes());
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = u16::try_from(count).expect("a quorum has few voters with short names");
    out.extend_from_slice(&count.to_be_bytes());
}

pub fn put_voter(voter: &VoterId, out: &mut Vec<u8>) {
    out.extend_from_slice(&voter.id.to_be_bytes());
    out.extend_from_slice(voter.directory.as_bytes());
}

/// Reads the fixed-size pieces of an entry, a vote or a snapshot header; every read is checked.
pub struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(EntryError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, EntryError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u64(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_be_bytes)
    }

    fn count(&mut self) -> Result<usize, EntryError> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], EntryError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(EntryError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub fn voter(&mut self) -> Result<VoterId, EntryError> {
        let id = i32::from_be_bytes(self.array()?);
        Ok(VoterId { id, directory: Uuid::from_bytes(self.array()?) })
    }

    pub fn log_id(&mut self) -> Result<LogId, EntryError> {
        let (term, index) = (self.u64()?, self.u64()?);
        Ok(LogId::new(LeaderId { term, node_id: self.voter()? }, index))
    }

    pub fn membership(&mut self) -> Result<Membership, EntryError> {
        let mut sets = Vec::new();
        for _ in 0..self.count()? {
            let voters = self.count()?;
            sets.push((0..voters).map(|_| self.voter()).collect::<Result<BTreeSet<_>, _>>()?);
        }
        let mut nodes = std::collections::BTreeMap::new();
        for _ in 0..self.count()? {
            let voter = self.voter()?;
            let length = self.count()?;
            let host = std::str::from_utf8(self.bytes(length)?).map_err(|_| EntryError::Address)?.to_owned();
            nodes.insert(voter, VoterAddress { host, port: u16::from_be_bytes(self.array()?) });
        }
        Membership::new(sets, nodes).map_err(|error| EntryError::Membership(error.to_string()))
    }

    pub fn finish(self) -> Result<(), EntryError> {
        if self.rest.is_empty() { Ok(()) } else { Err(EntryError::Trailing(self.rest.len())) }
    }
}

pub fn put_log_id(log_id: &LogId, out: &mut Vec<u8>) {
    out.extend_from_slice(&log_id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&log_id.index.to_be_bytes());
    put_voter(&log_id.leader_id.node_id, out);
}

#[cfg(test)]
#[path = "entry_test.rs"]
mod tests;
