//! The cluster and what it says of itself.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![api_versions(), bad_frames(), describe(), quorum(), features(), producers(), epochs_of_brokers()]
}

fn api_versions() -> Script {
    let mut s = Script::new("cluster/api-versions");
    for version in versions(ApiKey::ApiVersions).rev() {
        s.on(&format!("v{version}"));
        s.call(
            "a client",
            ApiKey::ApiVersions,
            version,
            json!({"ClientSoftwareName": "d", "ClientSoftwareVersion": "1.0"}),
        );
    }
    for (name, software, number) in [
        ("no name", "", "1"),
        ("no version", "d", ""),
        ("odd name", "a b", "1"),
        ("odd version", "d", "!"),
        ("dashes", "-d", "1-"),
    ] {
        s.on(name);
        s.each(
            name,
            ApiKey::ApiVersions,
            &json!({"ClientSoftwareName": software, "ClientSoftwareVersion": number}),
        );
    }
    for version in [5, 99, -1] {
        s.on("beyond").call("unknown version", ApiKey::ApiVersions, version, json!({}));
    }
    s
}

fn bad_frames() -> Script {
    let mut s = Script::new("cluster/bad-frames");
    let frame = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat();
    s.raw("no such API", &frame(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    s.raw("key -1", &frame(&[0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    s.raw("removed API", &frame(&[0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    s.raw("metadata of version 99", &frame(&[0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0]));
    s.raw("metadata of version -1", &frame(&[0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff]));
    s.raw(
        "produce of version 2",
        &frame(&[0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0]),
    );
    s.raw("cut body", &frame(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 9]));
    s.raw("count -2", &frame(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]));
    s.raw("half a header", &frame(&[0, 3, 0, 1]));
    s.raw("empty frame", &frame(&[]));
    s.raw("negative size", &[0xff, 0xff, 0xff, 0xff]);
    s.raw("huge size", &[0x7f, 0xff, 0xff, 0xff]);
    s.raw("only the controller's", &frame(&[0, 52, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    s
}

fn describe() -> Script {
    let mut s = Script::new("cluster/describe");
    for (name, endpoint) in [
        ("brokers", 1),
        ("controllers", 2),
        ("no endpoint", 0),
        ("unknown endpoint", 3),
        ("negative endpoint", -1),
    ] {
        for (operations, fenced) in [(false, false), (true, true)] {
            let body = json!({"EndpointType": endpoint, "IncludeClusterAuthorizedOperations": operations, "IncludeFencedBrokers": fenced});
            s.each(name, ApiKey::DescribeCluster, &body);
        }
    }
    s
}

fn quorum() -> Script {
    let mut s = Script::new("cluster/quorum");
    let partition = |topic: &str, indexes: &[i32]| {
        let partitions: Vec<Value> = indexes.iter().map(|index| json!({"PartitionIndex": index})).collect();
        json!({"TopicName": topic, "Partitions": partitions})
    };
    let log = "__cluster_metadata";
    for (name, topics) in [
        ("nothing", vec![]),
        ("another topic", vec![partition("other", &[0])]),
        ("another partition", vec![partition(log, &[1])]),
        ("no partition", vec![partition(log, &[])]),
        ("two partitions", vec![partition(log, &[0, 1])]),
        ("two topics", vec![partition(log, &[0]), partition("other", &[0])]),
    ] {
        s.each(name, ApiKey::DescribeQuorum, &json!({"Topics": topics}));
    }
    s
}

fn features() -> Script {
    let mut s = Script::new("cluster/features");
    let metadata = "metadata.version";
    for (name, feature, level) in [
        ("unknown feature", "nope", 1),
        ("unknown feature to 0", "nope", 0),
        ("no name", "", 1),
        ("same level", metadata, 30),
        ("level beyond", metadata, 99),
        ("negative level", metadata, -1),
        ("level 0", metadata, 0),
        ("oldest level", metadata, 1),
        ("replicas to 1", "eligible.leader.replicas.version", 1),
        ("replicas to 0", "eligible.leader.replicas.version", 0),
        ("kraft to 0", "kraft.version", 0),
        ("kraft beyond", "kraft.version", 9),
        ("group beyond", "group.version", 9),
    ] {
        for kind in [0, 1, 2, 3, 9, -1] {
            let update = json!({"Feature": feature, "MaxVersionLevel": level, "UpgradeType": kind, "AllowDowngrade": kind == 2});
            let body = json!({"FeatureUpdates": [update], "ValidateOnly": true});
            for version in 1..=2 {
                s.call(&format!("{name}, kind {kind}"), ApiKey::UpdateFeatures, version, body.clone());
            }
        }
    }
    s.each("nothing", ApiKey::UpdateFeatures, &json!({"ValidateOnly": true}));
    s
}

fn producers() -> Script {
    let mut s = Script::new("cluster/producer-ids");
    // Apache Kafka fetches its first block of ids when somebody asks for one.
    let first = json!({"TransactionalId": null, "TransactionTimeoutMs": 1000});
    s.until("first", ApiKey::InitProducerId, first, "/ErrorCode", json!(0));
    s.each(
        "idempotent",
        ApiKey::InitProducerId,
        &json!({"TransactionalId": null, "TransactionTimeoutMs": 1000}),
    );
    s.each(
        "no timeout",
        ApiKey::InitProducerId,
        &json!({"TransactionalId": null, "TransactionTimeoutMs": 0}),
    );
    s.each(
        "negative timeout",
        ApiKey::InitProducerId,
        &json!({"TransactionalId": null, "TransactionTimeoutMs": -1}),
    );
    s.each("empty id", ApiKey::InitProducerId, &json!({"TransactionalId": "", "TransactionTimeoutMs": 1000}));
    for (name, id, epoch) in
        [("id alone", 5, -1), ("epoch alone", -1, 3), ("both", 5, 3), ("negative both", -2, -2)]
    {
        for version in 3..=5 {
            let body = json!({"TransactionalId": null, "TransactionTimeoutMs": 1000, "ProducerId": id, "ProducerEpoch": epoch});
            s.call(name, ApiKey::InitProducerId, version, body);
        }
    }
    s
}

fn epochs_of_brokers() -> Script {
    let mut s = Script::new("cluster/unregister");
    for id in [99, -1, i32::MAX, i32::MIN] {
        s.newest(&format!("broker {id}"), ApiKey::UnregisterBroker, json!({"BrokerId": id}));
    }
    s
}
