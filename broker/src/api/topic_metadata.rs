//! What an image says about one partition, as Metadata and DescribeTopicPartitions both answer it.

use milena_protocol::ErrorCode;
use milena_state::metadata::Image;
use milena_state::metadata::image::Partition;

/// One partition seen through one listener.
pub struct PartitionView {
    pub error: ErrorCode,
    /// −1 when nobody leads.
    pub leader_id: i32,
    pub offline_replicas: Vec<i32>,
}

impl PartitionView {
    /// A leader whose broker does not have the listener that the client came through cannot be named to
    /// it: LISTENER_NOT_FOUND. No leader at all: LEADER_NOT_AVAILABLE.
    pub fn new(image: &Image, partition: &Partition, listener: &str) -> Self {
        let (error, leader_id) = match partition.leader {
            None => (ErrorCode::LeaderNotAvailable, -1),
            Some(leader) if !has_listener(image, leader, listener) => (ErrorCode::ListenerNotFound, -1),
            Some(leader) => (ErrorCode::None, leader),
        };
        let is_offline = |replica: &&i32| !image.is_active(**replica);
        Self {
            error,
            leader_id,
            offline_replicas: partition.replicas.iter().filter(is_offline).copied().collect(),
        }
    }
}

fn has_listener(image: &Image, broker_id: i32, listener: &str) -> bool {
    image.broker(broker_id).is_some_and(|broker| broker.endpoint(listener).is_some())
}
