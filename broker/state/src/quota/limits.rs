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

/// Every quota of users and client ids, by what it bounds. Those of addresses act on connections and are not in here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    by_key: BTreeMap<Key, Kind>,
}

/// The quotas of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kind {
    users: BTreeMap<String, Scope>,
    default_user: Scope,
    /// Of client ids alone, whoever the user is.
    any_user: Scope,
}

/// The quotas of one user, of the default user, or of none.
#[derive(Debug, Clone, Default, PartialEq)]
struct Scope {
    clients: BTreeMap<String, f64>,
    default_client: Option<f64>,
    /// Of all clients together.
    whole: Option<f64>,
}

impl Limits {
    pub fn of(image: &Image) -> Self {
        let mut limits = Self::default();
        for (entity, quotas) in image.client_quotas() {
            quotas.iter().for_each(|(key, value)| limits.set(*key, entity, value.get()));
        }
        limits
    }

    fn set(&mut self, key: Key, entity: &Entity, limit: f64) {
        if entity.user.is_none() && entity.client_id.is_none() {
            return;
        }
        let kind = self.by_key.entry(key).or_default();
        let scope = match &entity.user {
            Some(Name::Exactly(user)) => kind.users.entry(user.clone()).or_default(),
            Some(Name::Default) => &mut kind.default_user,
            None => &mut kind.any_user,
        };
        match &entity.client_id {
            Some(Name::Exactly(client_id)) => _ = scope.clients.insert(client_id.clone(), limit),
            Some(Name::Default) => scope.default_client = Some(limit),
            None => scope.whole = Some(limit),
        }
    }

    /// Whether anybody has a quota of that kind.
    pub fn has(&self, key: Key) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The quota of that kind that acts on `subject`, and who shares it. Allocates only when there is one.
    pub fn find(&self, key: Key, subject: Subject<'_>) -> Option<(f64, Bucket)> {
        let kind = self.by_key.get(&key)?;
        let of_user = |scope: &Scope| scope.find(subject.client_id).map(|found| (true, found));
        let of_anybody = || kind.any_user.find(subject.client_id).map(|found| (false, found));
        let by_name = kind.users.get(subject.user).and_then(of_user);
        let found = by_name.or_else(|| of_user(&kind.default_user)).or_else(of_anybody)?;
        let (by_user, (limit, by_client)) = found;
        Some((limit, subject.bucket(by_user, by_client)))
    }
}

impl Scope {
    /// The quota that acts on a client, and whether it is the client's own.
    fn find(&self, client_id: &str) -> Option<(f64, bool)> {
        let own = || self.clients.get(client_id).copied().or(self.default_client);
        let own = if client_id.is_empty() { None } else { own() };
        own.map(|limit| (limit, true)).or(self.whole.map(|limit| (limit, false)))
    }
}

impl Subject<'_> {
    fn bucket(self, by_user: bool, by_client: bool) -> Bucket {
        Bucket {
            user: by_user.then(|| self.user.to_owned()),
            client_id: by_client.then(|| self.client_id.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(entities: &[Entity]) -> Limits {
        let mut limits = Limits::default();
        for (at, entity) in entities.iter().enumerate() {
            limits.set(Key::ProducerByteRate, entity, at as f64);
        }
        limits
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

    #[test]
    fn quotas_of_addresses_bound_no_client() {
        let mut limits = limits(&[]);
        limits.set(Key::ConnectionCreationRate, &Entity::ip(Name::Default), 1.0);
        assert!(!limits.has(Key::ConnectionCreationRate));
        assert_eq!(limits.find(Key::ConnectionCreationRate, SUBJECT), None);
    }
}
