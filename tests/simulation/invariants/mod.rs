//! What must hold after every step: one file each, with the numbers of docs/simulation.md.

pub mod c1_sets;
pub mod c2_epochs;
pub mod c3_broker_epochs;
pub mod c4_alter_partition;
pub mod c5_producer_ids;
pub mod l7_silence;
pub mod r1_quorum;
pub mod r2_candidates;
pub mod r3_leader;
pub mod r4_log_matching;
pub mod r5_acknowledged;
pub mod r6_watermark;
pub mod r7_unclean;
pub mod r9_idempotence;
