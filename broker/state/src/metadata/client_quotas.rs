//! Client quotas as they are stored (KIP-546): what may be set on whom, and which of it a filter finds.
//!
//! An alteration acts as a whole or not at all, each for itself. As in Kafka an entity that stands in a request twice is
//! refused, although its first alteration is carried out; and a value that is no number is accepted.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;

use super::batch_size::BatchSize;
use super::command::{ApiError, Decision, Reply};
use super::image::Image;
use super::record::{ClientQuotaRecord, Record};
use crate::quota::entity::EntityType;
use crate::quota::{Entity, Key, Name, Value};

/// An entity as a request names it: types with names, of which null is the default.
pub type AskedEntity = BTreeMap<String, Option<String>>;

/// What a request asks of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Alteration {
    pub entity: AskedEntity,
    /// Keys with their new values; none removes one.
    pub changes: Vec<(String, Option<f64>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlterClientQuotas {
    pub alterations: Vec<Alteration>,
    pub validate_only: bool,
    /// Names among the addresses that are no address and that nobody could resolve.
    pub unresolved: BTreeSet<String>,
}

/// One for each entity of the request, in the order in which they first appear.
pub type Outcomes = Vec<(AskedEntity, Result<(), ApiError>)>;

/// Errors of an entity: `INVALID_REQUEST`, `POLICY_VIOLATION`.
pub fn alter(image: &Image, command: &AlterClientQuotas) -> Decision {
    let mut records = Vec::new();
    let mut size = BatchSize::default();
    let mut outcomes: Outcomes = Vec::new();
    let mut places: BTreeMap<&AskedEntity, usize> = BTreeMap::new();
    for alteration in &command.alterations {
        let entity = &alteration.entity;
        if let Some(place) = places.get(entity) {
            outcomes[*place].1 = Err(repeated(entity));
            continue;
        }
        let outcome = alter_one(image, alteration, &command.unresolved).and_then(|more| {
            size = size.with(&more)?;
            records.extend(more);
            Ok(())
        });
        places.insert(entity, outcomes.len());
        outcomes.push((entity.clone(), outcome));
    }
    if command.validate_only {
        records.clear();
    }
    Decision::new(records, Reply::AlterClientQuotas(outcomes))
}

fn alter_one(
    image: &Image,
    asked: &Alteration,
    unresolved: &BTreeSet<String>,
) -> Result<Vec<Record>, ApiError> {
    let mut seen = BTreeSet::new();
    if !asked.changes.iter().all(|(name, _)| seen.insert(name)) {
        return Err(repeated(&asked.entity));
    }
    let entity = check_entity(&asked.entity, unresolved)?;
    let present = image.client_quota(&entity);
    let mut records = Vec::new();
    for (name, value) in &asked.changes {
        let key = Key::from_name(name);
        let Some(value) = value else {
            // Removing what is not there is no error, whatever it is called.
            records.extend(key.filter(|key| present.contains_key(key)).map(|key| record(&entity, key, None)));
            continue;
        };
        let key = key
            .filter(|key| acts_on(*key, &entity))
            .ok_or_else(|| request(format!("Invalid configuration key {name}")))?;
        check_value(key, *value)?;
        let value = Value::new(*value);
        if present.get(&key) != Some(&value) {
            records.push(record(&entity, key, Some(value)));
        }
    }
    Ok(records)
}

fn record(entity: &Entity, key: Key, value: Option<Value>) -> Record {
    Record::ClientQuota(ClientQuotaRecord { entity: entity.clone(), key, value })
}

fn check_entity(asked: &AskedEntity, unresolved: &BTreeSet<String>) -> Result<Entity, ApiError> {
    let mut entity = Entity::default();
    for (type_name, name) in asked {
        let entity_type = EntityType::from_name(type_name)
            .ok_or_else(|| request(format!("Unhandled client quota entity type: {type_name}")))?;
        if name.as_deref() == Some("") {
            return Err(request(format!("Empty {type_name} not supported")));
        }
        entity.set_part(entity_type, Name::of(name.as_deref()));
    }
    match &entity {
        Entity { user: None, client_id: None, ip: None } => Err(request("Invalid empty client quota entity")),
        Entity { user: None, client_id: None, ip: Some(Name::Exactly(ip)) } if unresolved.contains(ip) => {
            Err(request(format!("{ip} is not a valid IP or resolvable host.")))
        }
        Entity { user: None, client_id: None, .. } | Entity { ip: None, .. } => Ok(entity),
        _ => Err(request(
            "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
        )),
    }
}

/// Addresses are bounded in connections, all others in everything else.
fn acts_on(key: Key, entity: &Entity) -> bool {
    (key == Key::ConnectionCreationRate) == entity.ip.is_some()
}

/// The bounds of Kafka's types for these keys, compared as it compares them.
fn check_value(key: Key, value: f64) -> Result<(), ApiError> {
    /// What rounding may leave of a whole number.
    const FRACTION_MAX: f64 = 1e-6;
    if value <= 0.0 {
        return Err(request(format!("Quota {key} must be greater than 0")));
    }
    let (most, of) = match key {
        Key::ConnectionCreationRate => (f64::from(i32::MAX), "an INT"),
        Key::ProducerByteRate | Key::ConsumerByteRate => (i64::MAX as f64, "a LONG"),
        Key::ControllerMutationRate | Key::RequestPercentage => return Ok(()),
    };
    if value > most {
        return Err(request(format!("Proposed value for {key} is too large for {of}.")));
    }
    if (value % 1.0).abs() > FRACTION_MAX {
        return Err(request(format!("{key} cannot be a fractional value.")));
    }
    Ok(())
}

fn repeated(entity: &AskedEntity) -> ApiError {
    let parts = entity.iter().map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null")));
    let parts = parts.collect::<Vec<_>>().join(", ");
    request(format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{parts}}})"))
}

/// How a filter looks at one type of entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub entity_type: String,
    /// Kafka's number: 0 this name, 1 the default, 2 any.
    pub match_type: i8,
    pub name: Option<String>,
}

/// A filter that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// None: any name of that type.
    wanted: BTreeMap<EntityType, Option<Name>>,
    /// Entities with other types besides do not match.
    strict: bool,
}

impl Filter {
    /// Errors: `INVALID_REQUEST`; `UNSUPPORTED_VERSION` for a type that nobody knows.
    pub fn new(components: &[Component], strict: bool) -> Result<Self, ApiError> {
        let mut wanted = BTreeMap::new();
        for component in components {
            let Component { entity_type: type_name, match_type, name } = component;
            if type_name.is_empty() {
                return Err(request("Invalid empty entity type."));
            }
            let entity_type = EntityType::from_name(type_name).ok_or_else(|| {
                let message = format!("Unsupported entity type {type_name}");
                ApiError::new(ErrorCode::UnsupportedVersion, message)
            })?;
            if wanted.contains_key(&entity_type) {
                let message = format!("Entity type {type_name} cannot appear more than once in the filter.");
                return Err(request(message));
            }
            wanted.insert(entity_type, matched(*match_type, name.as_deref())?);
        }
        if wanted.contains_key(&EntityType::Ip) && wanted.len() > 1 {
            return Err(request(
                "Invalid entity filter component combination. IP filter component should not be used with user or \
                 clientId filter component.",
            ));
        }
        Ok(Self { wanted, strict })
    }

    pub fn matches(&self, entity: &Entity) -> bool {
        let fits = |(entity_type, name): (&EntityType, &Option<Name>)| {
            let part = entity.part(*entity_type);
            part.is_some_and(|part| name.as_ref().is_none_or(|name| name == part))
        };
        self.wanted.iter().all(fits) && (!self.strict || entity.parts().count() == self.wanted.len())
    }
}

/// The name that is wanted, none for any.
fn matched(match_type: i8, name: Option<&str>) -> Result<Option<Name>, ApiError> {
    match (match_type, name) {
        (0, Some(name)) => Ok(Some(Name::exactly(name))),
        (1, None) => Ok(Some(Name::Default)),
        (2, None) => Ok(None),
        (0, None) => Err(request("Request specified MATCH_TYPE_EXACT, but set match string to null.")),
        (1, Some(_)) => {
            Err(request("Request specified MATCH_TYPE_DEFAULT, but also specified a match string."))
        }
        (2, Some(_)) => {
            Err(request("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."))
        }
        _ => Err(request(format!("Unknown match type {match_type}"))),
    }
}

fn request(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
#[path = "client_quotas_test.rs"]
mod tests;
