//! When the process is asked to stop, which may be long before it has started.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether it shall stop, and what says so. Once asked for it stays so. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<&'static str>>);

impl Stop {
    /// One that whoever has the sender asks for, or nobody when that is gone.
    pub fn new() -> (watch::Sender<Option<&'static str>>, Self) {
        let (ask, asked) = watch::channel(None);
        (ask, Self(asked))
    }

    /// Nobody ever asks for it.
    pub fn never() -> Self {
        Self::new().1
    }

    /// SIGTERM and SIGINT (Ctrl-C), caught from now on. Must be called within a runtime.
    pub fn on_signals() -> io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (ask, stop) = Self::new();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            ask.send_replace(Some(name));
        });
        Ok(stop)
    }

    /// A write beyond the limit of file sizes (`ulimit -f`) fails from now on as one on a full disk does, where the signal
    /// SIGXFSZ ended the process. Must be called within a runtime.
    pub fn not_at_file_size_limit() -> io::Result<()> {
        // The handler stays when nobody listens: without one the signal would end the process again.
        signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
    }

    pub fn is_asked_for(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until it is asked for; by what.
    pub async fn asked_for(&mut self) -> &'static str {
        loop {
            if let Some(name) = *self.0.borrow_and_update() {
                return name;
            }
            if self.0.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_that_was_asked_for_stays_so_and_one_that_nobody_can_ask_for_never_comes() {
        let (ask, mut stop) = Stop::new();
        assert!(!stop.is_asked_for());
        ask.send_replace(Some("SIGTERM"));
        drop(ask);
        assert!(stop.is_asked_for() && stop.clone().is_asked_for());
        assert_eq!((stop.asked_for().await, stop.asked_for().await), ("SIGTERM", "SIGTERM"));
        let mut never = Stop::never();
        assert!(futures_util::FutureExt::now_or_never(never.asked_for()).is_none());
    }
}
