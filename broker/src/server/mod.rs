//! Sockets to handlers and back: reactors, connections, requests, replies.
//!
//! A reactor is one thread with one single-threaded runtime. A connection lives and dies on the reactor
//! that got it, and so do the handlers of its requests: their futures need not be `Send`, and an append
//! happens on the thread that read the bytes. What is deliberately absent: any knowledge of what a
//! request means, which is the business of `api`.

pub mod admission;
pub mod budget;
mod buffers;
mod connection;
pub(crate) mod dispatch;
pub mod forward;
mod input;
pub mod limits;
pub mod listener;
mod mute;
mod output;
pub mod quiet;
pub mod quota;
pub mod reactor;
mod reply;
mod request;
mod stopwatch;
mod vitals;

pub mod session;

pub use reply::{FileSlice, Reply};
pub use request::{Peer, RequestContext};
