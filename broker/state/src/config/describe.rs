//! DescribeConfigs: every property of a resource with its value and where the value comes from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::broker::{self, Settings, TOPIC_DURATIONS, TOPIC_SYNONYMS};
use super::definition::{Definition, Kind, Update};
use super::replication::NEVER_STATIC;
use super::{client_metrics, group, topic};

/// Kafka's numbers of where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    ClientMetrics = 7,
    Group = 8,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Source::StaticBroker => "STATIC_BROKER_CONFIG",
            Source::Default => "DEFAULT_CONFIG",
            Source::ClientMetrics => "CLIENT_METRICS_CONFIG",
            Source::Group => "GROUP_CONFIG",
        }
    }
}

/// One property as DescribeConfigs answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: Cow<'static, str>,
    /// None for `null` and for what is sensitive.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    pub is_sensitive: bool,
    pub kind: Kind,
    pub documentation: &'static str,
    /// All places that have a value, the one in force first.
    pub synonyms: Vec<Synonym>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

impl Kind {
    /// Kafka's number of the type in DescribeConfigs.
    pub fn number(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }
}

/// What a broker property can be set by, the strongest last looked at first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Static properties of this broker.
    pub settings: &'a Settings,
    /// Dynamic values of all brokers.
    pub cluster: &'a BTreeMap<String, String>,
    /// Dynamic values of this broker.
    pub broker: &'a BTreeMap<String, String>,
}

/// Rows of a topic; `keys` none means all.
pub fn topic(overrides: &BTreeMap<String, String>, layers: Layers<'_>, keys: Option<&[String]>) -> Vec<Row> {
    let durations = durations(layers);
    wanted(topic::TABLE, keys)
        .map(|row| {
            let mut synonyms = Vec::new();
            if let Some(value) = overrides.get(row.name) {
                synonyms.push(synonym(row, row.name, value, Source::DynamicTopic));
            }
            if let Some(name) = broker_synonym(row.name)
                && let Some(definition) = broker::definition(name)
            {
                synonyms.extend(broker_synonyms(definition, layers));
            }
            let fallback = durations.get(row.name).map(String::as_str).or(row.default);
            finish(row, synonyms, fallback, false)
        })
        .collect()
}

/// Rows of this broker; `keys` none means all.
pub fn broker(layers: Layers<'_>, keys: Option<&[String]>) -> Vec<Row> {
    let is_set =
        |row: &Definition| [layers.broker, layers.cluster].iter().any(|set| set.contains_key(row.name));
    let shown = wanted(broker::TABLE, keys).filter(|row| !NEVER_STATIC.contains(&row.name) || is_set(row));
    let of_all = shown.map(|row| {
        let synonyms = broker_synonyms(row, layers);
        finish(row, synonyms, row.default, row.update == Update::ReadOnly)
    });
    let places = [layers.broker, layers.cluster, &layers.settings.properties];
    let of_listeners = of_listeners(places, keys).map(|(name, row)| {
        let own = own_synonyms(row, name, layers).into_iter();
        // What bounds every listener bounds this one where nothing else does.
        let synonyms = own.chain(own_synonyms(row, row.name, layers)).collect();
        Row { name: name.to_owned().into(), ..finish(row, synonyms, row.default, true) }
    });
    of_all.chain(of_listeners).collect()
}

/// Properties of single listeners that are set somewhere, with the row of all. Kafka calls them read-only, and has them
/// changed all the same.
fn of_listeners<'a>(
    places: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
    keys: Option<&'a [String]>,
) -> impl Iterator<Item = (&'a str, &'static Definition)> {
    let names: BTreeSet<&str> =
        places.into_iter().flat_map(|values| values.keys()).map(String::as_str).collect();
    let keys = keys.filter(|keys| !keys.is_empty());
    let names =
        names.into_iter().filter(move |name| keys.is_none_or(|keys| keys.iter().any(|key| key == name)));
    names.filter_map(|name| Some((name, broker::definition(name).filter(|row| row.name != name)?)))
}

/// Rows of the values that are set for all brokers.
pub fn all_brokers(cluster: &BTreeMap<String, String>, keys: Option<&[String]>) -> Vec<Row> {
    let of_all = wanted(broker::TABLE, keys).map(|row| (row.name, row));
    let set = of_all.chain(of_listeners([cluster], keys)).filter_map(|(name, row)| {
        let synonyms = vec![synonym(row, name, cluster.get(name)?, Source::DynamicDefaultBroker)];
        let read_only = row.update == Update::ReadOnly || row.name != name;
        let finished = finish(row, synonyms, None, read_only);
        Some(Row { name: name.to_owned().into(), ..finished })
    });
    set.collect()
}

/// Rows of a group; `keys` none means all.
pub fn group(overrides: &BTreeMap<String, String>, layers: Layers<'_>, keys: Option<&[String]>) -> Vec<Row> {
    wanted(group::TABLE, keys)
        .map(|row| {
            let own = overrides.get(row.name).map(|value| synonym(row, row.name, value, Source::Group));
            let name = group::broker_synonym(row.name);
            let of_broker = match broker::definition(&name) {
                Some(definition) => broker_synonyms(definition, layers),
                None => {
                    row.default.map(|value| synonym(row, &name, value, Source::Default)).into_iter().collect()
                }
            };
            finish(row, own.into_iter().chain(of_broker).collect(), row.default, false)
        })
        .collect()
}

/// Rows of a client metrics subscription; `keys` none means all.
pub fn client_metrics(overrides: &BTreeMap<String, String>, keys: Option<&[String]>) -> Vec<Row> {
    wanted(client_metrics::TABLE, keys)
        .map(|row| {
            let own =
                overrides.get(row.name).map(|value| synonym(row, row.name, value, Source::ClientMetrics));
            finish(row, own.into_iter().collect(), row.default, false)
        })
        .collect()
}

/// Neither no keys nor an empty list of them leaves any row out.
fn wanted<'a>(
    table: &'static [&'static [Definition]],
    keys: Option<&'a [String]>,
) -> impl Iterator<Item = &'static Definition> + 'a {
    let mut rows: Vec<&'static Definition> = table.iter().flat_map(|rows| rows.iter()).collect();
    rows.sort_by_key(|row| row.name);
    let keys = keys.filter(|keys| !keys.is_empty());
    rows.into_iter().filter(move |row| keys.is_none_or(|keys| keys.iter().any(|key| key == row.name)))
}

fn finish(row: &'static Definition, synonyms: Vec<Synonym>, fallback: Option<&str>, read_only: bool) -> Row {
    let (value, source) = match synonyms.first() {
        Some(first) => (first.value.clone(), first.source),
        None => (hide(row, fallback), Source::Default),
    };
    Row {
        name: row.name.into(),
        value,
        source,
        read_only,
        is_sensitive: row.is_sensitive(),
        kind: row.kind,
        documentation: row.doc,
        synonyms,
    }
}

/// Every place where a broker property has a value, the strongest first. A duration that has one is
/// followed by the same duration in weaker units.
fn broker_synonyms(row: &'static Definition, layers: Layers<'_>) -> Vec<Synonym> {
    let mut synonyms = own_synonyms(row, row.name, layers);
    if !synonyms.is_empty() {
        let weaker = weaker_units(row.name).filter_map(broker::definition);
        synonyms.extend(weaker.flat_map(|row| own_synonyms(row, row.name, layers)));
    }
    synonyms
}

/// Properties for the same duration that count only when this one has no value.
fn weaker_units(name: &str) -> impl Iterator<Item = &'static str> {
    let units = TOPIC_DURATIONS.iter().map(|(_, units)| *units);
    let after = units.filter_map(move |units| {
        let at = units.iter().position(|(unit, _)| *unit == name)?;
        Some(&units[at + 1..])
    });
    after.flatten().map(|(unit, _)| *unit)
}

/// The places of a property called `name`; the default is that of its row.
fn own_synonyms(row: &'static Definition, name: &str, layers: Layers<'_>) -> Vec<Synonym> {
    let places = [
        (layers.broker, Source::DynamicBroker),
        (layers.cluster, Source::DynamicDefaultBroker),
        (&layers.settings.properties, Source::StaticBroker),
    ];
    let set =
        places.into_iter().filter_map(|(values, source)| Some(synonym(row, name, values.get(name)?, source)));
    let default = row.default.filter(|_| row.name == name);
    let default = default.map(|value| synonym(row, name, value, Source::Default));
    set.chain(default).collect()
}

fn synonym(row: &Definition, name: &str, value: &str, source: Source) -> Synonym {
    Synonym { name: name.to_owned(), value: hide(row, Some(value)), source }
}

fn hide(row: &Definition, value: Option<&str>) -> Option<String> {
    value.filter(|_| !row.is_sensitive()).map(str::to_owned)
}

/// Topic durations that the broker gives in another unit, in milliseconds.
fn durations(layers: Layers<'_>) -> BTreeMap<&'static str, String> {
    let defaults = &layers.settings.topic;
    let retention_ms = defaults.retention_ms.unwrap_or(-1);
    let pairs = [
        ("flush.ms", defaults.flush_ms),
        ("retention.ms", retention_ms),
        ("segment.jitter.ms", defaults.segment_jitter_ms),
        ("segment.ms", defaults.segment_ms),
    ];
    pairs.into_iter().map(|(name, ms)| (name, ms.to_string())).collect()
}

/// The broker property whose name Kafka shows beside a topic property.
fn broker_synonym(topic_name: &str) -> Option<&'static str> {
    let plain = TOPIC_SYNONYMS.iter().find(|(name, _)| *name == topic_name).map(|(_, broker)| *broker);
    plain.or_else(|| {
        let (_, units) = TOPIC_DURATIONS.iter().find(|(name, _)| *name == topic_name)?;
        units.first().map(|(name, _)| *name)
    })
}

#[cfg(test)]
#[path = "describe_test.rs"]
mod tests;
