//! The bit sets of `*AuthorizedOperations` fields (KIP-430): one bit per operation that the caller may do.
//!
//! Without an authorizer everybody may do everything that the resource type knows, which is what Kafka answers then.

/// "Not asked for": the default of the fields.
pub const NOT_ASKED: i32 = i32::MIN;

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

const ON_TOPIC: i32 = READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
const ON_GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
const ON_CLUSTER: i32 =
    CREATE | ALTER | DESCRIBE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE;

/// Operations on a topic, or [`NOT_ASKED`].
pub fn on_topic(asked: bool) -> i32 {
    if asked { ON_TOPIC } else { NOT_ASKED }
}

/// Operations on a group, or [`NOT_ASKED`].
pub fn on_group(asked: bool) -> i32 {
    if asked { ON_GROUP } else { NOT_ASKED }
}

/// Operations on the cluster, or [`NOT_ASKED`].
pub fn on_cluster(asked: bool) -> i32 {
    if asked { ON_CLUSTER } else { NOT_ASKED }
}
