//! A whole broker in this process, seen from its sockets.

mod admin;
mod cluster;
mod console;
mod groups;
mod harness;
mod lag;
mod loggers;
mod long_texts;
mod program;
mod relocation;
mod replication;
mod server;
mod starting;
mod versions;
