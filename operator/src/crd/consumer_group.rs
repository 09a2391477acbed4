//! `ConsumerGroup`: a group's objective, settings and lag, as its owner wants to see them.

// kube reads `name`, `type_` and `json_path` once per column; the lint takes the repetition for a slip.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterRef, ConfigValue, DeletionPolicy};

/// What the owner of a group asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default)]
#[kube(
    group = "milena.dev",
    version = "v1alpha1",
    kind = "ConsumerGroup",
    namespaced,
    status = "ConsumerGroupStatus",
    shortname = "kgroup",
    category = "milena",
    selectable = ".spec.groupId",
    printcolumn(name = "Group", type_ = "string", json_path = ".status.groupId"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.totalLag"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.groupId) == has(oldSelf.groupId)").message("groupId is immutable"),
    validation = Rule::new("has(self.clusterRef) == has(oldSelf.clusterRef)").message("clusterRef is immutable")
)]
pub struct ConsumerGroupSpec {
    /// Cluster that the group lives in; absent: the operator's default connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef is immutable"))]
    pub cluster_ref: Option<ClusterRef>,
    /// Group id in the cluster; absent: the resource's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("groupId is immutable"))]
    pub group_id: Option<String>,
    /// Topics that lag is measured on; empty: all that are committed or assigned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub topics: Vec<String>,
    /// Group properties; only the keys named here are managed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, ConfigValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<LagObjective>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Lag that the owner is content with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LagObjective {
    /// Records that may be unread over all partitions.
    #[schemars(range(min = 0))]
    pub max_records: Option<i64>,
    /// Age of the oldest unread record, as a duration such as `5m`.
    pub max_age: Option<String>,
    /// How long the objective may be missed before the condition turns, as a duration.
    #[serde(rename = "for")]
    pub missed_for: Option<String>,
}

/// Members that the owner expects.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    #[schemars(range(min = 0))]
    pub min: Option<i32>,
}

/// What the operator saw last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupStatus {
    pub observed_generation: Option<i64>,
    pub group_id: Option<String>,
    pub state: Option<String>,
    pub members: Option<i32>,
    pub total_lag: Option<i64>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
