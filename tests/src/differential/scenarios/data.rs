//! Records in and out, and the offsets around them.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::topic;
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![
        produce(),
        codecs(),
        damaged(),
        timestamps(),
        sequences(),
        limits(),
        offsets(),
        epochs(),
        delete_records(),
        producers(),
    ]
}

pub fn produced(topic: &str, partition: i32, acks: i16, batches: Value) -> Value {
    let data = json!([{"Index": partition, "Records": batches}]);
    json!({"Acks": acks, "TimeoutMs": 5000, "TopicData": [{"Name": topic, "TopicId": "$id", "PartitionData": data}]})
}

fn fetched(offset: i64) -> Value {
    let partition = json!({"FetchOffset": offset, "PartitionMaxBytes": 1_048_576});
    json!({"MaxWaitMs": 10, "MinBytes": 1, "MaxBytes": 50_000_000, "Topics": [{"Topic": "$topic", "TopicId": "$id", "Partitions": [partition]}]})
}

/// The same fetch on a topic, which older versions name.
pub fn fetch_of(topic: &str, offset: i64) -> Value {
    let mut body = fetched(offset);
    body["Topics"][0]["Topic"] = json!(topic);
    body
}

fn produce() -> Script {
    let mut s = Script::new("data/produce");
    topic(&mut s, "produced", 1, &[]);
    let batch = json!([{"values": ["a", "b"], "keys": ["k", null], "headers": "h"}]);
    for acks in [1, -1, 0, 2, -2, i16::MAX] {
        s.each(&format!("acks {acks}"), ApiKey::Produce, &produced("produced", 0, acks, batch.clone()));
    }
    for partition in [1, -1, i32::MAX] {
        s.each(
            &format!("partition {partition}"),
            ApiKey::Produce,
            &produced("produced", partition, -1, batch.clone()),
        );
    }
    for version in versions(ApiKey::Produce).filter(|version| *version < 13) {
        s.call("unknown topic", ApiKey::Produce, version, produced("unknown", 0, -1, batch.clone()));
        s.call(
            "internal topic",
            ApiKey::Produce,
            version,
            produced("__cluster_metadata", 0, -1, batch.clone()),
        );
    }
    let unknown =
        json!({"TopicId": "ASNFZ4mrze8BI0VniavN7w", "PartitionData": [{"Index": 0, "Records": batch}]});
    s.call("unknown id", ApiKey::Produce, 13, json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": [unknown]}));
    let zero = json!({"PartitionData": [{"Index": 0, "Records": batch}]});
    s.call("no id", ApiKey::Produce, 13, json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": [zero]}));
    s.each("nothing", ApiKey::Produce, &json!({"Acks": -1, "TimeoutMs": 5000}));
    s.each("no records", ApiKey::Produce, &produced("produced", 0, -1, json!([])));
    // Apache Kafka never answers it, so one version must do.
    s.newest("null records", ApiKey::Produce, produced("produced", 0, -1, json!(null)));
    s.each(
        "two batches",
        ApiKey::Produce,
        &produced("produced", 0, -1, json!([{"values": ["a"]}, {"values": ["b"]}])),
    );
    s.each("empty batch", ApiKey::Produce, &produced("produced", 0, -1, json!([{"values": []}])));
    s.each(
        "other base offset",
        ApiKey::Produce,
        &produced("produced", 0, -1, json!([{"values": ["a"], "base": 77}])),
    );
    s.each(
        "transactional without an id",
        ApiKey::Produce,
        &produced(
            "produced",
            0,
            -1,
            json!([{"values": ["a"], "transactional": true, "producer": [7, 0, 0]}]),
        ),
    );
    s.each(
        "control",
        ApiKey::Produce,
        &produced("produced", 0, -1, json!([{"values": ["a"], "control": true}])),
    );
    s.each(
        "append time from a client",
        ApiKey::Produce,
        &produced("produced", 0, -1, json!([{"values": ["a"], "append_time": true}])),
    );
    s.each("read back", ApiKey::Fetch, &fetch_of("produced", 0));
    topic(&mut s, "produced-compacted", 1, &[("cleanup.policy", "compact")]);
    s.each(
        "no key in a compacted topic",
        ApiKey::Produce,
        &produced("produced-compacted", 0, -1, json!([{"values": ["a", "b"], "keys": ["k", null]}])),
    );
    s.each(
        "tombstone",
        ApiKey::Produce,
        &produced("produced-compacted", 0, -1, json!([{"values": [null], "keys": ["k"]}])),
    );
    s
}

fn codecs() -> Script {
    let mut s = Script::new("data/codecs");
    for (index, of_topic) in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"].iter().enumerate()
    {
        let name = format!("codecs-{index}");
        topic(&mut s, &name, 1, &[("compression.type", of_topic)]);
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let batch = json!([{"values": ["aaaaaaaaaaaaaaaaaaaaaaaaaa", "b"], "codec": codec}]);
            s.each(&format!("{codec} into {of_topic}"), ApiKey::Produce, &produced(&name, 0, -1, batch));
        }
        s.newest(&format!("back from {of_topic}"), ApiKey::Fetch, fetch_of(&name, 0));
        s.call(&format!("back from {of_topic}"), ApiKey::Fetch, 4, fetch_of(&name, 0));
    }
    s
}

fn damaged() -> Script {
    let mut s = Script::new("data/damaged");
    topic(&mut s, "damaged", 1, &[]);
    for damage in [
        "crc",
        "magic 0",
        "magic 1",
        "magic 3",
        "magic -1",
        "cut",
        "header only",
        "half a header",
        "length 0",
        "length -1",
        "length huge",
        "trailing",
        "count +1",
        "count -1",
        "count 0",
        "delta +1",
        "delta -1",
        "codec 5",
        "codec 7",
        "record length",
        "record garbage",
        "horizon",
        "unused bits",
    ] {
        s.each(
            damage,
            ApiKey::Produce,
            &produced("damaged", 0, -1, json!([{"values": ["aaaa", "b"], "damage": damage}])),
        );
    }
    s.newest("what was let in", ApiKey::Fetch, fetch_of("damaged", 0));
    // The last, because what only one lets in moves the offsets of all that follows.
    let hollow = json!([{"values": ["aaaa", "b"], "damage": "gzip that is none"}]);
    s.each("gzip that is none", ApiKey::Produce, &produced("damaged", 0, -1, hollow));
    s
}

fn timestamps() -> Script {
    let mut s = Script::new("data/timestamps");
    let hour = 3_600_000_i64;
    for (index, configs) in [
        vec![],
        vec![("message.timestamp.type", "LogAppendTime")],
        vec![("message.timestamp.before.max.ms", "1000")],
        vec![("message.timestamp.after.max.ms", "1000")],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("timestamps-{index}");
        topic(&mut s, &name, 1, configs);
        for (step, time) in
            [("now", 0), ("an hour ago", -hour), ("in half an hour", hour / 2), ("in two hours", 2 * hour)]
        {
            s.each(
                &format!("{step}, {index}"),
                ApiKey::Produce,
                &produced(&name, 0, -1, json!([{"values": ["a", "b"], "time": time}])),
            );
        }
        for at in [-1, -2, 0, i64::MAX] {
            s.newest(
                &format!("at {at}, {index}"),
                ApiKey::Produce,
                produced(&name, 0, -1, json!([{"values": ["a"], "at": at}])),
            );
        }
        s.newest(&format!("back, {index}"), ApiKey::Fetch, fetch_of(&name, 0));
    }
    s
}

fn sequences() -> Script {
    let mut s = Script::new("data/sequences");
    for version in versions(ApiKey::Produce) {
        let name = format!("sequences-{version}");
        topic(&mut s, &name, 2, &[]);
        s.newest(
            "id",
            ApiKey::InitProducerId,
            json!({"TransactionalId": null, "TransactionTimeoutMs": 1000}),
        );
        s.learn("pid", "/ProducerId");
        for (step, epoch, sequence) in [
            ("first", 0, 0),
            ("second", 0, 2),
            ("second again", 0, 2),
            ("first again", 0, 0),
            ("gap", 0, 9),
            ("older epoch", -1, 0),
            ("part of the second", 0, 3),
            ("newer epoch, not from 0", 1, 5),
            ("newer epoch", 1, 0),
            ("older epoch again", 0, 4),
            ("negative sequence", 1, -1),
            ("largest sequence", 1, i32::MAX),
        ] {
            let batch = json!([{"values": ["a", "b"], "producer": ["$pid", epoch, sequence]}]);
            s.call(step, ApiKey::Produce, version, produced(&name, 0, -1, batch));
        }
        let unknown = json!([{"values": ["a"], "producer": [424_242, 0, 7]}]);
        s.call("unknown producer, not from 0", ApiKey::Produce, version, produced(&name, 1, -1, unknown));
        s.newest("kept", ApiKey::Fetch, fetch_of(&name, 0));
    }
    s
}

fn limits() -> Script {
    let mut s = Script::new("data/limits");
    topic(&mut s, "limits", 1, &[("max.message.bytes", "1000"), ("segment.bytes", "1048576")]);
    for count in [800, 931, 932, 933, 1000, 5000] {
        s.each(
            &format!("{count} bytes"),
            ApiKey::Produce,
            &produced("limits", 0, -1, json!([{"values": ["x"], "repeat": count}])),
        );
    }
    s.newest(
        "squeezed",
        ApiKey::Produce,
        produced("limits", 0, -1, json!([{"values": ["x"], "repeat": 100_000, "codec": "gzip"}])),
    );
    s
}

fn offsets() -> Script {
    let mut s = Script::new("data/offsets");
    topic(&mut s, "offsets", 2, &[]);
    for (at, values) in
        [(1_000_000, json!(["a", "b"])), (3_000_000, json!(["c"])), (2_000_000, json!(["d", "e"]))]
    {
        s.newest("fill", ApiKey::Produce, produced("offsets", 0, -1, json!([{"values": values, "at": at}])));
    }
    for timestamp in
        [-1, -2, -3, -4, -5, -6, -7, 0, 1_000_000, 1_000_001, 2_500_000, 3_000_001, i64::MAX, i64::MIN]
    {
        for partition in [0, 1, 2] {
            let row = json!({"PartitionIndex": partition, "Timestamp": timestamp});
            let body = json!({"ReplicaId": -1, "Topics": [{"Name": "offsets", "Partitions": [row]}], "TimeoutMs": 1000});
            s.each(&format!("at {timestamp} of {partition}"), ApiKey::ListOffsets, &body);
        }
    }
    for epoch in [0, 1, -2, 99] {
        let row = json!({"Timestamp": -1, "CurrentLeaderEpoch": epoch});
        let body = json!({"ReplicaId": -1, "Topics": [{"Name": "offsets", "Partitions": [row]}]});
        for version in 4..=11 {
            s.call(&format!("epoch {epoch}"), ApiKey::ListOffsets, version, body.clone());
        }
    }
    for (step, replica, isolation) in [
        ("a follower", 1, 0),
        ("a debugger", -2, 0),
        ("an unknown follower", 99, 0),
        ("committed", -1, 1),
        ("unknown isolation", -1, 9),
    ] {
        let body = json!({"ReplicaId": replica, "IsolationLevel": isolation, "Topics": [{"Name": "offsets", "Partitions": [{"Timestamp": -1}]}]});
        for version in 2..=11 {
            s.call(step, ApiKey::ListOffsets, version, body.clone());
        }
    }
    let twice = json!([{"Timestamp": -1}, {"Timestamp": -2}]);
    s.each(
        "one partition twice",
        ApiKey::ListOffsets,
        &json!({"ReplicaId": -1, "Topics": [{"Name": "offsets", "Partitions": twice}]}),
    );
    s.each("nothing", ApiKey::ListOffsets, &json!({"ReplicaId": -1}));
    s
}

fn epochs() -> Script {
    let mut s = Script::new("data/epochs");
    topic(&mut s, "epochs", 1, &[]);
    s.newest("fill", ApiKey::Produce, produced("epochs", 0, -1, json!([{"values": ["a"]}])));
    for current in [-1, 0, 1, -2] {
        for epoch in [-1, 0, 1, 99, -2] {
            let row = json!({"CurrentLeaderEpoch": current, "LeaderEpoch": epoch});
            s.each(
                &format!("{epoch} as of {current}"),
                ApiKey::OffsetForLeaderEpoch,
                &json!({"ReplicaId": -1, "Topics": [{"Topic": "epochs", "Partitions": [row]}]}),
            );
        }
    }
    for (step, topic, partition) in [
        ("unknown partition", "epochs", 9),
        ("negative partition", "epochs", -1),
        ("unknown topic", "unknown", 0),
    ] {
        s.each(
            step,
            ApiKey::OffsetForLeaderEpoch,
            &json!({"ReplicaId": -1, "Topics": [{"Topic": topic, "Partitions": [{"Partition": partition}]}]}),
        );
    }
    s
}

fn delete_records() -> Script {
    let mut s = Script::new("data/delete-records");
    topic(&mut s, "cut", 1, &[]);
    s.newest("fill", ApiKey::Produce, produced("cut", 0, -1, json!([{"values": ["a", "b", "c", "d"]}])));
    for (step, partition, offset) in [
        ("to 0", 0, 0),
        ("to 1", 0, 1),
        ("back to 0", 0, 0),
        ("beyond the end", 0, 5),
        ("negative", 0, -2),
        ("unknown partition", 7, 0),
        ("negative partition", -1, 0),
        ("to the end", 0, -1),
        ("again", 0, -1),
    ] {
        let row = json!({"PartitionIndex": partition, "Offset": offset});
        s.each(
            step,
            ApiKey::DeleteRecords,
            &json!({"Topics": [{"Name": "cut", "Partitions": [row]}], "TimeoutMs": 5000}),
        );
        s.newest(
            &format!("start after {step}"),
            ApiKey::ListOffsets,
            json!({"ReplicaId": -1, "Topics": [{"Name": "cut", "Partitions": [{"Timestamp": -2}]}]}),
        );
    }
    s.each("nothing", ApiKey::DeleteRecords, &json!({"TimeoutMs": 1000}));
    s.each("below the start", ApiKey::Fetch, &fetch_of("cut", 0));
    topic(&mut s, "cut-compacted", 1, &[("cleanup.policy", "compact")]);
    s.each(
        "compacted",
        ApiKey::DeleteRecords,
        &json!({"Topics": [{"Name": "cut-compacted", "Partitions": [{"Offset": 0}]}], "TimeoutMs": 5000}),
    );
    s
}

fn producers() -> Script {
    let mut s = Script::new("data/producers");
    topic(&mut s, "producers", 1, &[]);
    s.newest("id", ApiKey::InitProducerId, json!({"TransactionalId": null, "TransactionTimeoutMs": 1000}))
        .learn("pid", "/ProducerId");
    s.newest(
        "none yet",
        ApiKey::DescribeProducers,
        json!({"Topics": [{"Name": "producers", "PartitionIndexes": [0, 9, -1]}]}),
    );
    s.newest(
        "fill",
        ApiKey::Produce,
        produced("producers", 0, -1, json!([{"values": ["a", "b"], "producer": ["$pid", 3, 0]}])),
    );
    s.newest("one", ApiKey::DescribeProducers, json!({"Topics": [{"Name": "producers", "PartitionIndexes": [0]}, {"Name": "unknown", "PartitionIndexes": [0]}]}));
    s
}
