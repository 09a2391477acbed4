//! The controller: the only place where metadata is decided, on the leader of the Raft quorum.
//!
//! [`Client`] is the handle that API handlers use: a command goes into a bounded mailbox, [`writer`] decides
//! everything that is queued against one image, proposes the records as one Raft entry and answers each command
//! when the entry is applied. When another node leads, [`remote`] asks it. What the rules are is
//! `milena_state::metadata`; what is kept on disk is [`raft`].

mod auto_create;
pub mod client;
mod dialing;
pub mod founding;
pub mod producer_ids;
pub mod raft;
pub mod registration;
pub mod remote;
mod rounds;
pub mod sessions;
pub mod takeover;
pub mod topic_id;
pub mod writer;

pub use client::{Client, Committed, SubmitError};
pub use producer_ids::ProducerIds;
pub use remote::Remote;
pub use sessions::Presence;
