//! What members of groups and administrators ask about committed offsets: requests built and answers read in one place.
//!
//! Topics go by name here, as callers know them; from version 10 of OffsetCommit and OffsetFetch on they have ids
//! instead. Whether and where to ask again is the caller's: a member has one coordinator and a generation, an
//! administrator many groups.

pub(crate) mod commit;
pub(crate) mod fetch;

use std::borrow::Cow;
use std::collections::BTreeMap;

use milena_protocol::ErrorCode;

use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

/// The last version of OffsetCommit and OffsetFetch that names topics by name.
pub(crate) const BY_NAME_UNTIL: i16 = 9;

/// Topic, partition and error code: what requests about offsets answer of each partition.
pub(crate) type Answer<'a> = (&'a Cow<'a, str>, i32, i16);

/// The partitions of each topic, each with what belongs to it, as requests have them. What is in order of the topics
/// stays so.
pub(crate) fn by_topic<'a, T>(
    partitions: impl IntoIterator<Item = (&'a PartitionKey, T)>,
) -> Vec<(&'a str, Vec<(i32, T)>)> {
    let mut topics: Vec<(&str, Vec<(i32, T)>)> = Vec::new();
    for ((topic, partition), value) in partitions {
        match topics.last_mut() {
            Some((last, of_topic)) if last == topic => of_topic.push((*partition, value)),
            _ => topics.push((topic, vec![(*partition, value)])),
        }
    }
    topics
}

/// As [`by_topic`], the partitions alone.
pub(crate) fn indexes_by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionKey>,
) -> Vec<(&'a str, Vec<i32>)> {
    let indexes = |partitions: Vec<(i32, ())>| partitions.into_iter().map(|(index, ())| index).collect();
    let topics = by_topic(partitions.into_iter().map(|key| (key, ())));
    topics.into_iter().map(|(topic, partitions)| (topic, indexes(partitions))).collect()
}

/// A result for each partition that was asked about; one that the answer leaves out has an error, as nobody said that it
/// was done. What one partition is refused for is its own: asking again for all would do the others again, and a topic
/// that is gone does not come back.
///
/// Errors: the first that concerns the coordinator, so that another is asked; doing it twice does no harm.
pub(crate) fn results<'a>(
    asked: impl IntoIterator<Item = &'a PartitionKey>,
    answers: impl IntoIterator<Item = Answer<'a>>,
    what: &str,
) -> Result<BTreeMap<PartitionKey, Result<()>>> {
    let unanswered = |key: &PartitionKey| {
        Error::Corrupt(format!("{what} in {}-{}: the answer leaves it out", key.0, key.1))
    };
    let mut results: BTreeMap<PartitionKey, Result<()>> =
        asked.into_iter().map(|key| (key.clone(), Err(unanswered(key)))).collect();
    for (topic, partition, code) in answers {
        let checked = check(code, || format!("{what} in {topic}-{partition}"))?;
        results.entry((topic.to_string(), partition)).and_modify(|result| *result = checked);
    }
    Ok(results)
}

/// The result of one partition.
///
/// Errors: what concerns the coordinator: that no other partition fares better.
fn check(code: i16, context: impl FnOnce() -> String) -> Result<Result<()>> {
    match Error::check(code, None, context) {
        Err(error) if concerns_the_coordinator(&error) => Err(error),
        checked => Ok(checked),
    }
}

/// Whether a partition has this error only because its broker cannot answer for the group now. A commit that the
/// coordinator's own log did not take in time is one of those.
fn concerns_the_coordinator(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::RequestTimedOut
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_stand_below_their_topics() {
        let keys = [("a", 0), ("a", 2), ("b", 1)].map(|(topic, partition)| (topic.to_owned(), partition));
        let topics = by_topic(keys.iter().zip(["x", "y", "z"]));
        assert_eq!(topics, [("a", vec![(0, "x"), (2, "y")]), ("b", vec![(1, "z")])]);
    }

    #[test]
    fn only_what_was_asked_for_has_a_result() {
        let asked = [("t".to_owned(), 0)];
        let topic = Cow::Borrowed("t");
        let results = results(&asked, [(&topic, 0, 0), (&topic, 7, 0)], "it").expect("no coordinator moved");
        assert_eq!(results.keys().collect::<Vec<_>>(), [&asked[0]]);
    }

    #[test]
    fn a_coordinator_that_cannot_answer_is_no_matter_of_partitions() {
        let (asked, topic) = ([("t".to_owned(), 0)], Cow::Borrowed("t"));
        let refused = |code: ErrorCode| results(&asked, [(&topic, 0, code.as_i16())], "it").is_err();
        assert!(refused(ErrorCode::NotCoordinator) && refused(ErrorCode::CoordinatorLoadInProgress));
        // Both may be retried as well, but only for the partition.
        assert!(!refused(ErrorCode::UnknownTopicOrPartition) && !refused(ErrorCode::UnstableOffsetCommit));
    }
}
