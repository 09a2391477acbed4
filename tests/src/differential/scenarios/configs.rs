//! Properties of topics, groups and client metrics: described, set, unset, good and bad.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::topic;
use crate::script::{Script, versions};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Names and types of the properties of a topic, as Apache Kafka 4.3.1 describes them.
const OF_TOPICS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "-2",
    "100",
    "2147483648",
    "9223372036854775808",
    "0.25",
    "1.5",
    "true",
    "x",
    "compact",
    "delete,compact",
    "gzip",
    "LogAppendTime",
    "1:1",
    " 7 ",
    "*",
];

const OF_GROUPS: &[&str] = &[
    "consumer.session.timeout.ms",
    "consumer.heartbeat.interval.ms",
    "share.session.timeout.ms",
    "share.heartbeat.interval.ms",
    "share.record.lock.duration.ms",
    "share.auto.offset.reset",
    "share.isolation.level",
    "streams.session.timeout.ms",
    "streams.heartbeat.interval.ms",
    "streams.num.standby.replicas",
];
const OF_GROUPS_VALUES: &[&str] = &[
    "",
    "1",
    "-1",
    "5000",
    "45000",
    "50000",
    "99999999",
    "x",
    "latest",
    "by_duration:PT1H",
    "read_committed",
];

pub fn all() -> Vec<Script> {
    vec![each_value(), operations(), describe(), brokers(), groups(), metrics(), kinds(), listed()]
}

fn incremental(kind: i8, name: &str, ops: &[(&str, i8, Option<&str>)], only: bool) -> Value {
    let rows: Vec<Value> = ops
        .iter()
        .map(|(name, op, value)| json!({"Name": name, "ConfigOperation": op, "Value": value}))
        .collect();
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": rows}], "ValidateOnly": only})
}

fn described(kind: i8, name: &str, keys: Option<&[&str]>) -> Value {
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}], "IncludeSynonyms": true, "IncludeDocumentation": false})
}

fn each_value() -> Script {
    let mut s = Script::new("configs/values");
    topic(&mut s, "valued", 1, &[]);
    for name in OF_TOPICS {
        for value in VALUES {
            s.newest(
                &format!("{name}={value}"),
                ApiKey::IncrementalAlterConfigs,
                incremental(TOPIC, "valued", &[(name, SET, Some(value))], true),
            );
        }
    }
    s
}

fn operations() -> Script {
    let mut s = Script::new("configs/operations");
    topic(&mut s, "operated", 1, &[]);
    for version in versions(ApiKey::IncrementalAlterConfigs) {
        for (step, ops) in [
            ("set", vec![("retention.ms", SET, Some("5"))]),
            ("unknown", vec![("nonsense", SET, Some("1"))]),
            ("unknown unset", vec![("nonsense", DELETE, None)]),
            ("null", vec![("retention.ms", SET, None)]),
            ("twice", vec![("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))]),
            ("append to a number", vec![("retention.ms", APPEND, Some("1"))]),
            ("append to an unknown", vec![("nonsense", APPEND, Some("1"))]),
            ("append", vec![("cleanup.policy", APPEND, Some("compact"))]),
            ("append again", vec![("cleanup.policy", APPEND, Some("compact"))]),
            ("subtract", vec![("cleanup.policy", SUBTRACT, Some("delete"))]),
            ("subtract what is not there", vec![("cleanup.policy", SUBTRACT, Some("delete"))]),
            ("append nonsense", vec![("cleanup.policy", APPEND, Some("zap"))]),
            ("operation 9", vec![("retention.ms", 9, Some("1"))]),
            ("operation -1", vec![("retention.ms", -1, Some("1"))]),
            (
                "conflict",
                vec![("min.compaction.lag.ms", SET, Some("10")), ("max.compaction.lag.ms", SET, Some("5"))],
            ),
            ("no name", vec![("", SET, Some("5"))]),
            ("append null", vec![("cleanup.policy", APPEND, None)]),
            ("unset", vec![("retention.ms", DELETE, None)]),
            ("unset again", vec![("retention.ms", DELETE, None)]),
            ("nothing", vec![]),
        ] {
            s.call(
                step,
                ApiKey::IncrementalAlterConfigs,
                version,
                incremental(TOPIC, "operated", &ops, false),
            );
            s.newest(
                &format!("after {step}"),
                ApiKey::DescribeConfigs,
                described(TOPIC, "operated", Some(&["retention.ms", "cleanup.policy"])),
            );
        }
        s.call(
            "unknown topic",
            ApiKey::IncrementalAlterConfigs,
            version,
            incremental(TOPIC, "unknown", &[("retention.ms", SET, Some("1"))], false),
        );
        let one = json!({"ResourceType": TOPIC, "ResourceName": "operated", "Configs": [{"Name": "retention.ms", "Value": "9"}]});
        s.call("one topic twice", ApiKey::IncrementalAlterConfigs, version, json!({"Resources": [one, one]}));
    }
    for version in versions(ApiKey::AlterConfigs) {
        for (step, rows) in [
            ("replaced", json!([{"Name": "segment.ms", "Value": "7"}])),
            ("replaced by null", json!([{"Name": "segment.ms", "Value": null}])),
            (
                "replaced twice",
                json!([{"Name": "segment.ms", "Value": "1"}, {"Name": "segment.ms", "Value": "1"}]),
            ),
            ("replaced by an unknown", json!([{"Name": "nonsense", "Value": "1"}])),
            ("replaced by nothing", json!([])),
        ] {
            let body =
                json!({"Resources": [{"ResourceType": TOPIC, "ResourceName": "operated", "Configs": rows}]});
            s.call(step, ApiKey::AlterConfigs, version, body);
            s.newest(
                &format!("after {step}"),
                ApiKey::DescribeConfigs,
                described(TOPIC, "operated", Some(&["retention.ms", "segment.ms"])),
            );
        }
        s.call(
            "unknown topic",
            ApiKey::AlterConfigs,
            version,
            json!({"Resources": [{"ResourceType": TOPIC, "ResourceName": "unknown", "Configs": []}]}),
        );
    }
    s
}

fn describe() -> Script {
    let mut s = Script::new("configs/describe");
    topic(&mut s, "described", 1, &[("retention.ms", "5"), ("cleanup.policy", "compact")]);
    for (step, keys) in [
        ("all", None),
        ("some", Some(vec!["retention.ms", "segment.ms"])),
        ("none", Some(vec![])),
        ("unknown", Some(vec!["nonsense"])),
        ("twice", Some(vec!["retention.ms", "retention.ms"])),
    ] {
        s.each(step, ApiKey::DescribeConfigs, &described(TOPIC, "described", keys.as_deref()));
    }
    let row =
        json!({"ResourceType": TOPIC, "ResourceName": "described", "ConfigurationKeys": ["retention.ms"]});
    s.newest("one topic twice", ApiKey::DescribeConfigs, json!({"Resources": [row, row]}));
    let strange = json!({"ResourceType": 99, "ResourceName": "described", "ConfigurationKeys": null});
    s.each("unknown kind", ApiKey::DescribeConfigs, &json!({"Resources": [row, strange, row]}));
    s.each("unknown topic", ApiKey::DescribeConfigs, &described(TOPIC, "unknown", None));
    s
}

/// Brokers, with properties that they have and others.
fn brokers() -> Script {
    let mut s = Script::new("configs/brokers");
    for name in ["1", "", "9", "x"] {
        for keys in [
            &[][..],
            &["nonsense"],
            &["a/b", "nonsense"],
            &["log.retention.ms"],
            &["log.retention.ms", "nonsense"],
        ] {
            // Everything that a broker has tells where its files and sockets are.
            if name == "1" && keys.is_empty() {
                continue;
            }
            s.each(
                &format!("{keys:?} of {name:?}"),
                ApiKey::DescribeConfigs,
                &described(BROKER, name, Some(keys)),
            );
        }
    }
    s
}

fn groups() -> Script {
    let mut s = Script::new("configs/groups");
    for name in OF_GROUPS {
        for value in OF_GROUPS_VALUES {
            s.newest(
                &format!("{name}={value}"),
                ApiKey::IncrementalAlterConfigs,
                incremental(GROUP, "g", &[(name, SET, Some(value))], true),
            );
        }
    }
    for version in versions(ApiKey::IncrementalAlterConfigs) {
        s.call(
            "no group",
            ApiKey::IncrementalAlterConfigs,
            version,
            incremental(GROUP, "", &[(OF_GROUPS[0], SET, Some("50000"))], false),
        );
        s.call(
            "unknown",
            ApiKey::IncrementalAlterConfigs,
            version,
            incremental(GROUP, "g", &[("nonsense", SET, Some("1"))], false),
        );
        s.call(
            "set",
            ApiKey::IncrementalAlterConfigs,
            version,
            incremental(GROUP, "g", &[(OF_GROUPS[0], SET, Some("50000"))], false),
        );
    }
    s.each("set before", ApiKey::DescribeConfigs, &described(GROUP, "g", None));
    s.each("never set", ApiKey::DescribeConfigs, &described(GROUP, "other", None));
    s.each("no name", ApiKey::DescribeConfigs, &described(GROUP, "", None));
    s
}

fn metrics() -> Script {
    let mut s = Script::new("configs/client-metrics");
    for (step, name, value) in [
        ("interval", "interval.ms", "1000"),
        ("short interval", "interval.ms", "10"),
        ("no number", "interval.ms", "x"),
        ("long interval", "interval.ms", "99999999"),
        ("metrics", "metrics", "a,b"),
        ("match", "match", "client_id=x,client_instance_id=.*"),
        ("unknown match", "match", "zap=x"),
        ("match without value", "match", "client_id"),
        ("bad pattern", "match", "client_id=["),
        ("unknown", "nonsense", "1"),
    ] {
        s.each(
            step,
            ApiKey::IncrementalAlterConfigs,
            &incremental(METRICS, "m", &[(name, SET, Some(value))], false),
        );
    }
    for name in ["m", "unknown", ""] {
        s.each(&format!("described {name:?}"), ApiKey::DescribeConfigs, &described(METRICS, name, None));
    }
    s
}

fn kinds() -> Script {
    let mut s = Script::new("configs/kinds");
    for kind in [0, 1, 3, 7, 64, 77, -1] {
        s.each(&format!("kind {kind}"), ApiKey::DescribeConfigs, &described(kind, "x", None));
        s.each(
            &format!("kind {kind}"),
            ApiKey::IncrementalAlterConfigs,
            &incremental(kind, "x", &[("a", SET, Some("1"))], false),
        );
        let row =
            json!({"ResourceType": kind, "ResourceName": "x", "Configs": [{"Name": "a", "Value": "1"}]});
        s.each(&format!("kind {kind}"), ApiKey::AlterConfigs, &json!({"Resources": [row]}));
    }
    for api in [ApiKey::DescribeConfigs, ApiKey::IncrementalAlterConfigs, ApiKey::AlterConfigs] {
        s.each("nothing", api, &json!({}));
    }
    s
}

fn listed() -> Script {
    let mut s = Script::new("configs/listed");
    s.newest(
        "a group",
        ApiKey::IncrementalAlterConfigs,
        incremental(GROUP, "listed", &[(OF_GROUPS[0], SET, Some("50000"))], false),
    );
    for kinds in [
        vec![],
        vec![4],
        vec![8],
        vec![16],
        vec![32],
        vec![16, 32],
        vec![77],
        vec![0],
        vec![1],
        vec![-1],
        vec![32, 32],
    ] {
        // All kinds together would name the topics of every other scenario.
        for version in if kinds.is_empty() { 0..=0 } else { 1..=1 } {
            s.call(
                &format!("{kinds:?}"),
                ApiKey::ListConfigResources,
                version,
                json!({"ResourceTypes": kinds}),
            );
        }
    }
    s
}
