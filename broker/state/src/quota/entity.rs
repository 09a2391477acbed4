//! Whom a quota is set on, and what it bounds.

use std::fmt;

/// A name, or everybody who has no quota by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Default,
    Exactly(String),
}

/// Whom a quota is set on: a user, a client id, both together, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Entity {
    pub client_id: Option<Name>,
    pub ip: Option<Name>,
    pub user: Option<Name>,
}

/// Kafka's entity types, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityType {
    ClientId,
    Ip,
    User,
}

/// What a quota bounds. The numbers stand in metadata records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Key {
    /// Connections that an address opens, per second.
    ConnectionCreationRate = 0,
    /// Bytes of fetched records, per second.
    ConsumerByteRate = 1,
    /// Partitions that are created or deleted, per second.
    ControllerMutationRate = 2,
    /// Bytes of produce requests, per second.
    ProducerByteRate = 3,
    /// Time of the reactors: 100 is one of them the whole time.
    RequestPercentage = 4,
}

/// The value of a quota as it was set. Two of them are equal when their bits are, so that NaN, which Kafka accepts and
/// nobody ever exceeds, is itself.
#[derive(Debug, Clone, Copy)]
pub struct Value(f64);

impl EntityType {
    pub const ALL: [EntityType; 3] = [EntityType::ClientId, EntityType::Ip, EntityType::User];

    pub fn name(self) -> &'static str {
        match self {
            EntityType::ClientId => "client-id",
            EntityType::Ip => "ip",
            EntityType::User => "user",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Key {
    pub const ALL: [Key; 5] = [
        Key::ConnectionCreationRate,
        Key::ConsumerByteRate,
        Key::ControllerMutationRate,
        Key::ProducerByteRate,
        Key::RequestPercentage,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Key::ConnectionCreationRate => "connection_creation_rate",
            Key::ConsumerByteRate => "consumer_byte_rate",
            Key::ControllerMutationRate => "controller_mutation_rate",
            Key::ProducerByteRate => "producer_byte_rate",
            Key::RequestPercentage => "request_percentage",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|key| *key as u8 == number)
    }
}

impl Value {
    pub fn new(value: f64) -> Self {
        Self(value)
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Value {}

impl Entity {
    pub fn client_id(name: Name) -> Self {
        Self { client_id: Some(name), ..Self::default() }
    }

    pub fn user(name: Name) -> Self {
        Self { user: Some(name), ..Self::default() }
    }

    pub fn ip(name: Name) -> Self {
        Self { ip: Some(name), ..Self::default() }
    }

    pub fn user_and_client_id(user: Name, client_id: Name) -> Self {
        Self { user: Some(user), client_id: Some(client_id), ip: None }
    }

    pub fn part(&self, entity_type: EntityType) -> Option<&Name> {
        match entity_type {
            EntityType::ClientId => self.client_id.as_ref(),
            EntityType::Ip => self.ip.as_ref(),
            EntityType::User => self.user.as_ref(),
        }
    }

    pub fn set_part(&mut self, entity_type: EntityType, name: Name) {
        let part = match entity_type {
            EntityType::ClientId => &mut self.client_id,
            EntityType::Ip => &mut self.ip,
            EntityType::User => &mut self.user,
        };
        *part = Some(name);
    }

    /// Its types and names, in the order of the types.
    pub fn parts(&self) -> impl Iterator<Item = (EntityType, &Name)> {
        EntityType::ALL.into_iter().filter_map(|one| Some((one, self.part(one)?)))
    }
}

impl Name {
    pub fn exactly(name: impl Into<String>) -> Self {
        Self::Exactly(name.into())
    }

    /// As requests write it: null is the default.
    pub fn of(name: Option<&str>) -> Self {
        name.map_or(Self::Default, Self::exactly)
    }

    pub fn as_option(&self) -> Option<&str> {
        match self {
            Name::Default => None,
            Name::Exactly(name) => Some(name),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_key() {
        for key in Key::ALL {
            assert_eq!(Key::from_name(key.name()), Some(key));
            assert_eq!(Key::from_number(key as u8), Some(key));
        }
        assert!(Key::ALL.windows(2).all(|pair| pair[0].name() < pair[1].name()));
        assert_eq!((Key::from_name("byte_rate"), Key::from_number(5)), (None, None));
        assert!(EntityType::ALL.iter().all(|one| EntityType::from_name(one.name()) == Some(*one)));
    }

    #[test]
    fn value_that_is_no_number_equals_itself() {
        assert_eq!(Value::new(f64::NAN), Value::new(f64::NAN));
        assert_ne!(Value::new(1.0), Value::new(2.0));
    }
}
