//! Client settings under Kafka's property names.

mod group;

use std::collections::BTreeMap;
use std::time::Duration;

use milena_protocol::records::Compression;

use crate::error::{Error, Result};

pub use group::{GroupConfig, OffsetReset};

/// What all clients share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub bootstrap_servers: Vec<String>,
    pub client_id: String,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// All attempts of one operation together.
    pub api_timeout: Duration,
    pub retry_backoff: Duration,
    pub retry_backoff_max: Duration,
    pub metadata_max_age: Duration,
    pub response_bytes_max: usize,
}

/// How much must have happened before a record counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Acks {
    None = 0,
    Leader = 1,
    All = -1,
}

/// What a producer needs beside the shared settings.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    pub acks: Acks,
    pub enable_idempotence: bool,
    pub batch_size: usize,
    pub linger: Duration,
    pub buffer_memory: usize,
    pub compression: Compression,
    pub compression_level: Option<i32>,
    pub delivery_timeout: Duration,
    pub max_request_size: usize,
    /// Batches of one partition that may wait for an answer. Kafka counts requests per connection; here it is batches
    /// per partition, which is what order depends on.
    pub max_in_flight: usize,
}

/// Batches of a producer that a broker recognises when they are repeated, and so the most that an idempotent producer
/// may have in flight.
pub const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

/// What a consumer needs beside the shared settings.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub fetch_max_wait: Duration,
    pub max_partition_fetch_bytes: i32,
    pub check_crcs: bool,
    pub read_committed: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: vec!["localhost:9092".to_owned()],
            client_id: "milena".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            response_bytes_max: 128 * 1024 * 1024,
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            batch_size: 16_384,
            linger: Duration::from_millis(5),
            buffer_memory: 32 * 1024 * 1024,
            compression: Compression::None,
            compression_level: None,
            delivery_timeout: Duration::from_secs(120),
            max_request_size: 1_048_576,
            max_in_flight: IDEMPOTENT_IN_FLIGHT_MAX,
        }
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_min_bytes: 1,
            fetch_max_bytes: 52_428_800,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1_048_576,
            check_crcs: true,
            read_committed: false,
        }
    }
}

/// All settings of a client, filled from properties.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub client: ClientConfig,
    pub producer: ProducerConfig,
    pub consumer: ConsumerConfig,
    pub group: GroupConfig,
}

impl Settings {
    /// Settings from properties under Kafka's names.
    ///
    /// Errors: `Config`, naming the property, for one that is unknown or has an impossible value.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in properties {
            settings.set(name, value.trim())?;
        }
        settings.check(properties)?;
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Self { client, producer, consumer, group } = self;
        match name {
            "bootstrap.servers" => client.bootstrap_servers = servers(name, value)?,
            "client.id" => client.client_id = value.to_owned(),
            "socket.connection.setup.timeout.ms" => client.connect_timeout = millis(name, value)?,
            "request.timeout.ms" => client.request_timeout = millis(name, value)?,
            "default.api.timeout.ms" => client.api_timeout = millis(name, value)?,
            "retry.backoff.ms" => client.retry_backoff = millis(name, value)?,
            "retry.backoff.max.ms" => client.retry_backoff_max = millis(name, value)?,
            "metadata.max.age.ms" => client.metadata_max_age = millis(name, value)?,
            "acks" => producer.acks = acks(name, value)?,
            "enable.idempotence" => producer.enable_idempotence = parse(name, value)?,
            "batch.size" => producer.batch_size = number(name, value)?,
            "linger.ms" => producer.linger = millis(name, value)?,
            "buffer.memory" => producer.buffer_memory = number(name, value)?,
            "compression.type" => producer.compression = parse(name, value)?,
            // Which of them counts depends on `compression.type`, see `check`.
            "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => {
                parse::<i32>(name, value)?;
            }
            "delivery.timeout.ms" => producer.delivery_timeout = millis(name, value)?,
            "max.request.size" => producer.max_request_size = number(name, value)?,
            "max.in.flight.requests.per.connection" => producer.max_in_flight = at_least_one(name, value)?,
            "fetch.min.bytes" => consumer.fetch_min_bytes = number(name, value)?,
            "fetch.max.bytes" => consumer.fetch_max_bytes = number(name, value)?,
            "fetch.max.wait.ms" => consumer.fetch_max_wait = millis(name, value)?,
            "max.partition.fetch.bytes" => consumer.max_partition_fetch_bytes = number(name, value)?,
            "check.crcs" => consumer.check_crcs = parse(name, value)?,
            "isolation.level" => consumer.read_committed = read_committed(name, value)?,
            // Properties that people bring from elsewhere, so they are told what holds.
            "security.protocol" if value == "PLAINTEXT" => {}
            "security.protocol" => return Err(bad(name, "this client speaks PLAINTEXT only")),
            _ if group.set(name, value)? => {}
            _ => return Err(bad(name, "this client has no such property")),
        }
        Ok(())
    }

    /// What no single property can know.
    fn check(&mut self, properties: &BTreeMap<String, String>) -> Result<()> {
        let producer = &mut self.producer;
        let level_name = format!("compression.{}.level", producer.compression);
        if let Some(level) = properties.get(&level_name) {
            let level = parse(&level_name, level.trim())?;
            if producer.compression.levels().is_some_and(|levels| !levels.contains(level)) {
                return Err(bad(&level_name, &format!("{level} is not a level of {}", producer.compression)));
            }
            producer.compression_level = Some(level);
        }
        // As in Kafka's producer: asked for, it is an error; by default, it is switched off.
        if producer.acks != Acks::All && producer.enable_idempotence {
            if properties.contains_key("enable.idempotence") {
                return Err(bad("enable.idempotence", "true does not go with acks other than all"));
            }
            producer.enable_idempotence = false;
        }
        if producer.max_in_flight > IDEMPOTENT_IN_FLIGHT_MAX && producer.enable_idempotence {
            if properties.contains_key("enable.idempotence") {
                let reason = format!("at most {IDEMPOTENT_IN_FLIGHT_MAX} go with enable.idempotence=true");
                return Err(bad("max.in.flight.requests.per.connection", &reason));
            }
            producer.enable_idempotence = false;
        }
        self.group.check()
    }
}

fn bad(name: &str, reason: &str) -> Error {
    Error::Config { name: name.to_owned(), reason: reason.to_owned() }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error: T::Err| bad(name, &format!("'{value}': {error}")))
}

/// As [`parse`] for whole numbers, of which the standard library says "invalid digit found in string".
fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| bad(name, &format!("'{value}': it is a number, from 0 on")))
}

fn at_least_one(name: &str, value: &str) -> Result<usize> {
    match number(name, value)? {
        0 => Err(bad(name, "must be at least 1")),
        count => Ok(count),
    }
}

fn millis(name: &str, value: &str) -> Result<Duration> {
    number(name, value).map(Duration::from_millis)
}

fn servers(name: &str, value: &str) -> Result<Vec<String>> {
    let servers: Vec<String> =
        value.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    if servers.is_empty() {
        return Err(bad(name, "no server is named"));
    }
    let without_port = servers.iter().find(|server| {
        let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.is_none_or(|port| port == 0)
    });
    match without_port {
        Some(server) => Err(bad(name, &format!("'{server}' is not host:port, such as localhost:9092"))),
        None => Ok(servers),
    }
}

fn acks(name: &str, value: &str) -> Result<Acks> {
    match value {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err(bad(name, &format!("'{value}' is none of 0, 1, all"))),
    }
}

fn read_committed(name: &str, value: &str) -> Result<bool> {
    match value {
        "read_committed" => Ok(true),
        "read_uncommitted" => Ok(false),
        _ => Err(bad(name, &format!("'{value}' is neither read_committed nor read_uncommitted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(properties: &[(&str, &str)]) -> Result<Settings> {
        Settings::parse(&properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn properties_have_kafkas_names_and_units() {
        let settings =
            parsed(&[("bootstrap.servers", "a:1, b:2"), ("linger.ms", "7"), ("acks", "all")]).expect("valid");
        assert_eq!(settings.client.bootstrap_servers, ["a:1", "b:2"]);
        assert_eq!(settings.producer.linger, Duration::from_millis(7));
        assert!(settings.producer.enable_idempotence);
    }

    #[test]
    fn idempotence_goes_off_by_itself_but_not_against_what_was_asked() {
        assert!(!parsed(&[("acks", "1")]).expect("valid").producer.enable_idempotence);
        let error =
            parsed(&[("acks", "1"), ("enable.idempotence", "true")]).expect_err("they exclude each other");
        assert!(error.to_string().contains("enable.idempotence"), "{error}");
    }

    #[test]
    fn more_in_flight_than_a_broker_remembers_excludes_idempotence() {
        const NAME: &str = "max.in.flight.requests.per.connection";
        assert!(parsed(&[(NAME, "5")]).expect("valid").producer.enable_idempotence);
        assert!(!parsed(&[(NAME, "6")]).expect("valid").producer.enable_idempotence);
        for properties in [vec![(NAME, "6"), ("enable.idempotence", "true")], vec![(NAME, "0")]] {
            let error = parsed(&properties).expect_err("impossible").to_string();
            assert!(error.contains(NAME), "{error}");
        }
    }

    #[test]
    fn the_level_of_the_chosen_codec_counts() {
        let levels = [("compression.gzip.level", "9"), ("compression.zstd.level", "3")];
        let chosen =
            |codec| parsed(&[levels[0], levels[1], ("compression.type", codec)]).expect("valid").producer;
        assert_eq!(chosen("gzip").compression_level, Some(9));
        assert_eq!(chosen("zstd").compression_level, Some(3));
        assert_eq!(chosen("lz4").compression_level, None);
        let error =
            parsed(&[("compression.type", "gzip"), ("compression.gzip.level", "10")]).expect_err("too high");
        assert!(error.to_string().contains("compression.gzip.level"), "{error}");
    }

    #[test]
    fn a_wrong_property_is_named() {
        for (name, value) in [
            ("linger", "1"),
            ("security.protocol", "SSL"),
            ("max.in.flight.requests.per.connection", "0"),
            ("linger.ms", "soon"),
            ("bootstrap.servers", "host"),
            ("acks", "2"),
        ] {
            let error = parsed(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(name) && !error.contains("invalid digit"), "{error}");
        }
        assert!(parsed(&[("security.protocol", "PLAINTEXT")]).is_ok());
    }
}
