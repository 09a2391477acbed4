//! Requests of the classic group protocol, built and read by hand like those of `wire`.

use crate::wire::{request, string};

/// Subscription and assignment are bytes that the broker does not look into, of a usual size.
const SUBSCRIPTION: &[u8] = &[7; 60];
const ASSIGNMENT: &[u8] = &[9; 40];
const SESSION_TIMEOUT_MS: i32 = 30_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// What a member says, and about which group.
#[derive(Clone, Default)]
pub struct Member {
    pub group: String,
    pub id: String,
    pub generation: i32,
}

/// The answer to JoinGroup.
pub struct Joined {
    pub error: i16,
    pub generation: i32,
    pub member_id: String,
    /// Of the leader alone.
    pub members: Vec<String>,
}

/// FindCoordinator (key 10) version 1.
pub fn find_coordinator(group: &str) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, group);
    body.push(0);
    request(10, 1, 1, &body)
}

impl Member {
    fn begin(&self) -> Vec<u8> {
        let mut body = Vec::new();
        string(&mut body, &self.group);
        body
    }

    /// Generation, member id, and no instance id.
    fn identity(&self) -> Vec<u8> {
        let mut body = self.begin();
        body.extend_from_slice(&self.generation.to_be_bytes());
        string(&mut body, &self.id);
        body.extend_from_slice(&(-1i16).to_be_bytes());
        body
    }

    /// JoinGroup (key 11) version 5.
    pub fn join(&self) -> Vec<u8> {
        let mut body = self.begin();
        body.extend_from_slice(&SESSION_TIMEOUT_MS.to_be_bytes());
        body.extend_from_slice(&REBALANCE_TIMEOUT_MS.to_be_bytes());
        string(&mut body, &self.id);
        body.extend_from_slice(&(-1i16).to_be_bytes());
        string(&mut body, "consumer");
        body.extend_from_slice(&1i32.to_be_bytes());
        string(&mut body, "range");
        bytes(&mut body, SUBSCRIPTION);
        request(11, 5, 1, &body)
    }

    /// SyncGroup (key 14) version 3, with something for each of `members`.
    pub fn sync(&self, members: &[String]) -> Vec<u8> {
        let mut body = self.identity();
        body.extend_from_slice(&(members.len() as i32).to_be_bytes());
        for member in members {
            string(&mut body, member);
            bytes(&mut body, ASSIGNMENT);
        }
        request(14, 3, 1, &body)
    }

    /// Heartbeat (key 12) version 3.
    pub fn heartbeat(&self) -> Vec<u8> {
        request(12, 3, 1, &self.identity())
    }

    /// OffsetCommit (key 8) version 7 of one partition.
    pub fn commit(&self, topic: &str, partition: i32, offset: i64) -> Vec<u8> {
        let mut body = self.identity();
        body.extend_from_slice(&1i32.to_be_bytes());
        string(&mut body, topic);
        body.extend_from_slice(&1i32.to_be_bytes());
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&(-1i32).to_be_bytes());
        body.extend_from_slice(&(-1i16).to_be_bytes());
        request(8, 7, 1, &body)
    }

    /// LeaveGroup (key 13) version 1.
    pub fn leave(&self) -> Vec<u8> {
        let mut body = self.begin();
        string(&mut body, &self.id);
        request(13, 1, 1, &body)
    }
}

/// OffsetFetch (key 9) version 1 of partition 0.
pub fn fetch_offset(group: &str, topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, group);
    body.extend_from_slice(&1i32.to_be_bytes());
    string(&mut body, topic);
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    request(9, 1, 1, &body)
}

/// The offset in the answer to [`fetch_offset`]; none beside an error.
pub fn fetched_offset(answer: &[u8]) -> Option<i64> {
    if i16::from_be_bytes(*answer.last_chunk()?) != 0 {
        return None;
    }
    let mut rest = Fields(answer.get(8..)?);
    let _topic = rest.string()?;
    let _partitions: [u8; 4] = rest.take()?;
    let _partition: [u8; 4] = rest.take()?;
    Some(i64::from_be_bytes(rest.take()?))
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The error code behind correlation id and throttle time: FindCoordinator, SyncGroup, Heartbeat, LeaveGroup.
pub fn error(answer: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(*answer.get(8..)?.first_chunk()?))
}

/// The error code of the one partition of an answer to [`Member::commit`].
pub fn commit_error(answer: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(*answer.last_chunk()?))
}

pub fn joined(answer: &[u8]) -> Option<Joined> {
    let mut rest = Fields(answer.get(8..)?);
    let error = i16::from_be_bytes(rest.take()?);
    let generation = i32::from_be_bytes(rest.take()?);
    let (_protocol, _leader, member_id) = (rest.string()?, rest.string()?, rest.string()?);
    let count = i32::from_be_bytes(rest.take()?);
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(rest.string()?);
        let _instance = rest.string()?;
        let length = i32::from_be_bytes(rest.take()?);
        rest.skip(usize::try_from(length).ok()?)?;
    }
    Some(Joined { error, generation, member_id, members })
}

/// What is left of an answer.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*found)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// A string; empty for null.
    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(i16::from_be_bytes(self.take()?)).unwrap_or(0);
        let text = String::from_utf8_lossy(self.0.get(..length)?).into_owned();
        self.skip(length)?;
        Some(text)
    }
}
