//! What is asked. Each scenario works on topics and groups of its own, so that one may be run alone.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use crate::script::Script;

mod alterations;
mod cluster;
mod configs;
mod data;
mod fetches;
mod groups;
mod moves;
mod quotas;
mod random;
mod topics;

/// Every scenario, those that change what all share last.
pub fn all() -> Vec<Script> {
    let mut out = Vec::new();
    out.extend(cluster::all());
    out.extend(topics::all());
    out.extend(data::all());
    out.extend(fetches::all());
    out.extend(groups::all());
    out.extend(configs::all());
    out.extend(quotas::all());
    out.extend(moves::all());
    out.extend(random::all());
    out.extend(alterations::all());
    out
}

/// Makes a topic whose id is `$id` from then on.
fn topic(script: &mut Script, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let configs: Vec<Value> =
        configs.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    let body = json!({"Topics": [{"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs}]});
    script.newest("create", ApiKey::CreateTopics, body).learn("id", "/Topics/0/TopicId");
}
