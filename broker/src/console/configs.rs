//! `/api/v1/broker`: the configuration in force on this broker, and how any property is shown.

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use milena_state::config::describe::{self, Row, Source};
use serde::Serialize;

use super::answer::json;
use crate::admin::Admin;
use crate::broker::Node;

/// One property. What is sensitive has no value here, as in DescribeConfigs.
#[derive(Debug, Serialize)]
pub struct Config {
    name: Cow<'static, str>,
    value: Option<String>,
    /// Kafka's name of where the value comes from.
    source: &'static str,
    /// Somebody set it.
    is_set: bool,
    is_read_only: bool,
    is_sensitive: bool,
    #[serde(rename = "type")]
    kind: String,
    documentation: &'static str,
    synonyms: Vec<Synonym>,
}

#[derive(Debug, Serialize)]
struct Synonym {
    name: String,
    value: Option<String>,
    source: &'static str,
}

#[derive(Serialize)]
struct Broker {
    broker_id: i32,
    configs: Vec<Config>,
}

pub async fn answer(State(admin): State<Admin>) -> Response {
    let node = &admin.node;
    let image = node.metadata.image_arc();
    let rows = describe::broker(node.config_layers(&image), None);
    let is_set = |row: &Row| row.source != Source::Default;
    json(Ok(Broker { broker_id: node.settings.node_id, configs: configs(rows, is_set) }))
}

/// The properties of a topic; those that it sets itself are marked.
pub fn of_topic(node: &Node, image: &milena_state::metadata::Image, topic: &str) -> Vec<Config> {
    let rows = describe::topic(image.topic_config(topic), node.config_layers(image), None);
    configs(rows, |row| row.source == Source::DynamicTopic)
}

fn configs(rows: Vec<Row>, is_set: impl Fn(&Row) -> bool) -> Vec<Config> {
    let config = |row: Row| Config {
        is_set: is_set(&row),
        name: row.name,
        value: row.value,
        source: row.source.name(),
        is_read_only: row.read_only,
        is_sensitive: row.is_sensitive,
        kind: format!("{:?}", row.kind).to_lowercase(),
        documentation: row.documentation,
        synonyms: row.synonyms.into_iter().map(synonym).collect(),
    };
    rows.into_iter().map(config).collect()
}

fn synonym(synonym: describe::Synonym) -> Synonym {
    Synonym { name: synonym.name, value: synonym.value, source: synonym.source.name() }
}
