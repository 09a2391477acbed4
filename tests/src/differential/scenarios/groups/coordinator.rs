//! FindCoordinator: who answers for which key.

use milena_protocol::ApiKey;
use serde_json::json;

use super::{script, serving};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![keys(), kinds(), batches()]
}

fn keys() -> Script {
    let mut s = script("groups/coordinator-keys");
    let long = "k".repeat(300);
    for key in ["", "a", "a b", "ż", "a/b", ".", "\u{0}", "__consumer_offsets", &long] {
        let step = if key.len() > 100 { "300 letters".to_owned() } else { format!("{key:?}") };
        s.each(&step, ApiKey::FindCoordinator, &json!({"Key": key, "CoordinatorKeys": [key]}));
    }
    s
}

fn kinds() -> Script {
    let mut s = Script::new("groups/coordinator-kinds");
    serving(&mut s);
    for (name, kind) in [("transactions", 1), ("share", 2), ("kind 3", 3), ("kind -1", -1), ("kind 127", 127)]
    {
        for key in ["a", "", "g:ASNFZ4mrze8BI0VniavN7w:0", "g:x:y"] {
            s.each(
                &format!("{name}, {key:?}"),
                ApiKey::FindCoordinator,
                &json!({"Key": key, "KeyType": kind, "CoordinatorKeys": [key]}),
            );
        }
    }
    s
}

fn batches() -> Script {
    let mut s = script("groups/coordinator-batches");
    for (step, keys) in
        [("nothing", json!([])), ("one twice", json!(["a", "a"])), ("some", json!(["c", "", "a", "b"]))]
    {
        for version in 4..=6 {
            s.call(step, ApiKey::FindCoordinator, version, json!({"CoordinatorKeys": keys}));
        }
    }
    s
}
