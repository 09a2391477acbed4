//! Properties of the broker and of all brokers; each is unset again, and everything else ran before.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use crate::script::Script;

const BROKER: i8 = 4;

pub fn all() -> Vec<Script> {
    vec![broker(), loggers()]
}

fn incremental(kind: i8, name: &str, property: &str, op: i8, value: Option<&str>) -> Value {
    let row = json!({"Name": property, "ConfigOperation": op, "Value": value});
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [row]}]})
}

fn described(kind: i8, name: &str, keys: Option<&[&str]>) -> Value {
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}], "IncludeSynonyms": true})
}

fn broker() -> Script {
    let mut s = Script::new("broker/configs");
    for name in ["1", "", "9", "x", "-1"] {
        for (property, value) in [
            ("log.retention.ms", "8"),
            ("log.retention.ms", "x"),
            ("log.retention.ms", "-2"),
            ("node.id", "2"),
            ("nonsense", "1"),
            ("log.cleaner.threads", "2"),
            ("log.cleaner.threads", "100"),
            ("num.io.threads", "1"),
            ("num.network.threads", "0"),
            ("max.connections", "-1"),
            ("max.connections.per.ip", "0"),
            ("log.roll.ms", "0"),
            ("log.roll.ms", "-1"),
            ("log.roll.jitter.ms", "-1"),
            ("log.flush.interval.ms", "-1"),
            ("log.flush.interval.messages", "0"),
            ("log.retention.hours", "8"),
            ("group.coordinator.threads", "9"),
            ("auto.create.topics.enable", "false"),
            ("num.partitions", "3"),
            ("message.max.bytes", "-1"),
            ("replica.fetch.max.bytes", "3"),
            ("advertised.listeners", "PLAINTEXT://h:1"),
            ("ssl.keystore.password", "secret"),
            ("min.insync.replicas", "2"),
            ("log.cleanup.policy", "zap"),
            ("compression.type", "zstd"),
            ("unclean.leader.election.enable", "true"),
            ("log.segment.bytes", "1"),
            ("log.message.timestamp.type", "LogAppendTime"),
        ] {
            let step = format!("{property}={value} of {name:?}");
            s.newest(
                &step,
                ApiKey::IncrementalAlterConfigs,
                incremental(BROKER, name, property, 0, Some(value)),
            );
            s.newest(
                &format!("{step}, described"),
                ApiKey::DescribeConfigs,
                described(BROKER, name, Some(&[property])),
            );
            s.newest(
                &format!("{step}, unset"),
                ApiKey::IncrementalAlterConfigs,
                incremental(BROKER, name, property, 1, None),
            );
        }
        s.newest(
            &format!("append, {name:?}"),
            ApiKey::IncrementalAlterConfigs,
            incremental(BROKER, name, "log.cleanup.policy", 2, Some("compact")),
        );
        s.newest(
            &format!("append unset, {name:?}"),
            ApiKey::IncrementalAlterConfigs,
            incremental(BROKER, name, "log.cleanup.policy", 1, None),
        );
        s.newest(
            &format!("null, {name:?}"),
            ApiKey::IncrementalAlterConfigs,
            incremental(BROKER, name, "log.retention.ms", 0, None),
        );
        s.each(
            &format!("some, {name:?}"),
            ApiKey::DescribeConfigs,
            &described(BROKER, name, Some(&["log.retention.ms", "num.io.threads", "nonsense"])),
        );
    }
    s
}

fn loggers() -> Script {
    let mut s = Script::new("broker/loggers");
    for (name, value, op) in [
        ("root", Some("INFO"), 0),
        ("root", Some("ZAP"), 0),
        ("no.such", Some("INFO"), 0),
        ("root", None, 1),
        ("root", Some("INFO"), 2),
    ] {
        for resource in ["1", "9", ""] {
            s.newest(
                &format!("{name}={value:?}, operation {op} of {resource:?}"),
                ApiKey::IncrementalAlterConfigs,
                incremental(8, resource, name, op, value),
            );
        }
    }
    for resource in ["1", "9", ""] {
        s.newest(
            &format!("root of {resource:?}"),
            ApiKey::DescribeConfigs,
            described(8, resource, Some(&["root"])),
        );
    }
    s
}
