//! What members of a consumer group tell each other through the coordinator, which does not read it: subscriptions and
//! assignments, and the user data of the sticky assignors.
//!
//! Each begins with its version. Later versions only append, so a newer one is read as the newest that we know.

use milena_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use milena_protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
use milena_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use milena_protocol::{Encode, Message, Reader, Writer, decode_start};

use super::assignor::{Assignor, Member};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::indexes_by_topic;

/// The protocol type of consumer groups in JoinGroup.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// Owned partitions are part of a subscription from here on.
const OWNED_FROM: i16 = 1;

/// What a member says of itself in JoinGroup.
pub(super) fn encode_subscription(assignor: Assignor, member: &Member) -> Result<Vec<u8>> {
    let user_data = match assignor {
        Assignor::Range | Assignor::RoundRobin => None,
        Assignor::Sticky => (!member.owned.is_empty()).then(|| sticky_data(member)).transpose()?,
        Assignor::CooperativeSticky => {
            let mut writer = Writer::new();
            writer.i32(member.generation.unwrap_or(-1));
            Some(writer.into_bytes().map_err(Error::encode)?)
        }
    };
    // Sticky members give everything up before they join: what they had stands in the user data only.
    let owned: &[PartitionKey] = if assignor == Assignor::Sticky { &[] } else { &member.owned };
    let owned = indexes_by_topic(owned).into_iter();
    let subscription = ConsumerProtocolSubscription {
        topics: member.topics.iter().map(|topic| topic.as_str().into()).collect(),
        user_data: user_data.map(Into::into),
        owned_partitions: owned
            .map(|(topic, partitions)| Owned { topic: topic.into(), partitions })
            .collect(),
        generation_id: member.generation.unwrap_or(-1),
        rack_id: member.rack.as_deref().map(Into::into),
    };
    with_version(&subscription, *ConsumerProtocolSubscription::VERSIONS.end())
}

/// A member as it described itself to the others.
///
/// Errors: `Corrupt`, naming the member.
pub(super) fn decode_subscription(
    assignor: Assignor,
    id: &str,
    instance_id: Option<&str>,
    bytes: &[u8],
) -> Result<Member> {
    let unreadable = || Error::Corrupt(format!("the subscription of group member {id} cannot be read"));
    let (version, body) = versioned::<ConsumerProtocolSubscription<'_>>(bytes).ok_or_else(unreadable)?;
    let subscription: ConsumerProtocolSubscription<'_> =
        decode_start(body, version).map_err(|_| unreadable())?;
    let mut member = Member {
        id: id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        topics: subscription.topics.iter().map(|topic| topic.to_string()).collect(),
        rack: subscription.rack_id.as_deref().filter(|rack| !rack.is_empty()).map(str::to_owned),
        ..Member::default()
    };
    let user_data = subscription.user_data.as_deref().unwrap_or_default();
    if assignor == Assignor::Sticky {
        (member.owned, member.generation) = read_sticky_data(user_data);
        return Ok(member);
    }
    if version >= OWNED_FROM {
        let owned = subscription.owned_partitions.iter();
        member.owned = owned.flat_map(|topic| keys(&topic.topic, &topic.partitions)).collect();
    }
    let in_user_data = || user_data.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    member.generation =
        Some(subscription.generation_id).filter(|generation| *generation >= 0).or_else(in_user_data);
    Ok(member)
}

/// What the leader says to a member.
pub(super) fn encode_assignment(partitions: &[PartitionKey]) -> Result<Vec<u8>> {
    let assigned = indexes_by_topic(partitions).into_iter();
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: assigned
            .map(|(topic, partitions)| Assigned { topic: topic.into(), partitions })
            .collect(),
        user_data: None,
    };
    with_version(&assignment, *ConsumerProtocolAssignment::VERSIONS.end())
}

/// What a member was given. No bytes mean nothing: so the coordinator answers members that the leader forgot.
///
/// Errors: `Corrupt`.
pub(super) fn decode_assignment(bytes: &[u8]) -> Result<Vec<PartitionKey>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = || Error::Corrupt("the assignment of the group's leader cannot be read".to_owned());
    let (version, body) = versioned::<ConsumerProtocolAssignment<'_>>(bytes).ok_or_else(unreadable)?;
    let assignment: ConsumerProtocolAssignment<'_> = decode_start(body, version).map_err(|_| unreadable())?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics.flat_map(|topic| keys(&topic.topic, &topic.partitions)).collect())
}

fn keys(topic: &str, partitions: &[i32]) -> Vec<PartitionKey> {
    partitions.iter().map(|partition| (topic.to_owned(), *partition)).collect()
}

fn with_version(message: &impl Encode, version: i16) -> Result<Vec<u8>> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version).map_err(Error::encode)?;
    writer.into_bytes().map_err(Error::encode)
}

/// The version to read a message in, and its body.
fn versioned<M: Message>(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (version, body) = bytes.split_first_chunk()?;
    let version = i16::from_be_bytes(*version);
    (version >= *M::VERSIONS.start()).then_some((version.min(*M::VERSIONS.end()), body))
}

/// The user data of the sticky assignor, version 1: topics with partitions, and the generation. It has no version field.
fn sticky_data(member: &Member) -> Result<Vec<u8>> {
    let topics = indexes_by_topic(&member.owned);
    let mut writer = Writer::new();
    writer.i32(topics.len() as i32);
    for (topic, partitions) in topics {
        writer.string(topic, false).map_err(Error::encode)?;
        writer.i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| writer.i32(*partition));
    }
    writer.i32(member.generation.unwrap_or(-1));
    writer.into_bytes().map_err(Error::encode)
}

/// Reads both versions; version 0 had no generation. What cannot be read is as if it were not there, as in Kafka's class.
fn read_sticky_data(bytes: &[u8]) -> (Vec<PartitionKey>, Option<i32>) {
    let mut reader = Reader::new(bytes);
    let mut owned = Vec::new();
    let mut read = || -> Option<()> {
        let topics = reader.i32().ok()?;
        for _ in 0..topics {
            let topic = reader.string(false).ok()?;
            let count = reader.i32().ok()?;
            for _ in 0..count {
                owned.push((topic.to_string(), reader.i32().ok()?));
            }
        }
        Some(())
    };
    if read().is_none() {
        return (Vec::new(), None);
    }
    let generation = reader.i32().ok().filter(|generation| *generation >= 0);
    (owned, generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Member {
        Member {
            id: "m".to_owned(),
            instance_id: None,
            topics: ["a", "b"].map(str::to_owned).into(),
            owned: vec![("a".to_owned(), 0), ("a".to_owned(), 2), ("b".to_owned(), 1)],
            generation: Some(7),
            rack: Some("r".to_owned()),
        }
    }

    #[test]
    fn every_assignor_reads_what_it_writes() {
        for assignor in Assignor::ALL {
            let bytes = encode_subscription(assignor, &member()).expect("it can be written");
            let read = decode_subscription(assignor, "m", None, &bytes).expect("it can be read");
            assert_eq!(read, member(), "{assignor}");
        }
        let partitions = member().owned;
        let bytes = encode_assignment(&partitions).expect("it can be written");
        assert_eq!(decode_assignment(&bytes).expect("it can be read"), partitions);
    }

    #[test]
    fn newer_versions_are_read_as_far_as_they_are_known() {
        let mut bytes = encode_subscription(Assignor::Range, &member()).expect("it can be written");
        bytes[..2].copy_from_slice(&9_i16.to_be_bytes());
        bytes.extend_from_slice(b"something new");
        assert_eq!(
            decode_subscription(Assignor::Range, "m", None, &bytes).expect("it can be read"),
            member()
        );
    }

    #[test]
    fn damage_is_an_error_that_names_the_member() {
        for bytes in [&b""[..], &[0], &[0xff, 0xff], &[0, 1, 0, 0, 0, 9]] {
            let error = decode_subscription(Assignor::Range, "m-1", None, bytes).expect_err("damaged");
            assert!(error.to_string().contains("m-1"), "{error}");
        }
        assert!(decode_assignment(&[0]).is_err());
        assert!(decode_assignment(&[]).expect("nothing").is_empty());
    }

    #[test]
    fn user_data_of_the_first_sticky_assignor_has_no_generation() {
        let data = sticky_data(&member()).expect("it can be written");
        assert_eq!(read_sticky_data(&data[..data.len() - 4]), (member().owned, None));
        assert_eq!(read_sticky_data(&data[..data.len() - 9]), (Vec::new(), None));
        // A count that the bytes cannot hold reserves nothing.
        assert_eq!(read_sticky_data(&[0x7f, 0xff, 0xff, 0xff]), (Vec::new(), None));
    }
}
