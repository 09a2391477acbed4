//! The records of `__consumer_offsets` that the classic protocol writes, in Kafka's bytes.
//!
//! A key starts with the number of its record type, a value with the version of its layout. Two types
//! are read and written here: committed offsets (0 and 1; 1 is written) and group metadata (2). Other
//! types belong to the newer group protocols: they stay in the log as they are and change nothing in
//! this machine. A null value is a tombstone.
//!
//! Source: the record tables of 4.3.1, `broker/protocol/schema/group_records.schema`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::codec::{self, Message, decode_exact, encode_to_vec};
use milena_protocol::messages::group_metadata_value::MemberMetadata;
use milena_protocol::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use milena_protocol::types::Uuid;

/// Record types in a key. Kafka wrote type 0 before 0.8.2; its layout is that of type 1.
const LEGACY_OFFSET: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

/// Layouts that Kafka 4.3.1 writes. Only layout 1 has room for a time to expire at.
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;

/// One change of the groups of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Offset(OffsetRecord),
    Group(GroupRecord),
}

/// A committed offset, or the tombstone of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetRecord {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub value: Option<CommittedOffset>,
}

/// What a member committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// -1 when the client gave none.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub commit_timestamp_ms: i64,
    /// Set by clients that named a retention time of their own (OffsetCommit up to version 4).
    pub expire_timestamp_ms: Option<i64>,
    /// Zero when the client knew only the name.
    pub topic_id: Uuid,
}

/// A group as it was when its assignment was stored or its last member left, or its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    pub group: Arc<str>,
    pub value: Option<Arc<GroupMetadata>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// When the group entered its state; -1 is unknown. Offsets of an empty group expire from here.
    pub state_timestamp_ms: i64,
    pub members: Vec<StoredMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMember {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// -1 in layout 0, which means the session timeout.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// What a record of the log is to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    Record(Record),
    /// A type that this machine does not apply.
    Other {
        kind: i16,
    },
}

/// Why a record of the log cannot be read. The loader skips it, counts it and logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("record without a key")]
    NoKey,
    #[error("record of {size} bytes, too short for a version")]
    NoVersion { size: usize },
    #[error("value of unknown version {version} under a key of type {kind}")]
    UnknownVersion { kind: i16, version: i16 },
    #[error("unreadable {part}: {source}")]
    Field { part: &'static str, source: codec::DecodeError },
}

impl Record {
    pub fn offset(
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Self {
        Self::Offset(OffsetRecord { group: group.clone(), topic: topic.clone(), partition, value })
    }

    pub fn group(group: &Arc<str>, value: Option<GroupMetadata>) -> Self {
        Self::Group(GroupRecord { group: group.clone(), value: value.map(Arc::new) })
    }

    /// Key and value as the log keeps them.
    ///
    /// Errors: a text or array too long for its field. Kafka's limits on requests keep what clients
    /// send below them; an assignment of more than 2 GiB would not be.
    pub fn encode(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), codec::EncodeError> {
        match self {
            Self::Offset(record) => Ok((record.key()?, record.value.as_ref().map(offset_value).transpose()?)),
            Self::Group(record) => Ok((record.key()?, record.value.as_deref().map(group_value).transpose()?)),
        }
    }

    /// Reads what [`Record::encode`] or Apache Kafka wrote.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, DecodeError> {
        let (kind, key) = versioned(key.ok_or(DecodeError::NoKey)?)?;
        match kind {
            LEGACY_OFFSET | OFFSET => decode_offset(kind, key, value).map(Self::Offset),
            GROUP => decode_group(key, value).map(Self::Group),
            other => return Ok(Decoded::Other { kind: other }),
        }
        .map(Decoded::Record)
    }
}

impl OffsetRecord {
    fn key(&self) -> Result<Vec<u8>, codec::EncodeError> {
        let key = OffsetCommitKey {
            group: (&*self.group).into(),
            topic: (&*self.topic).into(),
            partition: self.partition,
        };
        Ok(with_version(OFFSET, encode_to_vec(&key, 0)?))
    }
}

impl GroupRecord {
    fn key(&self) -> Result<Vec<u8>, codec::EncodeError> {
        let key = GroupMetadataKey { group: (&*self.group).into() };
        Ok(with_version(GROUP, encode_to_vec(&key, 0)?))
    }
}

fn offset_value(committed: &CommittedOffset) -> Result<Vec<u8>, codec::EncodeError> {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: (&*committed.metadata).into(),
        commit_timestamp: committed.commit_timestamp_ms,
        expire_timestamp: committed.expire_timestamp_ms.unwrap_or(-1),
        topic_id: committed.topic_id,
    };
    let version =
        if committed.expire_timestamp_ms.is_some() { OFFSET_VALUE_WITH_EXPIRY } else { OFFSET_VALUE };
    Ok(with_version(version, encode_to_vec(&value, version)?))
}

fn group_value(group: &GroupMetadata) -> Result<Vec<u8>, codec::EncodeError> {
    fn member(member: &StoredMember) -> MemberMetadata<'_> {
        MemberMetadata {
            member_id: Cow::Borrowed(&*member.id),
            group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&*member.client_id),
            client_host: Cow::Borrowed(&*member.client_host),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: Cow::Borrowed(&*member.subscription),
            assignment: Cow::Borrowed(&*member.assignment),
        }
    }
    let value = GroupMetadataValue {
        protocol_type: (&*group.protocol_type).into(),
        generation: group.generation,
        protocol: group.protocol.as_deref().map(Into::into),
        leader: group.leader.as_deref().map(Into::into),
        current_state_timestamp: group.state_timestamp_ms,
        members: group.members.iter().map(member).collect(),
    };
    Ok(with_version(GROUP_VALUE, encode_to_vec(&value, GROUP_VALUE)?))
}

fn decode_offset(kind: i16, key: &[u8], value: Option<&[u8]>) -> Result<OffsetRecord, DecodeError> {
    let key: OffsetCommitKey<'_> =
        decode_exact(key, 0).map_err(|source| DecodeError::Field { part: "key", source })?;
    let value = value.map(|value| read_value::<OffsetCommitValue<'_>>(kind, value)).transpose()?;
    let committed = |value: OffsetCommitValue<'_>| CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: Arc::from(&*value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        topic_id: value.topic_id,
    };
    Ok(OffsetRecord {
        group: Arc::from(&*key.group),
        topic: Arc::from(&*key.topic),
        partition: key.partition,
        value: value.map(committed),
    })
}

fn decode_group(key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, DecodeError> {
    let key: GroupMetadataKey<'_> =
        decode_exact(key, 0).map_err(|source| DecodeError::Field { part: "key", source })?;
    let value = value.map(|value| read_value::<GroupMetadataValue<'_>>(GROUP, value)).transpose()?;
    let metadata = |value: GroupMetadataValue<'_>| GroupMetadata {
        protocol_type: Arc::from(&*value.protocol_type),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Arc::from),
        leader: value.leader.as_deref().map(Arc::from),
        state_timestamp_ms: value.current_state_timestamp,
        members: value.members.iter().map(stored_member).collect(),
    };
    Ok(GroupRecord { group: Arc::from(&*key.group), value: value.map(metadata).map(Arc::new) })
}

fn stored_member(member: &MemberMetadata<'_>) -> StoredMember {
    StoredMember {
        id: Arc::from(&*member.member_id),
        instance_id: member.group_instance_id.as_deref().map(Arc::from),
        client_id: Arc::from(&*member.client_id),
        client_host: Arc::from(&*member.client_host),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    }
}

fn read_value<'a, T: codec::Decode<'a> + Message>(kind: i16, value: &'a [u8]) -> Result<T, DecodeError> {
    let (version, body) = versioned(value)?;
    if !T::VERSIONS.contains(&version) {
        return Err(DecodeError::UnknownVersion { kind, version });
    }
    decode_exact(body, version).map_err(|source| DecodeError::Field { part: "value", source })
}

fn versioned(bytes: &[u8]) -> Result<(i16, &[u8]), DecodeError> {
    let (version, rest) =
        bytes.split_first_chunk::<2>().ok_or(DecodeError::NoVersion { size: bytes.len() })?;
    Ok((i16::from_be_bytes(*version), rest))
}

fn with_version(version: i16, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + body.len());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
