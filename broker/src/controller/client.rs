//! The handle through which the rest of the broker asks the controller for a decision.
//!
//! The active controller is the leader of the quorum. When that is this process its writer is asked, otherwise the
//! leader is asked as Apache Kafka's brokers do ([`remote`](super::remote)). Two kinds of questions go out: commands that
//! a broker has for itself ([`Client::submit`]), and requests of clients, whole ([`Client::pass_on`]); a handler on the
//! active controller has the commands that come of those decided by this process or not at all
//! ([`Client::submit_here`]).
//!
//! Who leads may change at any time. What another node refused, or left without an answer, is asked again until the time
//! is over, also when it may have been decided: whoever asks must bear that it is decided twice, as with Apache Kafka.
//! What this process's writer has taken is asked again only when it was certainly not decided.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_state::metadata::{Command, Reply};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::raft::quorum::Quorum;
use super::remote::{PassedOn, Refused, Remote};
use super::sessions::Heard;
use crate::metrics::{Limit, Metrics};

/// Commands that may wait for the writer; one more is refused, so that a burst costs an error and not memory.
pub const MAILBOX_COMMANDS_MAX: usize = 1_024;

/// How long a command may wait for its commit when its request names no time of its own.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A decision that is committed (or that changed nothing), with the reply it was given.
#[derive(Debug)]
pub struct Committed {
    pub reply: Reply,
    /// Index of the entry that carries the decision, or of the state that the reply was read from; −1 when another node
    /// decided and its answer has no place for it (AlterPartition, AllocateProducerIds, AssignReplicasToDirs). A broker
    /// has the outcome in its image once its metadata reached this index.
    pub index: i64,
}

/// Why a command was not decided, or why its outcome is not known.
///
/// What the writer of this process says is exact. When others were asked, `NotController` covers all that ends with the
/// time: nobody led, nobody was reached, or an answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("there is no active controller that could be asked")]
    NotController,
    /// The outcome is unknown: the writer has taken the command, and the entry may still be committed.
    #[error("the controller did not answer in time")]
    TimedOut,
    #[error("too many requests wait for the controller")]
    Overloaded,
    #[error("a record of the decision is larger than an entry of the metadata log may be")]
    TooLarge,
    #[error("the metadata log cannot be written")]
    Storage,
    /// What another node answered.
    #[error("the controller answered {0}")]
    Answered(ErrorCode),
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
            Self::Answered(code) => code,
        }
    }
}

pub(super) struct Submission {
    pub command: Command,
    pub answer: oneshot::Sender<Result<Committed, SubmitError>>,
}

/// Sends commands to the active controller; cheap to clone, usable from every thread and runtime.
#[derive(Clone)]
pub struct Client {
    /// The writer of this process; none in a broker without the role of a controller.
    mailbox: Option<mpsc::Sender<Submission>>,
    /// The member of the quorum in this process. A writer without one is always asked (tests).
    quorum: Option<Quorum>,
    /// The way to other controllers; none in a quorum of one.
    remote: Option<Arc<Remote>>,
    heard: Arc<Heard>,
    metrics: Arc<Metrics>,
}

impl Client {
    pub(super) fn new(mailbox: mpsc::Sender<Submission>, metrics: Arc<Metrics>) -> Self {
        Self { mailbox: Some(mailbox), quorum: None, remote: None, heard: Arc::default(), metrics }
    }

    /// The client of a broker that is no controller.
    pub fn of_observer(remote: Arc<Remote>, metrics: Arc<Metrics>) -> Self {
        Self { mailbox: None, quorum: None, remote: Some(remote), heard: Arc::default(), metrics }
    }

    pub(super) fn of_member(self, quorum: Quorum, heard: Arc<Heard>) -> Self {
        Self { quorum: Some(quorum), heard, ..self }
    }

    /// The same, which asks others while this process does not lead.
    pub fn with_remote(self, remote: Arc<Remote>) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// Of the brokers that report to this controller.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Whether this process is the active controller.
    pub fn leads_here(&self) -> bool {
        match &self.quorum {
            Some(quorum) => quorum.leadership().is_some(),
            None => self.mailbox.is_some(),
        }
    }

    /// Whether there is nobody else to ask.
    pub fn is_alone(&self) -> bool {
        self.remote.is_none()
    }

    /// The way to other controllers.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Has `command` decided and committed, in at most [`SUBMIT_TIMEOUT`]. Dropping the future does not take the
    /// command back.
    pub async fn submit(&self, command: Command) -> Result<Committed, SubmitError> {
        self.submit_within(command, SUBMIT_TIMEOUT).await
    }

    /// As [`submit`](Self::submit), with the time that the caller has. Another node is asked only for the commands that
    /// brokers have for themselves; to all others the answer is at once that this process does not lead.
    pub async fn submit_within(&self, command: Command, timeout: Duration) -> Result<Committed, SubmitError> {
        let Some(remote) = &self.remote else { return self.submit_here(command, timeout).await };
        let deadline = Instant::now() + timeout;
        loop {
            let outcome = match self.leads_here() {
                true => self.submit_here(command.clone(), deadline - Instant::now()).await,
                false => match remote.submit(&command, deadline).await {
                    Ok(committed) => Ok(committed),
                    Err(Refused::ForGood(error)) => return Err(error),
                    Err(Refused::ForNow) => Err(SubmitError::NotController),
                },
            };
            match outcome {
                Err(SubmitError::NotController) if Instant::now() < deadline => remote.pause(deadline).await,
                outcome => return outcome,
            }
        }
    }

    /// As [`submit_within`](Self::submit_within), by this process or not at all.
    pub async fn submit_here(&self, command: Command, timeout: Duration) -> Result<Committed, SubmitError> {
        let Some(mailbox) = &self.mailbox else { return Err(SubmitError::NotController) };
        let (answer, answered) = oneshot::channel();
        mailbox.try_send(Submission { command, answer }).map_err(|error| match error {
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

    /// Has a request of a client, a whole frame, answered by the active controller when that is not this process.
    /// `None`: this process is the one to ask, or nobody answered in time.
    pub async fn pass_on(&self, frame: &Bytes, client: IpAddr, deadline: Instant) -> Option<PassedOn> {
        let remote = self.remote.as_ref()?;
        while !self.leads_here() && Instant::now() < deadline {
            match remote.pass_on(frame, client, deadline).await {
                Ok(passed_on) => return Some(passed_on),
                Err(Refused::ForNow) => remote.pause(deadline).await,
                Err(Refused::ForGood(error)) => {
                    tracing::debug!(%error, "request of a client could not be passed on");
                    return None;
                }
            }
        }
        None
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
