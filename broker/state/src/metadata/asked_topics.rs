//! Which topics a Metadata request asks for.

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

/// Versions 10 and 11 have a field for ids, and from this one on it may be used.
const IDS_FROM: i16 = 12;

/// What is asked for, each topic once.
#[derive(Debug, PartialEq, Eq)]
pub enum AskedTopics<'a> {
    All,
    /// None is a topic that has neither name nor id.
    Names(BTreeSet<Option<&'a str>>),
    /// Where one id is given, ids alone count: a name beside an id, or in another element, is not looked at.
    Ids(BTreeSet<Uuid>),
}

impl<'a> AskedTopics<'a> {
    /// Of the elements of a request, none when it has null for a list.
    ///
    /// Errors: `INVALID_REQUEST` for the whole request, when it uses ids in a version that does not know them.
    pub fn of(version: i16, topics: Option<&[(Option<&'a str>, Uuid)]>) -> Result<Self, ErrorCode> {
        let Some(topics) = topics else { return Ok(Self::All) };
        // The oldest version has no null.
        if topics.is_empty() && version == 0 {
            return Ok(Self::All);
        }
        let ids: BTreeSet<Uuid> = topics.iter().map(|(_, id)| *id).filter(|id| *id != Uuid::ZERO).collect();
        let nameless = topics.iter().any(|(name, _)| name.is_none());
        if version < IDS_FROM && (nameless || !ids.is_empty()) {
            return Err(ErrorCode::InvalidRequest);
        }
        if ids.is_empty() {
            return Ok(Self::Names(topics.iter().map(|(name, _)| *name).collect()));
        }
        Ok(Self::Ids(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_bytes([7; 16]);

    fn names<'a>(names: &[&'a str]) -> AskedTopics<'a> {
        AskedTopics::Names(names.iter().map(|name| Some(*name)).collect())
    }

    #[test]
    fn no_list_asks_for_all_and_in_the_oldest_version_an_empty_one_does() {
        for version in 0..=13 {
            assert_eq!(AskedTopics::of(version, None), Ok(AskedTopics::All), "{version}");
            let expected = if version == 0 { AskedTopics::All } else { names(&[]) };
            assert_eq!(AskedTopics::of(version, Some(&[])), Ok(expected), "{version}");
        }
    }

    #[test]
    fn topic_that_stands_twice_is_asked_for_once() {
        let twice = [(Some("a"), Uuid::ZERO), (Some("a"), Uuid::ZERO)];
        assert_eq!(AskedTopics::of(9, Some(&twice)), Ok(names(&["a"])));
        let twice = [(None, ID), (None, ID)];
        assert_eq!(AskedTopics::of(12, Some(&twice)), Ok(AskedTopics::Ids([ID].into())));
    }

    #[test]
    fn ids_are_refused_before_version_12_and_then_count_alone() {
        for asked in [(Some("a"), ID), (None, ID), (None, Uuid::ZERO)] {
            for version in [10, 11] {
                let found = AskedTopics::of(version, Some(&[asked]));
                assert_eq!(found, Err(ErrorCode::InvalidRequest), "{version} {asked:?}");
            }
        }
        let mixed = [(Some("a"), ID), (Some("b"), Uuid::ZERO)];
        assert_eq!(AskedTopics::of(12, Some(&mixed)), Ok(AskedTopics::Ids([ID].into())));
    }

    #[test]
    fn topic_without_name_and_id_is_none_among_names() {
        let asked = [(None, Uuid::ZERO), (Some("a"), Uuid::ZERO)];
        assert_eq!(AskedTopics::of(12, Some(&asked)), Ok(AskedTopics::Names([None, Some("a")].into())));
    }
}
