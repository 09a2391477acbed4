//! The leader that a client should have asked, told along with the error (KIP-951).

use milena_protocol::{ApiKey, ErrorCode};

use crate::server::RequestContext;
use crate::server::session::TopicKey;

/// How to reach a broker through the listener that the client came in by.
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

/// Leader and leader epoch, for the errors that a client answers by looking for another leader. Nothing in versions
/// that cannot say it: a field that a version lacks makes the whole answer impossible to encode.
pub fn of(cx: &RequestContext, topic: &TopicKey, partition: i32, error: ErrorCode) -> Option<(i32, i32)> {
    let is_told = match cx.api {
        ApiKey::Produce => cx.version >= 10,
        ApiKey::Fetch => cx.version >= 16,
        _ => false,
    };
    if !is_told || !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return None;
    }
    let image = cx.node.metadata.image();
    let topic = match topic {
        TopicKey::Id(id) => image.topic(*id)?,
        TopicKey::Name(name) => image.topic_by_name(name)?,
    };
    let known = topic.partition(partition)?;
    Some((known.leader.unwrap_or(-1), known.leader_epoch))
}

/// The endpoints of the brokers among `node_ids` that are neither fenced nor leaving, each once.
pub fn endpoints(cx: &RequestContext, node_ids: impl Iterator<Item = i32>) -> Vec<NodeEndpoint> {
    let mut wanted: Vec<i32> = node_ids.filter(|id| *id >= 0).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    wanted.sort_unstable();
    wanted.dedup();
    let image = cx.node.metadata.image();
    let brokers = wanted.into_iter().filter_map(|id| image.broker(id)).filter(|broker| broker.is_active());
    brokers
        .filter_map(|broker| {
            let endpoint = broker.endpoint(&cx.peer.listener)?;
            Some(NodeEndpoint {
                node_id: broker.broker_id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
            })
        })
        .collect()
}
