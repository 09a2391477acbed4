//! Topics: made, shown, grown, deleted.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::topic;
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![
        create(),
        names(),
        create_configs(),
        metadata(),
        auto_create(),
        delete(),
        grow(),
        pages(),
        log_dirs(),
    ]
}

fn creatable(name: &str, partitions: i32, factor: i16) -> Value {
    json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": factor})
}

fn create() -> Script {
    let mut s = Script::new("topics/create");
    for version in versions(ApiKey::CreateTopics) {
        let name = format!("create-{version}");
        let mut ask = |step: &str, topics: Value, only: bool| {
            s.call(step, ApiKey::CreateTopics, version, json!({"Topics": topics, "validateOnly": only}));
        };
        ask("nothing", json!([]), false);
        ask("checked only", json!([creatable(&name, 2, 1)]), true);
        ask("made", json!([creatable(&name, 2, 1)]), false);
        ask("again", json!([creatable(&name, 2, 1)]), false);
        ask("again, checked only", json!([creatable(&name, 2, 1)]), true);
        for (step, partitions, factor) in [
            ("default counts", -1, -1),
            ("no partitions", 0, 1),
            ("negative partitions", -2, 1),
            ("no replicas", 1, 0),
            ("negative replicas", 1, -2),
            ("replicas beyond brokers", 1, 2),
            ("too many partitions", 10_001, 1),
            ("huge", i32::MAX, 1),
        ] {
            ask(
                step,
                json!([creatable(&format!("{name}-{}", step.replace(' ', "-")), partitions, factor)]),
                true,
            );
        }
        for (step, assignments) in [
            ("assigned", json!([[0, [1]]])),
            ("assigned twice", json!([[0, [1]], [0, [1]]])),
            ("gap", json!([[0, [1]], [2, [1]]])),
            ("not from 0", json!([[1, [1]]])),
            ("unknown broker", json!([[0, [99]]])),
            ("broker twice", json!([[0, [1, 1]]])),
            ("no broker", json!([[0, []]])),
            ("negative broker", json!([[0, [-1]]])),
            ("uneven", json!([[0, [1]], [1, [1, 99]]])),
            ("negative partition", json!([[-1, [1]]])),
        ] {
            let rows = assignments.as_array().expect("a list").iter();
            let rows: Vec<Value> =
                rows.map(|row| json!({"PartitionIndex": row[0], "BrokerIds": row[1]})).collect();
            let new = |partitions: i32, factor: i16| json!([{"Name": format!("{name}-a"), "NumPartitions": partitions, "ReplicationFactor": factor, "Assignments": rows}]);
            ask(step, new(-1, -1), true);
            ask(&format!("{step}, with counts"), new(1, 1), true);
        }
        ask(
            "twice in one request",
            json!([creatable("twice", 1, 1), creatable("twice", 1, 1), creatable("once", 1, 1)]),
            true,
        );
    }
    s
}

const NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "a/b",
    "a b",
    "ż",
    "__consumer_offsets",
    "__transaction_state",
    "__cluster_metadata",
    "a:b",
    "a\u{0}b",
];

const GOOD_NAMES: &[&str] = &["__consumer_offsets", "__transaction_state"];

fn names() -> Script {
    let mut s = Script::new("topics/names");
    let long = |count: usize| "n".repeat(count);
    let all: Vec<String> =
        NAMES.iter().map(|&name| name.to_owned()).chain([long(249), long(250), long(1000)]).collect();
    for name in &all {
        let step = if name.len() > 100 { format!("{} letters", name.len()) } else { format!("{name:?}") };
        s.each(
            &step,
            ApiKey::CreateTopics,
            &json!({"Topics": [creatable(name, 1, 1)], "validateOnly": true}),
        );
        // Before version 4 the request would create what has a good name.
        let first = if GOOD_NAMES.contains(&name.as_str()) || name.len() == 249 { 4 } else { 0 };
        for version in first..=*versions(ApiKey::Metadata).end() {
            let body = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": name.contains('/')});
            s.call(&step, ApiKey::Metadata, version, body);
        }
        s.each(&step, ApiKey::DeleteTopics, &json!({"TopicNames": [name], "Topics": [{"Name": name}]}));
        s.each(
            &step,
            ApiKey::CreatePartitions,
            &json!({"Topics": [{"Name": name, "Count": 2, "Assignments": null}], "ValidateOnly": true}),
        );
        s.each(&step, ApiKey::DescribeConfigs, &json!({"Resources": [{"ResourceType": 2, "ResourceName": name, "ConfigurationKeys": ["retention.ms"]}]}));
        s.each(
            &step,
            ApiKey::ListOffsets,
            &json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [{"Timestamp": -1}]}]}),
        );
        s.each(
            &step,
            ApiKey::DeleteRecords,
            &json!({"Topics": [{"Name": name, "Partitions": [{"Offset": 0}]}], "TimeoutMs": 1000}),
        );
        s.each(
            &step,
            ApiKey::DescribeProducers,
            &json!({"Topics": [{"Name": name, "PartitionIndexes": [0]}]}),
        );
        s.each(&step, ApiKey::DescribeTopicPartitions, &json!({"Topics": [{"Name": name}]}));
    }
    topic(&mut s, "colli.sion", 1, &[]);
    s.each(
        "dot and underscore collide",
        ApiKey::CreateTopics,
        &json!({"Topics": [creatable("colli_sion", 1, 1)], "validateOnly": true}),
    );
    s
}

fn create_configs() -> Script {
    let mut s = Script::new("topics/create-configs");
    for (index, (name, value)) in [
        ("retention.ms", Some("5")),
        ("retention.ms", Some("x")),
        ("retention.ms", None),
        ("nonsense", Some("1")),
        ("", Some("1")),
        ("cleanup.policy", Some("compact,delete")),
        ("cleanup.policy", Some("zap")),
        ("segment.bytes", Some("1")),
        ("compression.type", Some("zstd")),
        ("min.insync.replicas", Some("0")),
        ("remote.storage.enable", Some("true")),
    ]
    .iter()
    .enumerate()
    {
        let new = json!({"Name": format!("configured-{index}"), "NumPartitions": 1, "ReplicationFactor": 1, "Configs": [{"Name": name, "Value": value}]});
        s.each(
            &format!("{name}={value:?}"),
            ApiKey::CreateTopics,
            &json!({"Topics": [new], "validateOnly": true}),
        );
    }
    let new = json!({"Name": "configured", "NumPartitions": 1, "ReplicationFactor": 1,
        "Configs": [{"Name": "retention.ms", "Value": "1"}, {"Name": "retention.ms", "Value": "2"}]});
    s.each("one property twice", ApiKey::CreateTopics, &json!({"Topics": [new], "validateOnly": true}));
    s
}

fn metadata() -> Script {
    let mut s = Script::new("topics/metadata");
    topic(&mut s, "shown", 3, &[]);
    for (step, topics, operations) in [
        ("by name", json!([{"Name": "shown"}]), false),
        ("with operations", json!([{"Name": "shown"}]), true),
        ("unknown", json!([{"Name": "unknown"}]), false),
        ("twice", json!([{"Name": "shown"}, {"Name": "shown"}]), false),
        ("nothing", json!([]), false),
        ("null name", json!([{"Name": null}]), false),
    ] {
        let body = json!({"Topics": topics, "AllowAutoTopicCreation": false, "IncludeTopicAuthorizedOperations": operations, "IncludeClusterAuthorizedOperations": operations});
        let first = match step {
            // Before this one an unknown topic is always created, in Apache Kafka some time after the answer.
            "unknown" => 4,
            // Version 0 has no way to ask for no topic: an empty list is all of them, which other scenarios change.
            "nothing" => 1,
            _ => 0,
        };
        for version in first..=*versions(ApiKey::Metadata).end() {
            s.call(step, ApiKey::Metadata, version, body.clone());
        }
    }
    for (step, row) in [
        ("by id", json!({"TopicId": "$id", "Name": null})),
        ("by id and name", json!({"TopicId": "$id", "Name": "shown"})),
        ("by id and another name", json!({"TopicId": "$id", "Name": "other"})),
        ("unknown id", json!({"TopicId": "ASNFZ4mrze8BI0VniavN7w", "Name": null})),
    ] {
        for version in 10..=13 {
            s.call(
                step,
                ApiKey::Metadata,
                version,
                json!({"Topics": [row], "AllowAutoTopicCreation": false}),
            );
        }
    }
    s
}

fn auto_create() -> Script {
    let mut s = Script::new("topics/auto-create");
    for version in versions(ApiKey::Metadata) {
        let body = json!({"Topics": [{"Name": format!("auto-{version}")}]});
        s.call("first", ApiKey::Metadata, version, body.clone());
        s.until("then", ApiKey::Metadata, body, "/Topics/0/ErrorCode", json!(0));
    }
    s
}

fn delete() -> Script {
    let mut s = Script::new("topics/delete");
    for version in versions(ApiKey::DeleteTopics) {
        let name = format!("deleted-{version}");
        topic(&mut s, &name, 1, &[]);
        let body = json!({"TopicNames": [name], "Topics": [{"Name": name}]});
        s.call("deleted", ApiKey::DeleteTopics, version, body.clone());
        s.call("again", ApiKey::DeleteTopics, version, body);
        s.call("nothing", ApiKey::DeleteTopics, version, json!({}));
        s.call(
            "one name twice",
            ApiKey::DeleteTopics,
            version,
            json!({"TopicNames": ["x", "x"], "Topics": [{"Name": "x"}, {"Name": "x"}], "TimeoutMs": 5000}),
        );
    }
    topic(&mut s, "deleted-by-id", 1, &[]);
    for (step, rows) in [
        ("unknown id", json!([{"Name": null, "TopicId": "ASNFZ4mrze8BI0VniavN7w"}])),
        ("no id, no name", json!([{"Name": null}])),
        ("id and name", json!([{"Name": "deleted-by-id", "TopicId": "$id"}])),
        ("id twice", json!([{"Name": null, "TopicId": "$id"}, {"Name": null, "TopicId": "$id"}])),
        ("by id", json!([{"Name": null, "TopicId": "$id"}])),
        ("by id again", json!([{"Name": null, "TopicId": "$id"}])),
    ] {
        s.newest(step, ApiKey::DeleteTopics, json!({"Topics": rows, "TimeoutMs": 5000}));
    }
    s
}

fn grow() -> Script {
    let mut s = Script::new("topics/grow");
    for version in versions(ApiKey::CreatePartitions) {
        let name = format!("grown-{version}");
        topic(&mut s, &name, 1, &[]);
        for (step, count, assignments, only) in [
            ("checked only", 3, json!(null), true),
            ("same", 1, json!(null), false),
            ("fewer", 0, json!(null), false),
            ("negative", -1, json!(null), false),
            ("too many", 10_002, json!(null), true),
            ("assigned too few", 3, json!([[1]]), false),
            ("unknown broker", 2, json!([[99]]), false),
            ("broker twice", 2, json!([[1, 1]]), false),
            ("other factor", 2, json!([[1, 99]]), false),
            ("no broker", 2, json!([[]]), false),
            ("empty list", 2, json!([]), true),
            ("assigned too many", 2, json!([[1], [1]]), false),
            ("assigned", 2, json!([[1]]), false),
            ("grown", 3, json!(null), false),
        ] {
            let rows = assignments
                .as_array()
                .map(|rows| rows.iter().map(|ids| json!({"BrokerIds": ids})).collect::<Vec<_>>());
            let body = json!({"Topics": [{"Name": name, "Count": count, "Assignments": rows}], "ValidateOnly": only, "TimeoutMs": 5000});
            s.call(step, ApiKey::CreatePartitions, version, body);
        }
        s.newest("shown", ApiKey::Metadata, json!({"Topics": [{"Name": name}]}));
        let twice = json!([{"Name": name, "Count": 4, "Assignments": null}, {"Name": name, "Count": 5, "Assignments": null}]);
        s.call("twice", ApiKey::CreatePartitions, version, json!({"Topics": twice, "TimeoutMs": 5000}));
        s.call("nothing", ApiKey::CreatePartitions, version, json!({"TimeoutMs": 5000}));
    }
    s
}

fn pages() -> Script {
    let mut s = Script::new("topics/pages");
    topic(&mut s, "pages-a", 3, &[]);
    topic(&mut s, "pages-b", 2, &[]);
    let both = json!([{"Name": "pages-b"}, {"Name": "pages-a"}]);
    for limit in [-1, 0, 1, 2, 3, 4, 5, 6, i32::MAX] {
        s.newest(
            &format!("limit {limit}"),
            ApiKey::DescribeTopicPartitions,
            json!({"Topics": both, "ResponsePartitionLimit": limit}),
        );
    }
    for (topic, partition) in [
        ("pages-a", 1),
        ("pages-a", 3),
        ("pages-b", 0),
        ("pages-b", -1),
        ("pages-c", 0),
        ("pages", 0),
        ("", 0),
    ] {
        let body = json!({"Topics": both, "ResponsePartitionLimit": 2, "Cursor": {"TopicName": topic, "PartitionIndex": partition}});
        s.newest(&format!("from {topic}-{partition}"), ApiKey::DescribeTopicPartitions, body);
    }
    s.newest(
        "unknown",
        ApiKey::DescribeTopicPartitions,
        json!({"Topics": [{"Name": "pages-a"}, {"Name": "unknown"}, {"Name": "pages-a"}]}),
    );
    s
}

fn log_dirs() -> Script {
    let mut s = Script::new("topics/log-dirs");
    topic(&mut s, "in-directories", 2, &[]);
    for (step, rows) in [
        ("some", json!([{"Topic": "in-directories", "Partitions": [0, 1]}])),
        ("beyond", json!([{"Topic": "in-directories", "Partitions": [99, -1]}])),
        ("unknown", json!([{"Topic": "unknown", "Partitions": [0]}])),
        ("nothing", json!([])),
    ] {
        s.each(step, ApiKey::DescribeLogDirs, &json!({"Topics": rows}));
    }
    // No directory that both brokers have has one name.
    let long = "t".repeat(249);
    for (step, name) in
        [("nowhere", "in-directories"), ("unknown to nowhere", "unknown"), ("too long", &long)]
    {
        let topics = json!([{"Name": name, "Partitions": [0, 99]}]);
        s.each(step, ApiKey::AlterReplicaLogDirs, &json!({"Dirs": [{"Path": "/nowhere", "Topics": topics}]}));
    }
    s.each("no wish", ApiKey::AlterReplicaLogDirs, &json!({"Dirs": []}));
    s
}
