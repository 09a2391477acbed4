//! The topics of OffsetCommit and OffsetDelete: some are refused before the coordinator is asked, and its answer is
//! put behind those refusals, as Kafka orders them.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::group::reply::{Outcomes, TopicOutcome};
use milena_state::metadata::image::Topic;

/// Outcomes of partitions; a topic that is named twice is answered once.
#[derive(Debug, Default)]
pub struct Collected {
    topics: Outcomes,
    /// Place in `topics`.
    places: BTreeMap<(Uuid, Arc<str>), usize>,
}

impl Collected {
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub fn add(
        &mut self,
        topic_id: Uuid,
        name: &Arc<str>,
        partitions: impl IntoIterator<Item = (i32, ErrorCode)>,
    ) {
        let topics = &mut self.topics;
        let place = *self.places.entry((topic_id, Arc::clone(name))).or_insert_with(|| {
            topics.push(TopicOutcome { name: Arc::clone(name), topic_id, partitions: Vec::new() });
            topics.len() - 1
        });
        topics[place].partitions.extend(partitions);
    }

    /// Everything, with what the coordinator said at the end.
    pub fn followed_by(mut self, outcomes: Outcomes) -> Outcomes {
        if self.is_empty() {
            return outcomes;
        }
        for topic in outcomes {
            self.add(topic.topic_id, &topic.name, topic.partitions);
        }
        self.topics
    }
}

pub fn has_partition(topic: &Topic, partition: i32) -> bool {
    usize::try_from(partition).is_ok_and(|index| index < topic.partitions.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_first_and_a_topic_is_named_once() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut collected = Collected::default();
        collected.add(Uuid::ZERO, &a, [(9, ErrorCode::UnknownTopicOrPartition)]);
        let outcome = |name: &Arc<str>, index| TopicOutcome {
            name: Arc::clone(name),
            topic_id: Uuid::ZERO,
            partitions: vec![(index, ErrorCode::None)],
        };
        let all = collected.followed_by(vec![outcome(&b, 0), outcome(&a, 1)]);
        let refused = (9, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(all[0].partitions, [refused, (1, ErrorCode::None)]);
        assert_eq!((&*all[1].name, all.len()), ("b", 2));
    }
}
