//! Properties of consumer, share and streams groups.
//!
//! Brokers give their defaults and bound them: `group.consumer.min.session.timeout.ms` is what the
//! `consumer.session.timeout.ms` of a group may not go below.

use std::collections::BTreeMap;

use super::broker::{self, Settings};
use super::definition::{ConfigError, Definition, find, unknown};
use super::rows;

/// Rows of all group properties, sorted by name.
pub const TABLE: &[&[Definition]] = &[rows::group::ROWS];

/// The row of a group property.
pub fn definition(name: &str) -> Option<&'static Definition> {
    find(TABLE, name)
}

/// The broker property that gives a group property its default.
pub fn broker_synonym(name: &str) -> String {
    match name {
        "share.auto.offset.reset" | "share.isolation.level" | "share.renew.acknowledge.enable" => {
            name.to_owned()
        }
        _ => format!("group.{name}"),
    }
}

/// Checks the values that somebody wants to set on a group.
///
/// Errors: unknown name, wrong type or range, a value outside of what the brokers allow.
pub fn check(values: &BTreeMap<String, String>, settings: &Settings) -> Result<(), ConfigError> {
    for (name, value) in values {
        let row = definition(name).ok_or_else(|| unknown(TABLE, name))?;
        row.check(value)?;
        if name == "share.auto.offset.reset" && !is_offset_reset(value.trim()) {
            return Err(row.invalid(value, "it must be earliest, latest or by_duration:<PnDTnHnMn.nS>"));
        }
        check_bounds(name, value, settings)?;
    }
    Ok(())
}

/// A member whose session is shorter than its heartbeat interval could not stay. It is looked at when one of the two
/// changes.
pub fn check_pairs(
    changed: &BTreeMap<String, String>,
    values: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<(), ConfigError> {
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) =
            (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let in_force = |name: &str| match values.get(name) {
            Some(value) => value.trim().parse::<i64>().ok(),
            None => of_brokers(&broker_synonym(name), settings),
        };
        if let (Some(timeout), Some(interval)) = (in_force(&session), in_force(&heartbeat))
            && timeout <= interval
            && (changed.contains_key(&session) || changed.contains_key(&heartbeat))
        {
            return Err(ConfigError::OutOfRange {
                name: session,
                relation: "greater than",
                bound: heartbeat,
            });
        }
    }
    Ok(())
}

fn check_bounds(name: &str, value: &str, settings: &Settings) -> Result<(), ConfigError> {
    let Some((kind, what)) = name.split_once('.') else { return Ok(()) };
    // The one whose bound has a name of its own.
    let what = if name == "streams.num.standby.replicas" { "standby.replicas" } else { what };
    let number = value.trim().parse::<i64>().unwrap_or(0);
    let out = |relation: &'static str, bound: String| {
        Err(ConfigError::OutOfRange { name: name.to_owned(), relation, bound })
    };
    let least = format!("group.{kind}.min.{what}");
    if of_brokers(&least, settings).is_some_and(|bound| number < bound) {
        return out("greater than or equal to", least);
    }
    let most = format!("group.{kind}.max.{what}");
    if of_brokers(&most, settings).is_some_and(|bound| number > bound) {
        return out("less than or equal to", most);
    }
    Ok(())
}

/// The number that the brokers give a property; none for a property that they do not have.
fn of_brokers(name: &str, settings: &Settings) -> Option<i64> {
    let row = broker::definition(name)?;
    settings.properties.get(name).map(String::as_str).or(row.default)?.trim().parse().ok()
}

fn is_offset_reset(value: &str) -> bool {
    matches!(value, "earliest" | "latest") || value.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// An ISO 8601 duration that does not go back in time, as in `P1DT2H3M4.5S`.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let fits = |text: &str, units: &[char]| {
        let (mut rest, mut units) = (text, units.iter());
        while !rest.is_empty() {
            let Some(end) = rest.find(|c: char| !c.is_ascii_digit() && c != '.') else { return false };
            let (number, unit) = (&rest[..end], rest[end..].chars().next());
            let is_number =
                if unit == Some('S') { number.parse::<f64>().is_ok() } else { number.parse::<u64>().is_ok() };
            // The units stand in their order, each at most once.
            if !is_number || !units.any(|known| Some(*known) == unit) {
                return false;
            }
            rest = &rest[end + 1..];
        }
        true
    };
    let is_said = !days.is_empty() || time.is_some();
    is_said && fits(days, &['D']) && time.is_none_or(|time| !time.is_empty() && fits(time, &['H', 'M', 'S']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(pairs: &[(&str, &str)]) -> Result<(), String> {
        let values = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::own_defaults();
        let outcome = check(&values, &settings).and_then(|()| check_pairs(&values, &values, &settings));
        outcome.map_err(|error| error.to_string())
    }

    /// Values, and what a Kafka 4.3.1 node said of them.
    #[test]
    fn groups_are_judged_as_kafka_does() {
        for (name, value) in [
            ("consumer.session.timeout.ms", "50000"),
            ("share.auto.offset.reset", "by_duration:PT1H"),
            ("share.auto.offset.reset", "earliest"),
            ("streams.initial.rebalance.delay.ms", "20000"),
        ] {
            assert_eq!(check_all(&[(name, value)]), Ok(()), "{name}={value}");
        }
        let refused = [
            (
                "consumer.session.timeout.ms",
                "1",
                "must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "consumer.session.timeout.ms",
                "99999999",
                "must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            ("consumer.heartbeat.interval.ms", "60000", "group.consumer.max.heartbeat.interval.ms"),
            ("consumer.assignment.interval.ms", "20000", "group.consumer.max.assignment.interval.ms"),
            ("share.record.lock.duration.ms", "1001", "group.share.min.record.lock.duration.ms"),
            ("share.delivery.count.limit", "11", "share.delivery.count.limit"),
            ("streams.num.standby.replicas", "3", "group.streams.max.standby.replicas"),
            ("share.partition.max.record.locks", "50", "share.partition.max.record.locks"),
            ("share.auto.offset.reset", "zap", "by_duration"),
            ("consumer.session.timeout.ms", "x", "32-bit integer"),
            ("nonsense", "1", "unknown property 'nonsense'"),
        ];
        for (name, value, message) in refused {
            let said = check_all(&[(name, value)]).expect_err(name);
            assert!(said.contains(message), "{name}={value}: {said}");
        }
    }

    #[test]
    fn durations_are_iso_8601() {
        for text in ["P1D", "PT1H", "P1DT2H3M4.5S", "PT0S", "PT90M"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "P", "PT", "1H", "PT1D", "P1H", "PT1M1H", "PT-1S", "PT1", "PT1H1H"] {
            assert!(!is_duration(text), "{text}");
        }
    }
}
