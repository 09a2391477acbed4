//! The throttle of a reassignment: properties of topics and brokers, as `kafka-reassign-partitions` sets and removes them.
//!
//! Topics name who gives (`leader.replication.throttled.replicas`) and who copies (`follower.…`), brokers have the rate of
//! either. Nothing of it ends by itself.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::admin::{Admin, ByPartition, ConfigChange, ConfigResource, Reassignment};
use milena_client::consumer::PartitionKey;

use crate::error::Result;

const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";
const RATES: [&str; 2] = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];

/// Kafka's number of what is set for one broker while it runs.
const DYNAMIC_BROKER: i8 = 2;

/// Replicas that one partition is copied from, and to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub sources: Vec<i32>,
    pub destinations: Vec<i32>,
}

impl Move {
    /// From the replicas that there are without a reassignment to those of `target` that are not among them.
    pub fn new(sources: Vec<i32>, target: &[i32]) -> Self {
        let destinations = target.iter().copied().filter(|id| !sources.contains(id)).collect();
        Self { sources, destinations }
    }

    fn of_ongoing(ongoing: &Reassignment) -> Self {
        let replicas = ongoing.replicas.iter().copied();
        let sources = replicas.filter(|id| !ongoing.adding.contains(id)).collect();
        Self { sources, destinations: ongoing.adding.clone() }
    }
}

/// The two properties of each topic. What is under way besides stays throttled: a property is set as a whole.
fn of_topics(moves: &ByPartition<Move>) -> BTreeMap<&str, [String; 2]> {
    let mut topics: BTreeMap<&str, [BTreeSet<(i32, i32)>; 2]> = BTreeMap::new();
    for ((topic, partition), each) in moves {
        let [leaders, followers] = topics.entry(topic).or_default();
        leaders.extend(each.sources.iter().map(|id| (*partition, *id)));
        followers.extend(each.destinations.iter().map(|id| (*partition, *id)));
    }
    let text = |pairs: BTreeSet<(i32, i32)>| {
        pairs.iter().map(|(partition, id)| format!("{partition}:{id}")).collect::<Vec<_>>().join(",")
    };
    topics.into_iter().map(|(topic, sides)| (topic, sides.map(text))).collect()
}

/// Throttles these moves, and what is under way already.
pub async fn set(admin: &Admin, moves: ByPartition<Move>, bytes_per_second: i64) -> Result<()> {
    let ongoing = admin.list_partition_reassignments(None).await?;
    let mut all: ByPartition<Move> =
        ongoing.iter().map(|(key, ongoing)| (key.clone(), Move::of_ongoing(ongoing))).collect();
    all.extend(moves);
    for (topic, [leaders, followers]) in of_topics(&all) {
        let sides = [(LEADERS, leaders), (FOLLOWERS, followers)].into_iter();
        let changes: Vec<_> = sides
            .filter(|(_, pairs)| !pairs.is_empty())
            .map(|(name, pairs)| (name.to_owned(), ConfigChange::Set(pairs)))
            .collect();
        admin.alter_configs(&ConfigResource::Topic(topic.to_owned()), &changes, false).await?;
    }
    let ids = all.values().flat_map(|each| each.sources.iter().chain(&each.destinations));
    for id in ids.copied().collect::<BTreeSet<i32>>() {
        let changes = RATES.map(|name| (name.to_owned(), ConfigChange::Set(bytes_per_second.to_string())));
        admin.alter_configs(&ConfigResource::Broker(id), &changes, false).await?;
    }
    Ok(())
}

/// Removes the throttles of the topics of `partitions` and of all brokers that run. Whether there were any.
pub async fn remove<'a>(admin: &Admin, partitions: impl Iterator<Item = &'a PartitionKey>) -> Result<bool> {
    let mut were_any = false;
    for broker in admin.describe_cluster().await?.brokers {
        let resource = ConfigResource::Broker(broker.id);
        let entries = admin.describe_configs(&resource).await?;
        let set = entries.into_iter().filter(|entry| entry.source == DYNAMIC_BROKER).map(|entry| entry.name);
        let changes: Vec<_> = set
            .filter(|name| RATES.contains(&name.as_str()))
            .map(|name| (name, ConfigChange::Unset))
            .collect();
        if !changes.is_empty() {
            admin.alter_configs(&resource, &changes, false).await?;
            were_any = true;
        }
    }
    let topics: BTreeSet<&String> = partitions.map(|(topic, _)| topic).collect();
    let topics: Vec<String> = topics.into_iter().cloned().collect();
    for name in [LEADERS, FOLLOWERS] {
        let values = admin.topic_values(&topics, name).await?;
        for (topic, _) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
            let change = [(name.to_owned(), ConfigChange::Unset)];
            admin.alter_configs(&ConfigResource::Topic(topic), &change, false).await?;
            were_any = true;
        }
    }
    Ok(were_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_and_who_copies_is_named_as_kafkas_tool_names_them() {
        let key = |topic: &str, partition| (topic.to_owned(), partition);
        let ongoing = Reassignment { replicas: vec![4, 2, 1], adding: vec![4], removing: vec![1] };
        let moves: ByPartition<Move> = [
            (key("t", 0), Move::new(vec![1, 2], &[2, 3])),
            (key("t", 10), Move::of_ongoing(&ongoing)),
            (key("t", 2), Move::new(vec![3], &[3])),
            (key("u", 0), Move::new(vec![1], &[2, 3])),
        ]
        .into();
        let expected = [
            ("t", ["0:1,0:2,2:3,10:1,10:2".to_owned(), "0:3,10:4".to_owned()]),
            ("u", ["0:1".to_owned(), "0:2,0:3".to_owned()]),
        ];
        assert_eq!(of_topics(&moves), BTreeMap::from(expected));
    }
}
