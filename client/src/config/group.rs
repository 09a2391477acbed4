//! Settings of a member of a consumer group, under the names, defaults and limits of Kafka's consumer.

use std::time::Duration;

use super::{bad, millis, parse};
use crate::error::Result;
use crate::group::Assignor;

/// What a member of a group needs beside the settings of a consumer.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Empty for none: there is no membership without it.
    pub group_id: String,
    /// Makes this a static member, which keeps its partitions over a restart that is shorter than the session timeout.
    pub group_instance_id: Option<String>,
    /// Without a heartbeat for so long, the coordinator gives the member's partitions to others.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// Without a poll for so long, the member leaves. Also how long a rebalance waits for its members.
    pub max_poll_interval: Duration,
    /// The coordinator takes the first that all members have.
    pub assignors: Vec<Assignor>,
    pub enable_auto_commit: bool,
    pub auto_commit_interval: Duration,
    pub auto_offset_reset: OffsetReset,
    /// Whether a pattern never matches topics of the cluster's own.
    pub exclude_internal_topics: bool,
    /// Where this member is; the range assignor prefers partitions that have a replica there (KIP-881).
    pub client_rack: Option<String>,
}

/// Where a partition begins that has no committed offset, or whose position is not in the log any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// It is an error.
    None,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            group_id: String::new(),
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            auto_offset_reset: OffsetReset::Latest,
            exclude_internal_topics: true,
            client_rack: None,
        }
    }
}

impl GroupConfig {
    /// Sets a property; false when it is none of a group's.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "group.id" => self.group_id = value.to_owned(),
            "group.instance.id" => self.group_instance_id = Some(instance_id(name, value)?),
            "session.timeout.ms" => self.session_timeout = int_millis(name, value, 0)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = int_millis(name, value, 1)?,
            "max.poll.interval.ms" => self.max_poll_interval = int_millis(name, value, 1)?,
            "partition.assignment.strategy" => self.assignors = assignors(name, value)?,
            "enable.auto.commit" => self.enable_auto_commit = parse(name, value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = int_millis(name, value, 0)?,
            "auto.offset.reset" => self.auto_offset_reset = reset(name, value)?,
            "exclude.internal.topics" => self.exclude_internal_topics = parse(name, value)?,
            "client.rack" => self.client_rack = (!value.is_empty()).then(|| value.to_owned()),
            // The other protocol (KIP-848) is another client.
            "group.protocol" if value.eq_ignore_ascii_case("classic") => {}
            "group.protocol" => return Err(bad(name, "this client speaks classic only")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What no single property can know.
    ///
    /// Errors: `Config`.
    pub(super) fn check(&self) -> Result<()> {
        if self.heartbeat_interval >= self.session_timeout {
            return Err(bad("heartbeat.interval.ms", "must be below session.timeout.ms"));
        }
        Ok(())
    }
}

/// Times travel as 32 bits.
fn int_millis(name: &str, value: &str, min: u64) -> Result<Duration> {
    let duration = millis(name, value)?;
    let bounds = u128::from(min)..=i32::MAX as u128;
    if bounds.contains(&duration.as_millis()) {
        return Ok(duration);
    }
    Err(bad(name, &format!("{value} is not between {min} and {}", i32::MAX)))
}

const INSTANCE_ID_LENGTH_MAX: usize = 249;

/// The rule for names of topics holds for instances too.
fn instance_id(name: &str, value: &str) -> Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if value.is_empty() || value.len() > INSTANCE_ID_LENGTH_MAX || !value.chars().all(legal) {
        let reason = format!("'{value}' is not 1 to {INSTANCE_ID_LENGTH_MAX} of a-z A-Z 0-9 . _ -");
        return Err(bad(name, &reason));
    }
    if matches!(value, "." | "..") {
        return Err(bad(name, &format!("'{value}' is not a name")));
    }
    Ok(value.to_owned())
}

fn assignors(name: &str, value: &str) -> Result<Vec<Assignor>> {
    let mut assignors = Vec::new();
    for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let assignor = Assignor::from_name(word).ok_or_else(|| {
            bad(name, &format!("'{word}' is none of range, roundrobin, sticky, cooperative-sticky"))
        })?;
        if assignors.contains(&assignor) {
            return Err(bad(name, &format!("{assignor} stands twice")));
        }
        assignors.push(assignor);
    }
    if assignors.is_empty() {
        return Err(bad(name, "no assignor is named"));
    }
    Ok(assignors)
}

fn reset(name: &str, value: &str) -> Result<OffsetReset> {
    match value.to_ascii_lowercase().as_str() {
        "earliest" => Ok(OffsetReset::Earliest),
        "latest" => Ok(OffsetReset::Latest),
        "none" => Ok(OffsetReset::None),
        _ => Err(bad(name, &format!("'{value}' is none of earliest, latest, none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn parsed(properties: &[(&str, &str)]) -> Result<GroupConfig> {
        let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Settings::parse(&properties).map(|settings| settings.group)
    }

    #[test]
    fn defaults_are_those_of_kafkas_consumer() {
        let group = parsed(&[]).expect("valid");
        assert_eq!(group.session_timeout, Duration::from_millis(45_000));
        assert_eq!(group.heartbeat_interval, Duration::from_millis(3000));
        assert_eq!(group.max_poll_interval, Duration::from_millis(300_000));
        assert_eq!(group.auto_commit_interval, Duration::from_millis(5000));
        assert_eq!(group.assignors, [Assignor::Range, Assignor::CooperativeSticky]);
        assert_eq!(group.auto_offset_reset, OffsetReset::Latest);
        assert!(group.enable_auto_commit && group.exclude_internal_topics);
    }

    #[test]
    fn assignors_have_short_names_and_kafkas_classes() {
        let chosen = |value| parsed(&[("partition.assignment.strategy", value)]).expect("valid").assignors;
        assert_eq!(chosen("roundrobin, sticky"), [Assignor::RoundRobin, Assignor::Sticky]);
        let class = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        assert_eq!(chosen(class), [Assignor::CooperativeSticky]);
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let too_long = "x".repeat(250);
        for (name, value) in [
            ("group.instance.id", ""),
            ("group.instance.id", ".."),
            ("group.instance.id", "a b"),
            ("group.instance.id", &*too_long),
            ("max.poll.interval.ms", "0"),
            ("max.poll.interval.ms", "2147483648"),
            ("heartbeat.interval.ms", "45000"),
            ("partition.assignment.strategy", "best"),
            ("partition.assignment.strategy", "range,range"),
            ("partition.assignment.strategy", ","),
            ("auto.offset.reset", "smallest"),
            ("group.protocol", "consumer"),
            ("enable.auto.commit", "yes"),
        ] {
            let error = parsed(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
