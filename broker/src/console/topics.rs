//! `/api/v1/topics`: the topics in the order of their names, a page at a time.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use milena_state::config::topic::Settings;
use milena_state::metadata::Image;
use milena_state::metadata::image::Topic;
use serde::Serialize;

use super::answer::{Refused, json};
use super::page::{Page, Query};
use crate::admin::Admin;
use crate::broker::{Node, now_ms};

#[derive(Serialize)]
struct Topics {
    /// For rates: the difference of two answers.
    now_ms: i64,
    #[serde(flatten)]
    page: Page<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    is_internal: bool,
    partitions: usize,
    replication_factor: usize,
    /// Partitions whose ISR is smaller than their replicas.
    under_replicated: usize,
    /// Of the partitions on this broker. Offsets, so that compaction does not change them.
    offsets: i64,
    written_total: i64,
    size_bytes: u64,
    #[serde(flatten)]
    kept: Option<Kept>,
    /// Properties that the topic sets itself.
    configs_set: usize,
}

/// How long records are kept; none of a topic that is not here.
#[derive(Serialize)]
struct Kept {
    cleanup_policy: String,
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
}

pub async fn answer(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    json(Query::parse(query.as_deref()).map(|query| list(&admin.node, &query)))
}

fn list(node: &Node, query: &Query) -> Topics {
    let image = node.metadata.image_arc();
    let wanted =
        image.topics().filter(|topic| (query.internal || !topic.is_internal()) && query.matches(&topic.name));
    let after = query.after.as_deref().unwrap_or_default();
    let page = query.page(wanted, |topic| &*topic.name > after, |topic| topic.name.to_string());
    Topics { now_ms: now_ms(), page: page.map(|topic| listed(node, &image, topic)) }
}

fn listed(node: &Node, image: &Image, topic: &Topic) -> Listed {
    let here = node.partitions.topic(topic.id);
    let partitions = here.iter().flat_map(|topic| topic.partitions());
    let (mut offsets, mut written_total, mut size_bytes) = (0, 0, 0);
    for extent in partitions.filter_map(|partition| partition.extent()) {
        offsets += extent.log_end_offset - extent.log_start_offset;
        written_total += extent.log_end_offset;
        size_bytes += extent.size_bytes;
    }
    Listed {
        name: topic.name.to_string(),
        is_internal: topic.is_internal(),
        partitions: topic.partitions.len(),
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
        under_replicated: topic.partitions.iter().filter(|p| p.isr.len() < p.replicas.len()).count(),
        offsets,
        written_total,
        size_bytes,
        kept: here.map(|topic| kept(&topic.settings)),
        configs_set: image.topic_config(&topic.name).len(),
    }
}

fn kept(settings: &Settings) -> Kept {
    let policies = [(settings.cleanup.compact, "compact"), (settings.cleanup.delete, "delete")];
    let policies: Vec<_> = policies.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect();
    Kept {
        cleanup_policy: policies.join(","),
        retention_ms: settings.retention_ms,
        retention_bytes: settings.retention_bytes,
    }
}

/// The topic of a query.
pub fn named<'a>(image: &'a Image, query: &Query) -> Result<&'a Topic, Refused> {
    Ok(image.topic_by_name(query.name()?).ok_or_else(|| Refused::not_found("topic"))?)
}
