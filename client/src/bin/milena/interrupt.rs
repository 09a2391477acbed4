//! Ctrl-C: the first asks a command to end in order, the second ends it.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;

/// How long a command may take to end in order.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// Tells a command that the user wants it to end.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Where Ctrl-C is reported.
#[derive(Debug)]
pub struct Listener(watch::Sender<bool>);

pub fn channel() -> (Interrupt, Listener) {
    let (sender, receiver) = watch::channel(false);
    (Interrupt(receiver), Listener(sender))
}

impl Interrupt {
    /// Returns when Ctrl-C was pressed. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|pressed| *pressed).await.is_err() {
            // The listener is gone: nobody will press any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Runs a command; none when it was interrupted. It runs in a task, so that Ctrl-C is heard while it is busy.
pub async fn run(
    command: impl Future<Output = Result<(), Error>> + Send + 'static,
    listener: Listener,
    ends_itself: bool,
) -> Option<Result<(), Error>> {
    let mut command = tokio::spawn(command);
    tokio::select! {
        outcome = &mut command => return Some(joined(outcome)),
        () = pressed() => {}
    }
    if !ends_itself {
        return None;
    }
    let _ = listener.0.send(true);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(END_TIME_MAX, &mut command) => outcome.ok()?,
        () = pressed() => return None,
    };
    match joined(outcome) {
        // It ended as asked, but not by itself.
        Ok(()) => None,
        failed => Some(failed),
    }
}

async fn pressed() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process, which is fine.
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
