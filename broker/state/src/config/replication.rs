//! How followers copy from their leaders, and whom consumers are sent to.

use std::collections::BTreeMap;

use super::broker::Values;
use super::definition::ConfigError;
use crate::quota::Window;

const SELECTOR: &str = "replica.selector.class";

/// Bound on connections to one leader: each is a thread.
const FETCHERS_MAX: i64 = 128;

/// Properties that are set while the broker runs, and not in its file; described only where they are set. As in Kafka.
pub const NEVER_STATIC: &[&str] = &[
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Errors: one of [`NEVER_STATIC`].
pub(super) fn check_static(properties: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    match properties.iter().find(|(name, _)| NEVER_STATIC.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, value)) => Err(ConfigError::Invalid {
            name: name.clone(),
            value: value.clone(),
            reason: "it is set while the broker runs (`milena config set broker/ID`), not in its file"
                .to_owned(),
        }),
    }
}

/// The `replica.*` properties that act on fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub selector: Selector,
    /// Connections, and threads, to each leader.
    pub fetchers: usize,
    pub fetch_min_bytes: i32,
    /// Of one partition.
    pub fetch_max_bytes: i32,
    /// Of one response.
    pub fetch_response_max_bytes: i32,
    pub fetch_wait_max_ms: i32,
    /// Longest pause after an error.
    pub fetch_backoff_ms: i64,
    /// A leader that does not answer for so long is connected anew.
    pub socket_timeout_ms: u64,
    /// `leader.replication.throttled.rate`, `i64::MAX` for none.
    pub leader_throttled_rate: i64,
    /// `follower.replication.throttled.rate`, `i64::MAX` for none.
    pub follower_throttled_rate: i64,
    /// What both are measured in.
    pub throttle_window: Window,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`, `i64::MAX` for none.
    pub relocation_rate: i64,
    /// What it is measured in.
    pub relocation_window: Window,
    /// `num.replica.alter.log.dirs.threads`; none for one per log directory.
    pub relocation_threads: Option<usize>,
}

/// Which replica consumers read from (KIP-392).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    Leader,
    /// One in the consumer's rack.
    RackAware,
}

impl Settings {
    pub(super) fn of(values: &Values<'_>) -> Result<Self, ConfigError> {
        let wait: i32 = values.number("replica.fetch.wait.max.ms")?;
        for other in ["replica.socket.timeout.ms", "replica.lag.time.max.ms"] {
            let bound: i64 = values.number(other)?;
            if i64::from(wait) > bound {
                return Err(ConfigError::Conflict {
                    first: "replica.fetch.wait.max.ms".to_owned(),
                    second: other.to_owned(),
                    reason: format!("a fetch may not wait for {wait} ms, longer than {bound} ms"),
                });
            }
        }
        Ok(Self {
            selector: selector(values)?,
            fetchers: fetchers(values)?,
            fetch_min_bytes: values.number("replica.fetch.min.bytes")?,
            fetch_max_bytes: values.number("replica.fetch.max.bytes")?,
            fetch_response_max_bytes: values.number("replica.fetch.response.max.bytes")?,
            fetch_wait_max_ms: wait,
            fetch_backoff_ms: values.number("replica.fetch.backoff.ms")?,
            socket_timeout_ms: values.number("replica.socket.timeout.ms")?,
            leader_throttled_rate: values.number("leader.replication.throttled.rate")?,
            follower_throttled_rate: values.number("follower.replication.throttled.rate")?,
            throttle_window: values
                .window("replication.quota.window.num", "replication.quota.window.size.seconds")?,
            relocation_rate: values.number("replica.alter.log.dirs.io.max.bytes.per.second")?,
            relocation_window: values.window(
                "alter.log.dirs.replication.quota.window.num",
                "alter.log.dirs.replication.quota.window.size.seconds",
            )?,
            relocation_threads: values.optional("num.replica.alter.log.dirs.threads")?,
        })
    }
}

fn selector(values: &Values<'_>) -> Result<Selector, ConfigError> {
    match values.get(SELECTOR).unwrap_or_default() {
        "" | "org.apache.kafka.common.replica.LeaderSelector" => Ok(Selector::Leader),
        "org.apache.kafka.common.replica.RackAwareReplicaSelector" => Ok(Selector::RackAware),
        other => Err(ConfigError::Invalid {
            name: SELECTOR.to_owned(),
            value: other.to_owned(),
            reason: "there is org.apache.kafka.common.replica.RackAwareReplicaSelector, and its like for LeaderSelector"
                .to_owned(),
        }),
    }
}

fn fetchers(values: &Values<'_>) -> Result<usize, ConfigError> {
    let count: i64 = values.number("num.replica.fetchers")?;
    if count <= FETCHERS_MAX {
        return Ok(usize::try_from(count).unwrap_or(1).max(1));
    }
    Err(ConfigError::Invalid {
        name: "num.replica.fetchers".to_owned(),
        value: count.to_string(),
        reason: format!("at most {FETCHERS_MAX}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker;

    fn parse(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = broker::Settings::parse(&properties.collect::<BTreeMap<_, _>>());
        settings.map(|settings| settings.replication).map_err(|error| error.to_string())
    }

    #[test]
    fn selectors_have_kafkas_names() {
        let of = |name| parse(&[(SELECTOR, name)]).map(|settings| settings.selector);
        assert_eq!(of("org.apache.kafka.common.replica.RackAwareReplicaSelector"), Ok(Selector::RackAware));
        assert_eq!(of("org.apache.kafka.common.replica.LeaderSelector"), Ok(Selector::Leader));
        assert_eq!(parse(&[]).map(|settings| settings.selector), Ok(Selector::Leader));
        let refused = of("com.example.Nearest").expect_err("an unknown class");
        assert!(refused.contains(SELECTOR) && refused.contains("RackAwareReplicaSelector"), "{refused}");
    }

    #[test]
    fn fetches_may_not_wait_longer_than_the_leader_or_the_socket_would() {
        for other in ["replica.socket.timeout.ms", "replica.lag.time.max.ms"] {
            let refused =
                parse(&[("replica.fetch.wait.max.ms", "501"), (other, "500")]).expect_err("too long");
            assert!(refused.contains("replica.fetch.wait.max.ms") && refused.contains(other), "{refused}");
            assert!(parse(&[("replica.fetch.wait.max.ms", "500"), (other, "500")]).is_ok());
        }
        assert!(parse(&[("num.replica.fetchers", "129")]).is_err());
    }

    #[test]
    fn throttles_are_measured_in_windows_of_the_file_and_rates_are_set_while_running() {
        let window = [("replication.quota.window.num", "3"), ("replication.quota.window.size.seconds", "2")];
        let settings = parse(&window).expect("sound");
        assert_eq!(settings.throttle_window, Window { samples_max: 3, sample_ms: 2000 });
        let rates =
            |of: &Settings| [of.leader_throttled_rate, of.follower_throttled_rate, of.relocation_rate];
        assert_eq!(rates(&settings), [i64::MAX; 3]);

        for name in NEVER_STATIC {
            let refused = parse(&[(name, "1000")]).expect_err("not in the file");
            assert!(refused.contains(name) && refused.contains("while the broker runs"), "{refused}");
        }
        let dynamic: BTreeMap<_, _> =
            NEVER_STATIC.iter().map(|name| ((*name).to_owned(), "1000".to_owned())).collect();
        let settings = broker::Settings::own_defaults().with_dynamic(&[&dynamic]).expect("sound").replication;
        assert_eq!(rates(&settings), [1000; 3]);
    }

    #[test]
    fn moves_between_directories_have_a_window_and_workers_of_their_own() {
        let file = [
            ("alter.log.dirs.replication.quota.window.num", "3"),
            ("alter.log.dirs.replication.quota.window.size.seconds", "2"),
            ("num.replica.alter.log.dirs.threads", "4"),
        ];
        let settings = parse(&file).expect("sound");
        assert_eq!(settings.relocation_window, Window { samples_max: 3, sample_ms: 2000 });
        assert_eq!(settings.relocation_threads, Some(4));
        assert_eq!(parse(&[]).expect("sound").relocation_threads, None);
        assert!(parse(&[("num.replica.alter.log.dirs.threads", "-1")]).is_err());
    }
}
