//! Which quota acts on a client: the first that is found, from user and client id together to the default client id.
//!
//! Clients that did not log in are the user ANONYMOUS, as in Kafka, and quotas of that user and of the default user act
//! on them. An empty client id belongs to no client-id quota.

use std::collections::BTreeMap;

use super::entity::{Entity, Key, Name};
use crate::metadata::Image;

/// The user of connections without authentication.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    pub user: &'a str,
    pub client_id: &'a str,
}

/// Who shares the measure of a quota: all clients of a user, all users of a client id, or one client of a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    pub user: Option<String>,
    pub client_id: Option<String>,
}

/// Every quota that is set, by what it bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    by_key: BTreeMap<Key, BTreeMap<Entity, f64>>,
}

impl Limits {
    pub fn of(image: &Image) -> Self {
        let mut limits = Self::default();
        for (entity, quotas) in image.client_quotas() {
            for (key, value) in quotas {
                limits.by_key.entry(*key).or_default().insert(entity.clone(), value.get());
            }
        }
        limits
    }

    /// Whether anybody has a quota of that kind.
    pub fn has(&self, key: Key) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The quota of that kind that acts on `subject`, and who shares it.
    pub fn find(&self, key: Key, subject: Subject<'_>) -> Option<(f64, Bucket)> {
        let set = self.by_key.get(&key)?;
        let user = || Name::exactly(subject.user);
        let client_id = || Name::exactly(subject.client_id);
        let both = |user: Name, client_id: Name| Entity::user_and_client_id(user, client_id);
        let candidates: [&dyn Fn() -> Entity; 8] = [
            &|| both(user(), client_id()),
            &|| both(user(), Name::Default),
            &|| Entity::user(user()),
            &|| both(Name::Default, client_id()),
            &|| both(Name::Default, Name::Default),
            &|| Entity::user(Name::Default),
            &|| Entity::client_id(client_id()),
            &|| Entity::client_id(Name::Default),
        ];
        let named = |entity: &Entity| entity.client_id.is_none() || !subject.client_id.is_empty();
        let mut candidates = candidates.into_iter().map(|candidate| candidate()).filter(named);
        candidates.find_map(|entity| Some((*set.get(&entity)?, subject.bucket(&entity))))
    }

    /// The quotas of addresses by their names; the default is nobody's name.
    pub fn addresses(&self) -> impl Iterator<Item = (&Name, f64)> {
        let set = self.by_key.get(&Key::ConnectionCreationRate).into_iter().flatten();
        set.filter_map(|(entity, limit)| Some((entity.ip.as_ref()?, *limit)))
    }
}

impl Subject<'_> {
    fn bucket(self, entity: &Entity) -> Bucket {
        Bucket {
            user: entity.user.as_ref().map(|_| self.user.to_owned()),
            client_id: entity.client_id.as_ref().map(|_| self.client_id.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(entities: &[Entity]) -> Limits {
        let set = entities.iter().enumerate().map(|(at, entity)| (entity.clone(), at as f64));
        Limits { by_key: [(Key::ProducerByteRate, set.collect())].into() }
    }

    const SUBJECT: Subject<'static> = Subject { user: ANONYMOUS, client_id: "c" };

    #[test]
    fn the_nearest_quota_acts_and_names_who_shares_it() {
        let (user, client) = (|| Name::exactly(ANONYMOUS), || Name::exactly("c"));
        let both = Entity::user_and_client_id;
        let in_order = [
            both(user(), client()),
            both(user(), Name::Default),
            Entity::user(user()),
            both(Name::Default, client()),
            both(Name::Default, Name::Default),
            Entity::user(Name::Default),
            Entity::client_id(client()),
            Entity::client_id(Name::Default),
        ];
        for first in 0..in_order.len() {
            let limits = limits(&in_order[first..]);
            let (limit, bucket) = limits.find(Key::ProducerByteRate, SUBJECT).expect("found");
            assert_eq!(limit, 0.0, "the first of those from {first} on");
            assert_eq!(bucket.user.is_some(), in_order[first].user.is_some(), "{first}");
            assert_eq!(bucket.client_id.is_some(), in_order[first].client_id.is_some(), "{first}");
            assert_eq!(limits.find(Key::ConsumerByteRate, SUBJECT), None);
        }
    }

    #[test]
    fn quotas_of_others_do_not_act() {
        let others = limits(&[
            Entity::client_id(Name::exactly("other")),
            Entity::user(Name::exactly("alice")),
            Entity::user_and_client_id(Name::exactly("alice"), Name::Default),
        ]);
        assert_eq!(others.find(Key::ProducerByteRate, SUBJECT), None);
    }

    #[test]
    fn empty_client_id_has_no_quota_but_that_of_its_user() {
        let nameless = Subject { client_id: "", ..SUBJECT };
        let by_client = limits(&[
            Entity::client_id(Name::Default),
            Entity::user_and_client_id(Name::Default, Name::Default),
        ]);
        assert_eq!(by_client.find(Key::ProducerByteRate, nameless), None);
        let by_user = limits(&[Entity::user(Name::Default)]);
        let bucket = Bucket { user: Some(ANONYMOUS.to_owned()), client_id: None };
        assert_eq!(by_user.find(Key::ProducerByteRate, nameless), Some((0.0, bucket)));
    }
}
