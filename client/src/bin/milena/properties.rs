//! Client properties: their names, and files of them as `--command-config` takes them, the plain part of Java's format.

use std::collections::BTreeMap;

/// Of every command.
pub const SHARED: &[&str] = &[
    "bootstrap.servers",
    "client.id",
    "socket.connection.setup.timeout.ms",
    "request.timeout.ms",
    "default.api.timeout.ms",
    "retry.backoff.ms",
    "retry.backoff.max.ms",
    "metadata.max.age.ms",
    "security.protocol",
];

pub const PRODUCE: &[&str] = &[
    "acks",
    "enable.idempotence",
    "batch.size",
    "linger.ms",
    "buffer.memory",
    "compression.type",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "delivery.timeout.ms",
    "max.request.size",
    "max.in.flight.requests.per.connection",
];

pub const CONSUME: &[&str] = &[
    "fetch.min.bytes",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "max.partition.fetch.bytes",
    "check.crcs",
    "isolation.level",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "exclude.internal.topics",
    "client.rack",
];

pub fn is_known(name: &str) -> bool {
    [SHARED, PRODUCE, CONSUME].iter().any(|names| names.contains(&name))
}

/// The end of a command's help: the properties that it looks at.
pub fn help(of_command: &[&str]) -> String {
    format!("Properties for -X: {}, {}", of_command.join(", "), SHARED.join(", "))
}

/// Names and values: `name=value`, `name: value` or `name value` per line, comments behind `#` and `!`.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let pairs = lines.map(|line| {
        let (name, value) =
            line.split_once(['=', ':']).or_else(|| line.split_once(' ')).unwrap_or((line, ""));
        (name.trim().to_owned(), value.trim().to_owned())
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_one_of_the_client_and_documented() {
        let page = include_str!("../../../../docs/cli.md");
        for name in [SHARED, PRODUCE, CONSUME].concat() {
            let set = [(name.to_owned(), "no value of any".to_owned())].into();
            let said = milena_client::config::Settings::parse(&set).err().map(|error| error.to_string());
            assert!(!said.is_some_and(|said| said.contains("no such property")), "{name}");
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/cli.md");
        }
    }

    #[test]
    fn names_values_and_comments() {
        let parsed = parse("# comment\n! too\n\nacks = all\nbootstrap.servers=a:1,b:2\nlinger.ms: 5\n");
        let expected = [("acks", "all"), ("bootstrap.servers", "a:1,b:2"), ("linger.ms", "5")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
