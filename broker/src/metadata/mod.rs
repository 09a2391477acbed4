//! The broker's view of the cluster: an image that follows the committed metadata log.
//!
//! [`Metadata`] is what request handlers read, without a lock. [`follow`] tails the log and [`publish`] makes each
//! new image visible and acts on what changed. A broker follows its own controller by the path that it would follow
//! a remote one.

mod awaited;
pub mod checkpoint;
pub mod follow;
pub mod publish;
pub mod remote;
pub mod served;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use milena_state::metadata::Image;

use crate::partition::{Interrupted, Watermark};

/// The image that this broker serves from, replaced as a whole by [`publish`].
pub struct Metadata {
    image: ArcSwap<Image>,
    published: Watermark,
    is_followed: AtomicBool,
    /// Where this process was registered as a broker, −1 before that.
    registered_index: AtomicI64,
    /// Why it is not followed any more, once that is so for good.
    ended: OnceLock<String>,
}

/// Held by the task that follows the metadata log; however that task ends, it is known afterwards.
pub(crate) struct Following(Arc<Metadata>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.is_followed.store(false, Ordering::Relaxed);
    }
}

impl Metadata {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        Self {
            image: ArcSwap::new(image),
            published: Watermark::new(-1),
            is_followed: AtomicBool::new(false),
            registered_index: AtomicI64::new(-1),
            ended: OnceLock::new(),
        }
    }

    /// The current image for one short look. Do not hold the guard across an await; use [`Self::image_arc`] then.
    pub fn image(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// The current image to keep for a while.
    pub fn image_arc(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Waits until this broker serves the state as of `index`, partitions included. Combine with a timeout.
    pub async fn reached(&self, index: i64) -> Result<(), Interrupted> {
        self.published.reached(index).await.map(|_| ())
    }

    /// Index of the metadata log that is published; −1 before the first image.
    pub fn published_index(&self) -> i64 {
        self.published.get()
    }

    /// The active controller registered this process as a broker by the entry at `index`: an image from there on holds
    /// everything that was committed before this start.
    pub(crate) fn registered(&self, index: i64) {
        self.registered_index.store(index, Ordering::Release);
    }

    fn registered_index(&self) -> Option<i64> {
        Some(self.registered_index.load(Ordering::Acquire)).filter(|index| *index >= 0)
    }

    /// Whether the task that brings committed metadata here is at work.
    pub fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// Why committed metadata comes here no more, when that is so for good.
    pub fn why_ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    pub(crate) fn end(&self, reason: String) {
        let _ = self.ended.set(reason);
    }

    /// The image is followed for as long as the value lives.
    pub(crate) fn following(self: &Arc<Self>) -> Following {
        self.is_followed.store(true, Ordering::Relaxed);
        Following(Arc::clone(self))
    }

    /// Makes `image` the one that is served. The partition table must have followed it before.
    pub(crate) fn publish(&self, image: Arc<Image>, index: i64) {
        self.image.store(image);
        self.published.advance(index);
    }
}
