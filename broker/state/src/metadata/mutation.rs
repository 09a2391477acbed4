//! What a command takes of the quota on changes of partitions (`controller_mutation_rate`, KIP-599).

use super::image::Image;
use super::topics::{MorePartitions, NewTopic, TopicRef, check_name};
use crate::config::broker::Settings;

/// One topic of a command that creates or deletes partitions.
#[derive(Debug, Clone, Copy)]
pub enum Mutation<'a> {
    Create(&'a NewTopic),
    Grow(&'a MorePartitions),
    Delete(&'a TopicRef),
}

impl Mutation<'_> {
    /// The partitions that it would create or delete. None when it is refused for its name or its count anyway, which
    /// takes nothing of a quota.
    pub fn partitions(self, image: &Image, settings: &Settings) -> Option<usize> {
        match self {
            Mutation::Create(new) => created(image, new, settings),
            Mutation::Grow(more) => added(image, more),
            Mutation::Delete(topic) => topic.find(image).map(|topic| topic.partitions.len()),
        }
    }
}

fn created(image: &Image, new: &NewTopic, settings: &Settings) -> Option<usize> {
    if check_name(&new.name).is_err() || image.topic_by_name(&new.name).is_some() {
        return None;
    }
    match (new.assignments.len(), new.num_partitions) {
        (0, -1) => usize::try_from(settings.num_partitions).ok(),
        (0, count) => usize::try_from(count).ok(),
        (count, _) => Some(count),
    }
}

fn added(image: &Image, more: &MorePartitions) -> Option<usize> {
    let present = image.topic_by_name(&more.name)?.partitions.len();
    usize::try_from(more.count).ok()?.checked_sub(present).filter(|added| *added > 0)
}

#[cfg(test)]
mod tests {
    use milena_protocol::types::Uuid;

    use super::*;
    use crate::metadata::brokers::tests::image_with_brokers;
    use crate::metadata::command::{Command, Context, decide};
    use crate::metadata::image::Applied;
    use crate::metadata::topics::CreateTopics;

    const ID: Uuid = Uuid::from_u128(7);

    fn new(name: &str, num_partitions: i32, assigned: i32) -> NewTopic {
        let assignments = (0..assigned).map(|index| (index, vec![1])).collect();
        NewTopic {
            name: name.to_owned(),
            topic_id: ID,
            num_partitions,
            replication_factor: 1,
            assignments,
            configs: Vec::new(),
        }
    }

    /// With a topic `there` of three partitions.
    fn image(settings: &Settings) -> Image {
        let mut image = image_with_brokers(&[1]);
        let topics = vec![new("there", 3, 0)];
        let command = Command::CreateTopics(CreateTopics { topics, validate_only: false });
        let decision = decide(&image, &command, Context { now_ms: 0, settings });
        image.begin_entry(Applied { index: 100, term: 1 });
        decision.records.iter().for_each(|record| image.apply(record).expect("fits"));
        image
    }

    #[test]
    fn partitions_that_come_and_go_count_and_what_is_refused_does_not() {
        let settings = Settings { num_partitions: 4, ..Settings::own_defaults() };
        let image = image(&settings);
        let check = |mutation: Mutation<'_>, partitions| {
            assert_eq!(mutation.partitions(&image, &settings), partitions, "{mutation:?}");
        };
        check(Mutation::Create(&new("new", 2, 0)), Some(2));
        check(Mutation::Create(&new("new", -1, 0)), Some(4));
        check(Mutation::Create(&new("new", -1, 5)), Some(5));
        check(Mutation::Create(&new("new", -2, 0)), None);
        check(Mutation::Create(&new("there", 2, 0)), None);
        check(Mutation::Create(&new("no name!", 2, 0)), None);
        let grow = |name: &str, count| MorePartitions { name: name.to_owned(), count, assignments: None };
        check(Mutation::Grow(&grow("there", 5)), Some(2));
        check(Mutation::Grow(&grow("there", 3)), None);
        check(Mutation::Grow(&grow("there", -1)), None);
        check(Mutation::Grow(&grow("nowhere", 5)), None);
        check(Mutation::Delete(&TopicRef::Name("there".to_owned())), Some(3));
        check(Mutation::Delete(&TopicRef::Id(ID)), Some(3));
        check(Mutation::Delete(&TopicRef::Name("nowhere".to_owned())), None);
        check(Mutation::Delete(&TopicRef::Id(Uuid::from_u128(8))), None);
    }
}
