//! The handle through which the rest of the broker asks the controller for a decision.

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::metadata::{Command, Reply};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::{Limit, Metrics};

/// Commands that may wait for the writer; one more is refused, so that a burst costs an error and not memory.
pub const MAILBOX_COMMANDS_MAX: usize = 1_024;

/// How long a command may wait for its commit when its request names no time of its own.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A decision that is committed (or that changed nothing), with the reply it was given.
#[derive(Debug)]
pub struct Committed {
    pub reply: Reply,
    /// Index of the entry that carries the decision, or of the state that the reply was read from. A broker has
    /// the outcome in its image once its metadata reached this index.
    pub index: i64,
}

/// Why a command was not decided, or why its outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("this node is not the active controller")]
    NotController,
    /// The outcome is unknown: the entry may still be committed.
    #[error("the controller did not answer in time")]
    TimedOut,
    #[error("too many requests wait for the controller")]
    Overloaded,
    #[error("a record of the decision is larger than an entry of the metadata log may be")]
    TooLarge,
    #[error("the metadata log cannot be written")]
    Storage,
}

impl SubmitError {
    /// The answer a client gets.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotController => ErrorCode::NotController,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Overloaded => ErrorCode::ThrottlingQuotaExceeded,
            Self::TooLarge => ErrorCode::PolicyViolation,
            Self::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

pub(super) struct Submission {
    pub command: Command,
    pub answer: oneshot::Sender<Result<Committed, SubmitError>>,
}

/// Sends commands to the controller's writer; cheap to clone, usable from every thread and runtime.
#[derive(Clone)]
pub struct Client {
    mailbox: mpsc::Sender<Submission>,
    metrics: Arc<Metrics>,
}

impl Client {
    pub(super) fn new(mailbox: mpsc::Sender<Submission>, metrics: Arc<Metrics>) -> Self {
        Self { mailbox, metrics }
    }

    /// Has `command` decided and committed, in at most [`SUBMIT_TIMEOUT`]. Dropping the future does not take the
    /// command back.
    pub async fn submit(&self, command: Command) -> Result<Committed, SubmitError> {
        self.submit_within(command, SUBMIT_TIMEOUT).await
    }

    /// As [`submit`](Self::submit), with the time that the request allows.
    pub async fn submit_within(&self, command: Command, timeout: Duration) -> Result<Committed, SubmitError> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.try_send(Submission { command, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.refused(Limit::ControllerMailbox);
                SubmitError::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => SubmitError::NotController,
        })?;
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(SubmitError::NotController),
            Err(_) => Err(SubmitError::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn command_that_finds_the_mailbox_full_is_refused_and_counted() {
        let (mailbox, _submissions) = mpsc::channel(1);
        let metrics = Arc::new(Metrics::new());
        let client = Client::new(mailbox, Arc::clone(&metrics));
        let timed_out = client.submit_within(Command::Bootstrap, Duration::ZERO).await;
        assert_eq!(
            (timed_out.err(), metrics.refusals(Limit::ControllerMailbox)),
            (Some(SubmitError::TimedOut), 0)
        );
        let refused = client.submit_within(Command::Bootstrap, Duration::ZERO).await;
        assert_eq!(
            (refused.err(), metrics.refusals(Limit::ControllerMailbox)),
            (Some(SubmitError::Overloaded), 1)
        );
    }
}
