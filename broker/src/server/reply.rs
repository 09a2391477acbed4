//! What a handler hands back: encoded bytes, and slices of files that go between them.

use std::io;
use std::sync::Arc;

use milena_log::Slice;
use milena_protocol::{Encode, Message, Splice, Writer, header};

use super::buffers;
use super::request::RequestContext;
use crate::partition::Partition;

/// Bytes of a file that are sent as a part of a reply without passing through our memory.
///
/// The file stays open as long as the slice lives, also when its segment was deleted meanwhile.
#[derive(Debug, Clone)]
pub struct FileSlice {
    pub slice: Slice,
    /// Whose records they are: it is told when they cannot be read, which nobody sees before they are sent.
    pub partition: Option<Arc<Partition>>,
}

impl FileSlice {
    /// What is left of the slice could not be read from the disk.
    pub(super) fn read_failed(&self, error: &io::Error) {
        if let Some(partition) = &self.partition {
            partition.slice_failed(&self.slice, error);
        }
    }
}

/// The answer to one request.
#[derive(Debug)]
pub enum Reply {
    /// A frame: length, header and body, and the file slices with the place in `bytes` where each goes.
    Frame { bytes: Vec<u8>, files: Vec<(u32, FileSlice)> },
    /// Nothing is sent: Produce with acks=0.
    Nothing,
    /// Nothing is sent and the connection is closed: Produce with acks=0 that failed, so that the
    /// producer notices, and requests that cannot be answered.
    Close,
}

impl Reply {
    /// What it holds in memory while it waits; bytes in files cost nothing before they are sent.
    pub(super) fn memory_bytes(&self) -> u64 {
        match self {
            Reply::Frame { bytes, .. } => bytes.len() as u64,
            Reply::Nothing | Reply::Close => 0,
        }
    }

    pub(super) fn encode<M: Encode + Message>(
        cx: &RequestContext,
        response: &M,
        files: Vec<FileSlice>,
    ) -> Reply {
        let throttle_ms = cx.throttle_time();
        let mut w = Writer::from_vec(buffers::take_reply());
        if let Err(error) = header::response_frame(&mut w, cx.api, cx.version, cx.correlation_id, response) {
            return broken(cx, M::NAME, &error);
        }
        if throttle_ms > 0 {
            w.raise_throttle_time(throttle_ms);
        }
        let (bytes, splices) = w.into_parts();
        match place_files(&splices, files) {
            Some(files) => Reply::Frame { bytes, files },
            None => broken(cx, M::NAME, &"its detached records and its files differ"),
        }
    }
}

/// Gives every file its place, or nothing when lengths or numbers differ: the client would read on at the
/// wrong byte.
fn place_files(splices: &[Splice], files: Vec<FileSlice>) -> Option<Vec<(u32, FileSlice)>> {
    let fits = splices.len() == files.len()
        && splices.iter().zip(&files).all(|(splice, file)| splice.size as usize == file.slice.length);
    fits.then(|| {
        let places = splices.iter().map(|splice| splice.position as u32);
        places.zip(files).filter(|(_, file)| file.slice.length > 0).collect()
    })
}

/// A response that cannot be encoded is a mistake of ours; the client is better off with a closed connection
/// than waiting.
fn broken(cx: &RequestContext, message: &str, problem: &dyn std::fmt::Display) -> Reply {
    debug_assert!(false, "{message} version {} cannot be sent: {problem}", cx.version);
    tracing::error!(message, version = cx.version, %problem, "response cannot be encoded");
    cx.node.metrics.request_failed(crate::metrics::Failure::Unencodable);
    Reply::Close
}
