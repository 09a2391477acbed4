//! Which topics a page of DescribeTopicPartitions goes through (KIP-966).

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;

use super::image::Image;

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

/// Names in order, from the cursor's topic on; nothing asked for means every topic there is.
///
/// Errors: `INVALID_REQUEST` when the cursor is at a topic that was not asked for, or at no partition. When all are
/// asked for its topic may have been deleted since the last page.
pub fn names<'a>(
    image: &'a Image,
    asked: &BTreeSet<&'a str>,
    cursor: Option<Place<'_>>,
) -> Result<Vec<&'a str>, ErrorCode> {
    let first = cursor.map_or("", |cursor| cursor.topic);
    if let Some(cursor) = cursor {
        let lost = !asked.is_empty() && !asked.contains(cursor.topic);
        if lost || cursor.partition < 0 {
            return Err(ErrorCode::InvalidRequest);
        }
    }
    if asked.is_empty() {
        return Ok(image.topics().map(|topic| &*topic.name).filter(|name| *name >= first).collect());
    }
    Ok(asked.iter().copied().filter(|name| *name >= first).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &[&str], cursor: Option<(&str, i32)>, expected: Result<&[&str], ErrorCode>) {
        let image = Image::default();
        let cursor = cursor.map(|(topic, partition)| Place { topic, partition });
        let found = names(&image, &asked.iter().copied().collect(), cursor);
        assert_eq!(found, expected.map(<[&str]>::to_vec), "{asked:?} {cursor:?}");
    }

    #[test]
    fn page_begins_at_the_topic_of_the_cursor() {
        check(&["b", "a", "c", "b"], None, Ok(&["a", "b", "c"]));
        check(&["b", "a", "c"], Some(("b", 0)), Ok(&["b", "c"]));
        check(&["b", "a", "c"], Some(("b", 99)), Ok(&["b", "c"]));
    }

    #[test]
    fn cursor_must_be_at_a_topic_that_was_asked_for_and_at_a_partition() {
        for cursor in [("", 0), ("aa", 0), ("z", 0), ("b", -1)] {
            check(&["b", "a"], Some(cursor), Err(ErrorCode::InvalidRequest));
        }
        check(&[], Some(("b", -1)), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn cursor_in_all_topics_may_be_at_one_that_is_gone() {
        check(&[], Some(("gone", 0)), Ok(&[]));
    }
}
