//! Ctrl-C and SIGTERM: the first asks a command to end in order, the second ends it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{self, Error};

/// How long a command may take to end in order.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// Tells a command that the user wants it to end.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Where a signal is reported.
#[derive(Debug)]
pub struct Listener(watch::Sender<bool>);

pub fn channel() -> (Interrupt, Listener) {
    let (sender, receiver) = watch::channel(false);
    (Interrupt(receiver), Listener(sender))
}

impl Interrupt {
    /// Returns when a signal came. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|came| *came).await.is_err() {
            // The listener is gone: none will come any more.
            std::future::pending::<()>().await;
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    ByItself(Result<(), Error>),
    Interrupted(Signal),
}

/// What a command was interrupted with.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// Ctrl-C, SIGINT.
    Interrupt,
    /// SIGTERM, as service managers send it.
    Terminate,
}

impl Signal {
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => error::INTERRUPTED,
            Signal::Terminate => error::TERMINATED,
        }
    }
}

/// Runs a command. It runs in a task, so that signals are heard while it is busy.
pub async fn run(
    command: impl Future<Output = Result<(), Error>> + Send + 'static,
    listener: Listener,
    ends_itself: bool,
) -> Outcome {
    // Before the command begins: from here on no signal is missed.
    let mut signals = Signals::new();
    let mut command = tokio::spawn(command);
    let first = tokio::select! {
        outcome = &mut command => return Outcome::ByItself(joined(outcome)),
        first = signals.next() => first,
    };
    if !ends_itself {
        return Outcome::Interrupted(first);
    }
    let _ = listener.0.send(true);
    let ended = tokio::select! {
        ended = tokio::time::timeout(END_TIME_MAX, &mut command) => ended,
        second = signals.next() => return Outcome::Interrupted(second),
    };
    match ended.map(joined) {
        // It ended as asked, but not by itself; or it did not end in time.
        Ok(Ok(())) | Err(_) => Outcome::Interrupted(first),
        Ok(failed) => Outcome::ByItself(failed),
    }
}

/// The signals that come; those without a handler end the process, which is fine.
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            () = comes(&mut self.interrupt) => Signal::Interrupt,
            () = comes(&mut self.terminate) => Signal::Terminate,
        }
    }
}

async fn comes(signal: &mut Option<tokio::signal::unix::Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}

fn joined(outcome: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    match outcome {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Client(milena_client::Error::Closed)),
        },
    }
}
