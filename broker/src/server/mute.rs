//! A connection that is not read for a while, because its client exceeded a quota.

use std::cell::RefCell;
use std::task::Waker;
use std::time::Instant;

use crate::quota::{Held, Quotas};

/// Until when a connection is not read, if at all.
#[derive(Debug, Default)]
pub struct Mute(RefCell<Option<Box<Muted>>>);

#[derive(Debug)]
struct Muted {
    until: Instant,
    held: Held,
    waker: Option<Waker>,
}

impl Mute {
    pub(super) fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Has nothing read until then, or for as long as another quota asked for.
    pub(super) fn set(&self, until: Instant, held: Held) {
        let mut muted = self.0.borrow_mut();
        if muted.as_ref().is_none_or(|muted| muted.until < until) {
            let waker = muted.take().and_then(|muted| muted.waker);
            *muted = Some(Box::new(Muted { until, held, waker }));
        }
    }

    /// When it ends by itself; `waker` is told when it ends before.
    pub(super) fn until(&self, waker: &Waker) -> Option<Instant> {
        let mut muted = self.0.borrow_mut();
        let muted = muted.as_mut()?;
        match &mut muted.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Some(muted.until)
    }

    pub(super) fn end(&self) {
        *self.0.borrow_mut() = None;
    }

    /// The quotas changed: nobody waits for one that was taken away or raised.
    pub(super) fn review(&self, quotas: &Quotas) {
        let mut muted = self.0.borrow_mut();
        if muted.as_ref().is_none_or(|muted| quotas.still_holds(&muted.held)) {
            return;
        }
        let waker = muted.take().and_then(|muted| muted.waker);
        drop(muted);
        waker.into_iter().for_each(Waker::wake);
    }
}
