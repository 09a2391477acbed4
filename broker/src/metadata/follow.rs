//! Tails the committed metadata log into this broker's own image.
//!
//! A broker is an observer of the quorum, not a member (ADR 4): it asks a [`Source`] for what was committed after the
//! entry it stands at and gets entries, or a whole image when the log no longer reaches back so far. The source of a
//! combined node is the member in its own process; nothing else differs.
//!
//! What comes from afar begins long ago: with nothing, or where a checkpoint stands ([`super::checkpoint`]). Until the
//! image has this broker's registration, and with it everything that was committed before, none is published: by an old
//! one partitions that live would be begun anew or deleted. A broker that reaches no controller therefore serves nothing
//! when it starts, and one that loses them goes on with what it has.

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

/// Why a source gives nothing more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The entry that was read last was never committed there.
    #[error("{0}")]
    Diverged(String),
    #[error(transparent)]
    Other(#[from] io::Error),
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

    /// The committed state as of now, as far as this process knows it.
    pub fn current(&self) -> Arc<Image> {
        match self {
            Self::Local { state, .. } => Arc::clone(&state.borrow().image),
            Self::Remote(_) | Self::Joining { .. } => Arc::default(),
        }
    }

    /// Whether it begins long ago.
    fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_) | Self::Joining { .. })
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

    /// Waits until something is committed after `after`; one that is asked from afar may give no entries after a while.
    /// `None` when the source is gone for good.
    pub async fn next(&mut self, after: Applied) -> Option<Result<Update, Failure>> {
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
                let update = match quorum.entries_after(after, BATCH_ENTRIES_MAX) {
                    Ok(Some(entries)) => {
                        entries.into_iter().map(records_of).collect::<io::Result<_>>().map(Update::Entries)
                    }
                    Ok(None) => Ok(Update::Image(image)),
                    Err(error) => Err(error),
                };
                Some(update.map_err(Failure::from))
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

/// Follows `source` until it ends, from the image that was published first or from a `checkpoint`.
///
/// An entry that cannot be read is not passed over: this broker goes on serving its last image and says so.
pub async fn run(source: Source, checkpoint: Option<Image>, metadata: Arc<Metadata>, publisher: Publisher) {
    let _following = metadata.following();
    let Err(error) = follow(source, checkpoint, &metadata, publisher).await;
    tracing::error!(index = metadata.published_index(), %error, "metadata is not followed any further");
    metadata.end(error.to_string());
}

async fn follow(
    mut source: Source,
    checkpoint: Option<Image>,
    metadata: &Metadata,
    mut publisher: Publisher,
) -> io::Result<Infallible> {
    let mut held = (source.is_remote() && publisher.awaits_registration())
        .then(|| Held { checkpoint: checkpoint.as_ref().map(Image::applied) });
    let mut image = checkpoint.unwrap_or_else(|| Image::clone(&metadata.image()));
    loop {
        let update = tokio::select! {
            update = source.next(image.applied()) => update,
            () = at(publisher.open_again_at()) => {
                publisher = publisher.open_again(metadata.image_arc()).await.map_err(io::Error::other)?;
                continue;
            }
        };
        let update =
            update.ok_or_else(|| io::Error::other("the source of committed metadata has stopped"))?;
        let mut delta = match update {
            Ok(Update::Entries(entries)) if entries.is_empty() && held.is_none() => continue,
            Ok(Update::Entries(entries)) => apply(&mut image, entries),
            Ok(Update::Image(newer)) => {
                let before = std::mem::replace(&mut image, Image::clone(&newer));
                Delta::between(&before, &image)
            }
            Err(Failure::Diverged(reason)) if held.as_ref().is_some_and(Held::has_checkpoint) => {
                image = held.as_mut().map(|held| held.without_checkpoint(&reason)).unwrap_or_default();
                continue;
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        if let Some(held_back) = &mut held {
            match held_back.judge(&image, publisher.is_registered_in(&image), metadata.registered_index()) {
                Judged::Complete => {}
                Judged::Old => continue,
                Judged::Foreign => {
                    image = held_back.without_checkpoint("this broker was registered before it");
                    continue;
                }
            }
            held = None;
            delta = Delta::between(&metadata.image(), &image);
        }
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

/// An image that is followed but not published: it may lack what was committed before this start.
struct Held {
    /// Where the checkpoint stands with which it began.
    checkpoint: Option<Applied>,
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    /// It holds all that was committed before this start.
    Complete,
    Old,
    /// Its checkpoint is of another log than the registration.
    Foreign,
}

impl Held {
    fn has_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// `registered_index` is where the active controller said that it registered this broker.
    fn judge(&self, image: &Image, is_registered: bool, registered_index: Option<i64>) -> Judged {
        let reached = |index: i64| registered_index.is_some_and(|registered| registered <= index);
        match self.checkpoint {
            _ if is_registered => Judged::Complete,
            Some(at) if reached(at.index) => Judged::Foreign,
            _ if reached(image.applied().index) => Judged::Complete,
            _ => Judged::Old,
        }
    }

    /// The image to begin with instead. Nothing of the other was published.
    fn without_checkpoint(&mut self, reason: &str) -> Image {
        let at = self.checkpoint.take().unwrap_or_default();
        tracing::warn!(
            index = at.index,
            term = at.term,
            reason,
            "checkpoint of the metadata is not of this cluster's log and was discarded"
        );
        Image::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_before_the_start_is_there_from_the_registration_on() {
        let image =
            |index| Image::from_snapshot(Applied { index, term: 1 }, []).expect("nothing does not fit");
        let mut held = Held { checkpoint: Some(Applied { index: 100, term: 1 }) };
        assert_eq!(held.judge(&image(100), false, None), Judged::Old);
        assert_eq!(held.judge(&image(500), false, None), Judged::Old);
        assert_eq!(held.judge(&image(109), false, Some(110)), Judged::Old);
        assert_eq!(held.judge(&image(110), true, None), Judged::Complete);
        // Another took the id right afterwards: the image never showed ours.
        assert_eq!(held.judge(&image(112), false, Some(110)), Judged::Complete);
        // The quorum was founded anew under the same cluster id.
        assert_eq!(held.judge(&image(100), false, Some(7)), Judged::Foreign);
        assert_eq!(held.without_checkpoint("a test"), Image::default());
        assert_eq!(held.judge(&Image::default(), false, Some(7)), Judged::Old);
        assert_eq!(held.judge(&image(7), false, Some(7)), Judged::Complete);
    }
}
