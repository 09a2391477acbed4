//! What one property is: its row in the table, and how its text is checked.

use std::collections::BTreeSet;
use std::fmt;

/// Bytes of a value, as in Kafka.
pub const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// One property. The same row feeds validation, DescribeConfigs and the reference page.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    /// The value when nobody set one; none where Kafka says `null`.
    pub default: Option<&'static str>,
    pub valid: Valid,
    pub update: Update,
    pub acts: Acts,
    /// One sentence for the reference page and DescribeConfigs.
    pub doc: &'static str,
}

/// Kafka's configuration types. A `Password` is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Short,
    Int,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// Which values of the right type are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// `Between` or −1.
    BetweenOrMinusOne(i64, i64),
    Fraction,
    OneOf(&'static [&'static str]),
    /// Like `OneOf`, but upper and lower case are the same.
    OneOfIgnoreCase(&'static [&'static str]),
    /// Every element of the list is one of these.
    Elements(&'static [&'static str]),
    NonEmpty,
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
}

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only by a restart.
    ReadOnly,
    /// Also through AlterConfigs, for one broker.
    PerBroker,
    /// Also through AlterConfigs, for one broker or for all.
    ClusterWide,
    /// A setting of a topic, group or client-metrics subscription.
    Resource,
}

/// Whether Milena does today what the property says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    Yes,
    /// Accepted with its default only: another value would promise what does not happen.
    NotYet,
    /// Accepted with any valid value and without effect: it tunes a mechanism that Milena does not
    /// have and nothing that a client could notice depends on it.
    NoEffect,
}

/// Why a configuration is refused. Every message names the property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown property '{name}'{}", hint.as_ref().map(|h| format!("; did you mean '{h}'?")).unwrap_or_default())]
    Unknown { name: String, hint: Option<&'static str> },
    #[error("invalid value '{value}' for property {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
    /// A valid value, and not one that this cluster allows.
    #[error("{name} must be {relation} {bound}")]
    OutOfRange { name: String, relation: &'static str, bound: String },
    #[error(
        "property {name} is known but does not act yet in this version of milena: only its default ({default}) is accepted, not '{value}'"
    )]
    NotYet { name: String, value: String, default: String },
    #[error("properties {first} and {second} do not go together: {reason}")]
    Conflict { first: String, second: String, reason: String },
    #[error("property {name} is required: {reason}")]
    Missing { name: String, reason: String },
}

impl ConfigError {
    /// The same of a property that is the checked one in another place, such as of a single listener.
    pub(super) fn of_property(mut self, other: &str) -> Self {
        match &mut self {
            Self::Unknown { name, .. }
            | Self::Invalid { name, .. }
            | Self::OutOfRange { name, .. }
            | Self::NotYet { name, .. }
            | Self::Missing { name, .. } => other.clone_into(name),
            Self::Conflict { .. } => {}
        }
        self
    }
}

/// One row of a table, in the order in which it is read.
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    valid: Valid,
    update: Update,
    acts: Acts,
    doc: &'static str,
) -> Definition {
    Definition { name, kind, default, valid, update, acts, doc }
}

impl Definition {
    /// The text of the default, for messages and pages.
    pub fn default_text(&self) -> &'static str {
        self.default.unwrap_or("null")
    }

    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Checks type and range of a value, and whether it may differ from the default.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        let value = value.trim();
        if value.len() > VALUE_BYTES_MAX {
            // The value itself would make the message as long.
            let reason = format!("it has {} bytes, more than {VALUE_BYTES_MAX}", value.len());
            return Err(self.invalid("(too long)", reason));
        }
        self.check_kind(value)?;
        self.check_valid(value)?;
        if self.acts == Acts::NotYet && !self.is_default(value) {
            return Err(ConfigError::NotYet {
                name: self.name.to_owned(),
                value: self.shown(value),
                default: self.default_text().to_owned(),
            });
        }
        Ok(())
    }

    /// The value in the one spelling in which it is kept: without blanks around it and, when it is a number or a
    /// truth value, without leading zeros or signs that say nothing; each element of a list once. A value that is not valid stays what it is.
    pub fn canonical(&self, value: &str) -> String {
        let value = value.trim();
        if value.len() > VALUE_BYTES_MAX {
            return value.to_owned();
        }
        let known = match self.kind {
            Kind::Boolean => parse_bool(value).map(|truth| truth.to_string()),
            Kind::Short | Kind::Int | Kind::Long => {
                value.parse::<i64>().ok().map(|number| number.to_string())
            }
            Kind::Double => value.parse::<f64>().ok().filter(|number| number.is_finite()).map(double_text),
            Kind::List if self.valid == Valid::ThrottledReplicas => {
                Some(list(value).collect::<Vec<_>>().join(","))
            }
            Kind::List if self.has_gap(value) => None,
            Kind::List => Some(distinct(list(value)).join(",")),
            Kind::String | Kind::Class | Kind::Password => None,
        };
        known.unwrap_or_else(|| value.to_owned())
    }

    /// The value as it may appear in a message.
    fn shown(&self, value: &str) -> String {
        if self.is_sensitive() { "(hidden)".to_owned() } else { value.to_owned() }
    }

    pub fn invalid(&self, value: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { name: self.name.to_owned(), value: self.shown(value), reason: reason.into() }
    }

    fn check_kind(&self, value: &str) -> Result<(), ConfigError> {
        let number = |ok: bool, what: &str| {
            if ok { Ok(()) } else { Err(self.invalid(value, format!("it is not {what}"))) }
        };
        match self.kind {
            Kind::Boolean => number(parse_bool(value).is_some(), "true or false"),
            Kind::Short => number(value.parse::<i16>().is_ok(), "a 16-bit integer"),
            Kind::Int => number(value.parse::<i32>().is_ok(), "a 32-bit integer"),
            Kind::Long => number(value.parse::<i64>().is_ok(), "a 64-bit integer"),
            Kind::Double => number(value.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
            Kind::String | Kind::List | Kind::Class | Kind::Password => Ok(()),
        }
    }

    /// Whether an element of a list is empty, which Kafka takes for throttled replicas only.
    fn has_gap(&self, value: &str) -> bool {
        let is_list = self.kind == Kind::List && self.valid != Valid::ThrottledReplicas;
        is_list && !value.is_empty() && value.split(',').any(|element| element.trim().is_empty())
    }

    fn check_valid(&self, value: &str) -> Result<(), ConfigError> {
        if self.has_gap(value) {
            return Err(self.invalid(value, "its elements must not be empty"));
        }
        if self.accepts(value) { Ok(()) } else { Err(self.invalid(value, self.valid.to_string())) }
    }

    fn accepts(&self, value: &str) -> bool {
        let number = || value.parse::<i64>().unwrap_or(i64::MIN);
        match self.valid {
            Valid::Any => true,
            Valid::AtLeast(least) => number() >= least,
            Valid::Between(least, most) => (least..=most).contains(&number()),
            Valid::BetweenOrMinusOne(least, most) => number() == -1 || (least..=most).contains(&number()),
            Valid::Fraction => value.parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
            Valid::OneOf(names) => names.contains(&value),
            Valid::OneOfIgnoreCase(names) => names.iter().any(|name| name.eq_ignore_ascii_case(value)),
            Valid::Elements(names) => list(value).all(|element| names.contains(&element)),
            Valid::NonEmpty => !value.is_empty(),
            Valid::ThrottledReplicas => value == "*" || list(value).all(is_replica_pair),
        }
    }

    /// Whether the value means the same as the default, however it is written.
    fn is_default(&self, value: &str) -> bool {
        let Some(default) = self.default else { return value.is_empty() };
        match self.kind {
            Kind::Boolean => parse_bool(value) == parse_bool(default),
            Kind::Short | Kind::Int | Kind::Long => value.parse::<i64>() == default.parse::<i64>(),
            Kind::Double => value.parse::<f64>() == default.parse::<f64>(),
            Kind::List => list(value).eq(list(default)),
            _ if matches!(self.valid, Valid::OneOfIgnoreCase(_)) => value.eq_ignore_ascii_case(default),
            _ => value == default,
        }
    }
}

/// `true` and `false` in any case, as Kafka reads them.
pub fn parse_bool(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A number as Java writes it, which is how Kafka describes it: `1.0`, `0.5`, `1.0E-4`, `1.0E7`.
fn double_text(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

/// The elements of a comma-separated list, trimmed; nothing for the empty text.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// Each element once, where it stands first.
fn distinct<'a>(elements: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    elements.filter(|element| seen.insert(*element)).collect()
}

fn is_replica_pair(element: &str) -> bool {
    element
        .split_once(':')
        .is_some_and(|(partition, broker)| partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok())
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Valid::Any => f.write_str("any value"),
            Valid::AtLeast(least) => write!(f, "it must be at least {least}"),
            Valid::Between(least, most) => write!(f, "it must be from {least} to {most}"),
            Valid::BetweenOrMinusOne(least, most) => {
                write!(f, "it must be from {least} to {most}, or -1")
            }
            Valid::Fraction => f.write_str("it must be from 0 to 1"),
            Valid::OneOf(names) | Valid::OneOfIgnoreCase(names) => {
                write!(f, "it must be one of {}", names.join(", "))
            }
            Valid::Elements(names) => write!(f, "each element must be one of {}", names.join(", ")),
            Valid::NonEmpty => f.write_str("it must not be empty"),
            Valid::ThrottledReplicas => f.write_str("it must be '*' or a list of partition:broker pairs"),
        }
    }
}

/// The row called `name` in tables that are sorted by name.
pub fn find<'a>(table: &'a [&'static [Definition]], name: &str) -> Option<&'a Definition> {
    table.iter().find_map(|rows| {
        let at = rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
        Some(&rows[at])
    })
}

/// Names longer than this mean none of ours, and looking for the nearest would take time for each of their bytes.
const MISSPELT_BYTES_MAX: usize = 128;

/// An unknown name, with the known one that was probably meant.
pub fn unknown(table: &[&'static [Definition]], name: &str) -> ConfigError {
    if name.len() > MISSPELT_BYTES_MAX {
        return ConfigError::Unknown { name: name.to_owned(), hint: None };
    }
    let nearest = table
        .iter()
        .flat_map(|rows| rows.iter())
        .map(|row| (edit_distance(row.name, name), row.name))
        .min_by_key(|(distance, _)| *distance);
    let near = nearest.filter(|(distance, _)| *distance <= 1 + name.len() / 6);
    ConfigError::Unknown { name: name.to_owned(), hint: near.map(|(_, hint)| hint) }
}

/// Levenshtein distance, over bytes: property names are ASCII.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "definition_test.rs"]
mod tests;
