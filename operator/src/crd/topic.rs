//! `Topic`: a topic of a cluster, as its owner wants it.

// kube reads `name`, `type_` and `json_path` once per column; the lint takes the repetition for a slip.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigValue;

/// What the owner of a topic asks for. Absent fields follow the cluster's defaults and may change with them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default)]
#[kube(
    group = "milena.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    shortname = "ktopic",
    category = "milena",
    selectable = ".spec.topicName",
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "RF", type_ = "integer", json_path = ".status.replicationFactor"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName)").message("topicName is immutable"),
    validation = Rule::new("has(self.clusterRef) == has(oldSelf.clusterRef)").message("clusterRef is immutable"),
    validation = Rule::new(
        "!has(self.config) || !has(self.replicationFactor) || !('min.insync.replicas' in self.config) || int(self.config['min.insync.replicas']) <= self.replicationFactor"
    ).message("min.insync.replicas must not exceed replicationFactor")
)]
pub struct TopicSpec {
    /// Cluster that the topic lives in; absent: the operator's default connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef is immutable"))]
    pub cluster_ref: Option<ClusterRef>,
    /// Name in the cluster; absent: the resource's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = "^[a-zA-Z0-9._-]+$"))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("topicName is immutable"),
        validation = Rule::new("!self.startsWith('__') && self != '.' && self != '..'").message("topicName is reserved")
    )]
    pub topic_name: Option<String>,
    /// Number of partitions; it may only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("partitions can only be increased"))]
    pub partitions: Option<i32>,
    /// Replicas of each partition; a change is a reassignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 127))]
    pub replication_factor: Option<i32>,
    /// Topic properties; only the keys named here are managed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, ConfigValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_policy: Option<ConfigPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Name of the connection to a cluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterRef {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What happens to dynamic keys that the resource does not list.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigPolicy {
    /// They are left alone.
    Merge,
    /// They are reset.
    Exact,
}

/// What happens when somebody changed the cluster by hand.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftPolicy {
    Correct,
    Report,
}

/// What happens to a topic that was there before the resource.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    Adopt,
    CreateOnly,
    ObserveOnly,
}

/// What happens to the topic when the resource goes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    Delete,
    DeleteIfEmpty,
    Retain,
}

/// What the operator saw and did last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    pub observed_generation: Option<i64>,
    pub topic_name: Option<String>,
    pub topic_id: Option<String>,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub deletion_policy: Option<DeletionPolicy>,
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
