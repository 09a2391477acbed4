//! Tails the committed metadata log into this broker's own image.
//!
//! A broker is an observer of the quorum, not a member (ADR 4): it asks a [`Source`] for what was committed after the
//! entry it stands at and gets entries, or a whole image when the log no longer reaches back so far. The source of a
//! combined node is the member in its own process; nothing else differs.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use milena_state::metadata::{self, Applied, Delta, Image, Record};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Metadata;
use super::publish::Publisher;
use super::remote::Feed;
use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::state_machine::State;
use crate::controller::raft::types::{Entry, Payload};

/// Entries taken at a time; the image is published after each such batch.
const BATCH_ENTRIES_MAX: usize = 256;

/// Where committed metadata comes from.
pub enum Source {
    /// The quorum member in this process.
    Local { quorum: Quorum, state: watch::Receiver<State> },
    /// Any controller, for a broker that is none.
    Remote(Box<Feed>),
    /// Any controller, until the member in this process, which knows of no voters yet, has caught up.
    Joining { feed: Box<Feed>, quorum: Quorum, state: watch::Receiver<State> },
}

/// What a source has after some entry.
pub enum Update {
    Entries(Vec<(Applied, Vec<Record>)>),
    /// The log does not reach back so far: begin from here.
    Image(Arc<Image>),
}

impl Source {
    pub fn local(quorum: Quorum) -> Self {
        let state = quorum.subscribe();
        Self::Local { quorum, state }
    }

    /// As [`local`](Self::local), for a member that does not know who votes.
    pub fn joining(quorum: Quorum, feed: Feed) -> Self {
        let state = quorum.subscribe();
        Self::Joining { feed: Box::new(feed), quorum, state }
    }

    /// The committed state as of now, to begin with.
    pub fn current(&self) -> Arc<Image> {
        match self {
            Self::Local { state, .. } => Arc::clone(&state.borrow().image),
            Self::Remote(feed) | Self::Joining { feed, .. } => feed.begin_with(),
        }
    }

    /// Whether `image` holds everything that was committed before this process started; a source that cannot tell says
    /// no, and is asked again with the next image.
    pub fn is_complete(&self, image: &Image) -> bool {
        match self {
            // Whoever won an election since has all that was committed before it.
            Self::Local { quorum, state } => {
                quorum.leadership().is_some() && image.applied().index >= state.borrow().image.applied().index
            }
            Self::Remote(_) | Self::Joining { .. } => false,
        }
    }

    /// Waits until something is committed after `after`. `None` when the source is gone for good.
    pub async fn next(&mut self, after: Applied) -> Option<io::Result<Update>> {
        if let Self::Joining { feed, quorum, state } = self {
            let caught_up = |state: &State| state.leader.is_some() && state.image.applied() >= after;
            tokio::select! {
                biased;
                caught_up = state.wait_for(caught_up) => drop(caught_up.ok()?),
                update = feed.next(after) => return Some(update),
            }
            let quorum = quorum.clone();
            *self = Self::local(quorum);
        }
        match self {
            Self::Local { quorum, state } => {
                let newer = |state: &State| state.image.applied().index > after.index;
                let image = Arc::clone(&state.wait_for(newer).await.ok()?.image);
                Some(match quorum.entries_after(after, BATCH_ENTRIES_MAX) {
                    Ok(Some(entries)) => {
                        entries.into_iter().map(records_of).collect::<io::Result<_>>().map(Update::Entries)
                    }
                    Ok(None) => Ok(Update::Image(image)),
                    Err(error) => Err(error),
                })
            }
            Self::Remote(feed) | Self::Joining { feed, .. } => Some(feed.next(after).await),
        }
    }
}

fn records_of(entry: Entry) -> io::Result<(Applied, Vec<Record>)> {
    let applied = Applied { index: entry.log_id.index as i64, term: entry.log_id.leader_id.term as i64 };
    let records = match &entry.payload {
        Payload::Normal(proposal) => metadata::decode_batch(&proposal.records)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        Payload::Blank | Payload::Membership(_) => Vec::new(),
    };
    Ok((applied, records))
}

/// Follows `source` from the image that was published first, until the source ends.
///
/// An entry that cannot be read is not passed over: this broker goes on serving its last image and says so.
pub async fn run(source: Source, metadata: Arc<Metadata>, publisher: Publisher) {
    let _following = metadata.following();
    let Err(error) = follow(source, &metadata, publisher).await;
    tracing::error!(index = metadata.published_index(), %error, "metadata is not followed any further");
    metadata.end(error.to_string());
}

async fn follow(mut source: Source, metadata: &Metadata, mut publisher: Publisher) -> io::Result<Infallible> {
    let mut image = Image::clone(&metadata.image());
    loop {
        let update = tokio::select! {
            update = source.next(image.applied()) => update,
            () = at(publisher.open_again_at()) => {
                publisher = publisher.open_again(metadata.image_arc()).await.map_err(io::Error::other)?;
                continue;
            }
        };
        let update =
            update.ok_or_else(|| io::Error::other("the source of committed metadata has stopped"))??;
        let before = Arc::new(image.clone());
        let delta = match update {
            Update::Entries(entries) => apply(&mut image, entries),
            Update::Image(newer) => {
                image = Image::clone(&newer);
                Delta::between(&before, &image)
            }
        };
        let after = Arc::new(image.clone());
        publisher = publisher.apply(Arc::clone(&after), delta).await.map_err(io::Error::other)?;
        let is_complete = source.is_complete(&after) || publisher.is_registered();
        if publisher.is_catching_up() && is_complete {
            publisher = publisher.caught_up().await.map_err(io::Error::other)?;
        }
        let index = after.applied().index;
        metadata.publish(after, index);
    }
}

/// Waits until then, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn apply(image: &mut Image, entries: Vec<(Applied, Vec<Record>)>) -> Delta {
    let mut delta = Delta::default();
    for (applied, records) in entries {
        if let Err(misfit) = image.apply_entry(applied, &records, &mut delta) {
            tracing::error!(index = applied.index, %misfit, "metadata record does not fit and was skipped");
        }
    }
    delta
}
