//! What can go wrong between a call of the client and its answer.

use std::io;

use milena_protocol::{ApiKey, DecodeError, EncodeError, ErrorCode};

/// Why an operation of the client failed. Cheap to clone, because one failure may end many requests.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {address}: {message}")]
    Connect { address: String, message: String },
    #[error("connection to {address} was lost: {message}")]
    Disconnected { address: String, message: String },
    #[error("{what} took longer than {timeout_ms} ms")]
    TimedOut { what: String, timeout_ms: u64 },
    #[error("none of the bootstrap servers answers: {0}")]
    NoBroker(String),
    #[error("broker {0} is not in the metadata of the cluster")]
    UnknownBroker(i32),
    #[error("{address} does not serve {api} in a version that we know (it has {theirs}, we have {ours})")]
    UnsupportedApi { address: String, api: ApiKey, theirs: String, ours: String },
    #[error("{address} sent something that is not Kafka's protocol: {message}")]
    Protocol { address: String, message: String },
    #[error("{context}: {code}{}", message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Broker { context: String, code: ErrorCode, message: Option<String> },
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("record of {size} bytes is above {limit_name}={limit}")]
    RecordTooLarge { size: usize, limit_name: &'static str, limit: usize },
    #[error("property {name}: {reason}")]
    Config { name: String, reason: String },
    #[error("{0}")]
    Corrupt(String),
    /// Offsets that the coordinator did not take, each with its reason; those of other partitions it took.
    #[error("{}", commit_failed(.failed))]
    CommitFailed { failed: Vec<(String, i32, ErrorCode)> },
    #[error("no position in {}: nothing was committed or it is not in the log any more, and auto.offset.reset=none", named(.partitions))]
    NoOffset { partitions: Vec<(String, i32)> },
    #[error("the client is closed")]
    Closed,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the same call may succeed a moment later, on this or another broker.
    pub fn may_be_retried(&self) -> bool {
        match self {
            Error::Connect { .. }
            | Error::Disconnected { .. }
            | Error::TimedOut { .. }
            | Error::NoBroker(_) => true,
            Error::UnknownBroker(_) => true,
            Error::Broker { code, .. } => code.is_retriable(),
            Error::CommitFailed { failed } => failed.iter().all(|(_, _, code)| code.is_retriable()),
            _ => false,
        }
    }

    /// The broker's error code, when a broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Broker { code, .. } => Some(*code),
            Error::CommitFailed { failed } => failed.first().map(|(_, _, code)| *code),
            _ => None,
        }
    }

    /// `Ok` for code 0, otherwise what `context` failed with.
    pub fn check(code: i16, message: Option<&str>, context: impl FnOnce() -> String) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        let message = message.filter(|message| !message.is_empty()).map(str::to_owned);
        // A code from a newer broker than we know is an error all the same.
        let code = ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError);
        Err(Error::Broker { context: context(), code, message })
    }

    pub(crate) fn disconnected(address: &str, error: io::Error) -> Self {
        Error::Disconnected { address: address.to_owned(), message: error.to_string() }
    }

    pub(crate) fn decode(address: &str, error: DecodeError) -> Self {
        Error::Protocol { address: address.to_owned(), message: error.to_string() }
    }

    pub(crate) fn encode(error: EncodeError) -> Self {
        Error::Config { name: "request".to_owned(), reason: error.to_string() }
    }
}

/// Partitions that a message names; more would hide what it says.
const NAMED_MAX: usize = 5;

fn named(partitions: &[(String, i32)]) -> String {
    let mut text: Vec<String> =
        partitions.iter().take(NAMED_MAX).map(|(topic, partition)| format!("{topic}-{partition}")).collect();
    if partitions.len() > NAMED_MAX {
        text.push(format!("{} more", partitions.len() - NAMED_MAX));
    }
    text.join(", ")
}

fn commit_failed(failed: &[(String, i32, ErrorCode)]) -> String {
    let Some((_, _, first)) = failed.first() else { return "no offset was committed".to_owned() };
    let partitions: Vec<(String, i32)> =
        failed.iter().map(|(topic, partition, _)| (topic.clone(), *partition)).collect();
    let cure = match first {
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
            ": the group has given the partitions to others; poll more often than max.poll.interval.ms, or raise it"
        }
        ErrorCode::RebalanceInProgress => {
            ": the group rebalances or has not given them; poll, and commit what is owned"
        }
        _ => "",
    };
    format!("offsets of {} were not committed: {first}{cure}", named(&partitions))
}
