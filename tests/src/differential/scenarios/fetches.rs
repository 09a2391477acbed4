//! Fetches: limits, epochs, waiting, sessions.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::data::{fetch_of, produced};
use super::topic;
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![fetch(), waiting(), sessions()]
}

fn fetch() -> Script {
    let mut s = Script::new("data/fetch");
    topic(&mut s, "fetched", 2, &[]);
    for _ in 0..4 {
        s.newest(
            "fill",
            ApiKey::Produce,
            produced("fetched", 0, -1, json!([{"values": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b"]}])),
        );
    }
    for offset in [0, 1, 7, 8, 9, -1, i64::MAX, i64::MIN] {
        s.each(&format!("from {offset}"), ApiKey::Fetch, &fetch_of("fetched", offset));
    }
    let changed = |place: &str, value: Value| {
        let mut body = fetch_of("fetched", 0);
        *body.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        body
    };
    for (step, place, value) in [
        ("no bytes", "/MaxBytes", json!(0)),
        ("negative bytes", "/MaxBytes", json!(-1)),
        ("few bytes", "/MaxBytes", json!(150)),
        ("no bytes of a partition", "/Topics/0/Partitions/0/PartitionMaxBytes", json!(0)),
        ("negative bytes of a partition", "/Topics/0/Partitions/0/PartitionMaxBytes", json!(-1)),
        ("few bytes of a partition", "/Topics/0/Partitions/0/PartitionMaxBytes", json!(200)),
        ("negative wait", "/MaxWaitMs", json!(-1)),
        ("negative minimum", "/MinBytes", json!(-1)),
        ("minimum out of reach", "/MinBytes", json!(1_000_000)),
    ] {
        s.each(step, ApiKey::Fetch, &changed(place, value));
    }
    for isolation in [1, 2, -1] {
        let mut body = fetch_of("fetched", 0);
        body["IsolationLevel"] = json!(isolation);
        s.each(&format!("isolation {isolation}"), ApiKey::Fetch, &body);
    }
    for (field, values, first) in [
        ("Partition", vec![1, 2, -1], 4),
        ("CurrentLeaderEpoch", vec![0, 1, -1, -2, 99], 9),
        ("LastFetchedEpoch", vec![0, 1, 99, -2], 12),
    ] {
        for value in values {
            let mut body = fetch_of("fetched", 0);
            body["Topics"][0]["Partitions"][0][field] = json!(value);
            for version in first..=18 {
                s.call(&format!("{field} {value}"), ApiKey::Fetch, version, body.clone());
            }
        }
    }
    for version in 4..=12 {
        s.call("unknown topic", ApiKey::Fetch, version, fetch_of("unknown", 0));
    }
    for version in 13..=18 {
        let mut body = fetch_of("", 0);
        body["Topics"][0]["TopicId"] = json!("ASNFZ4mrze8BI0VniavN7w");
        s.call("unknown id", ApiKey::Fetch, version, body.clone());
        body["Topics"][0]["TopicId"] = json!("");
        s.call("no id", ApiKey::Fetch, version, body);
    }
    s.each("nothing", ApiKey::Fetch, &json!({"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1000}));
    s
}

fn waiting() -> Script {
    let mut s = Script::new("data/waiting");
    topic(&mut s, "waiting", 1, &[]);
    for version in versions(ApiKey::Fetch) {
        let mut body = fetch_of("waiting", i64::from(version - 4));
        body["MaxWaitMs"] = json!(5000);
        s.on("reader").send("ask", ApiKey::Fetch, version, body);
        s.on("writer").newest(
            "fill",
            ApiKey::Produce,
            produced("waiting", 0, -1, json!([{"values": ["a"]}])),
        );
        s.on("reader").receive("woken");
    }
    s
}

fn sessions() -> Script {
    let mut s = Script::new("data/sessions");
    topic(&mut s, "sessions", 2, &[]);
    let with = |id: Value, epoch: i32, topics: bool| {
        let mut body = fetch_of("sessions", 0);
        (body["SessionId"], body["SessionEpoch"]) = (id, json!(epoch));
        if !topics {
            body["Topics"] = json!([]);
        }
        body
    };
    for version in 7..=18 {
        s.call("opened", ApiKey::Fetch, version, with(json!(0), 0, true)).learn("session", "/SessionId");
        s.call("went on", ApiKey::Fetch, version, with(json!("$session"), 1, false));
        s.newest("fill", ApiKey::Produce, produced("sessions", 0, -1, json!([{"values": ["a"]}])));
        s.call("with news", ApiKey::Fetch, version, with(json!("$session"), 2, false));
        s.call("epoch again", ApiKey::Fetch, version, with(json!("$session"), 2, false));
        s.call("epoch skipped", ApiKey::Fetch, version, with(json!("$session"), 9, false));
        s.call("unknown session", ApiKey::Fetch, version, with(json!(12345), 1, false));
        s.call("no session, epoch 1", ApiKey::Fetch, version, with(json!(0), 1, true));
        s.call("negative epoch", ApiKey::Fetch, version, with(json!("$session"), -2, false));
        let mut forgets = with(json!("$session"), 3, false);
        forgets["ForgottenTopicsData"] = json!([{"Topic": "sessions", "TopicId": "$id", "Partitions": [0]}]);
        s.call("forgotten", ApiKey::Fetch, version, forgets);
        s.call("closed", ApiKey::Fetch, version, with(json!("$session"), -1, false));
        s.call("after the end", ApiKey::Fetch, version, with(json!("$session"), 4, false));
    }
    s
}
