//! What a failed attempt says about its batch. Pure.

use milena_protocol::ErrorCode;

use crate::error::Error;

/// An attempt that was not acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub error: Error,
    /// The broker has not stored the batch and will not, whatever happens to this attempt.
    pub not_stored: bool,
}

/// What is to be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry,
    /// The broker expected another sequence.
    OutOfOrder,
    Final,
}

impl Failure {
    /// The request never left.
    pub fn before_sending(error: Error) -> Self {
        Self { error, not_stored: true }
    }

    /// The request left, and this is its answer or why there is none.
    pub fn after_sending(error: Error) -> Self {
        let not_stored = error.code().is_some_and(is_refusal);
        Self { error, not_stored }
    }

    pub fn verdict(&self) -> Verdict {
        match self.error.code() {
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId) => Verdict::OutOfOrder,
            _ if self.error.may_be_retried() => Verdict::Retry,
            _ => Verdict::Final,
        }
    }
}

/// Answers that are given before anything is written. All others may come after it: a leader that lost its place while
/// it waited for replicas has stored the batch.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::InvalidTopicException
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::PolicyViolation
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::ProducerFenced
    )
}
