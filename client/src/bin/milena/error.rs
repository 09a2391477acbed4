//! What a command can fail with, what to do then, and the exit code.

use std::io;

use milena_client::Error as ClientError;
use milena_protocol::ErrorCode;

use crate::properties;

pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const INTERRUPTED: u8 = 130;
pub const TERMINATED: u8 = 143;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Options that do not make sense, found after parsing.
    #[error("{0}")]
    Usage(String),
    #[error("{path}{}", file_reason(.source))]
    File { path: String, source: io::Error },
    /// Nobody reads our output any more, as in `| head`: not an error of the user's.
    #[error("standard output is closed")]
    ClosedPipe,
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("{message}")]
    Failed { message: String, hint: Option<&'static str> },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Client(ClientError::Config { .. }) => USAGE,
            _ => FAILED,
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Client(error) => client_hint(error),
            Error::Failed { hint, .. } => *hint,
            _ => None,
        }
    }

    pub fn file(path: &std::path::Path, source: io::Error) -> Self {
        Error::File { path: path.display().to_string(), source }
    }

    /// An error of standard output.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Error::ClosedPipe } else { Error::Output(error) }
    }
}

/// The failures of several things as one error: what is done stays done, and has been shown.
pub fn together<E: Into<Error>>(failures: impl IntoIterator<Item = E>) -> Result<()> {
    let failures: Vec<Error> = failures.into_iter().map(Into::into).collect();
    let Some(first) = failures.first() else { return Ok(()) };
    let messages: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Error::Failed { message: messages.join("\n       "), hint: first.hint() })
}

fn file_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => " does not exist".to_owned(),
        io::ErrorKind::IsADirectory => " is a directory".to_owned(),
        _ => format!(": {error}"),
    }
}

/// What to do about an error of the cluster.
pub fn client_hint(error: &ClientError) -> Option<&'static str> {
    Some(match error {
        ClientError::Connect { .. } | ClientError::NoBroker(_) => {
            "is a broker running there? Name another with --bootstrap-server HOST:PORT or MILENA_BOOTSTRAP"
        }
        ClientError::Protocol { .. } => "is this the port of a Kafka listener, and without TLS?",
        ClientError::Disconnected { .. } => {
            "the broker's log says why; a listener with TLS or SASL looks like this too"
        }
        ClientError::TimedOut { .. } => {
            "the cluster may be busy: try again, or raise it with -X request.timeout.ms=…"
        }
        ClientError::UnknownTopic(_) => {
            "`milena topic list` shows the topics, `milena topic create NAME` makes one"
        }
        ClientError::UnknownPartition { .. } => "`milena topic describe NAME` shows the partitions",
        ClientError::NoOffset { .. } => "-X auto.offset.reset=earliest or latest says where to begin",
        ClientError::UnsupportedApi { .. } => "`milena api-versions` shows what the broker serves",
        ClientError::RecordTooLarge { .. } => {
            "raise it with -X max.request.size=…, and max.message.bytes of the topic"
        }
        ClientError::Config { name, .. } if !properties::is_known(name) => {
            "`milena produce --help` and `milena consume --help` list the properties"
        }
        // The message names the other topic; the rule for characters is not what was broken.
        ClientError::Broker { message: Some(message), .. } if message.contains("collide") => return None,
        ClientError::Broker { code, .. } => return code_hint(*code),
        _ => return None,
    })
}

fn code_hint(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TopicAlreadyExists => "with --if-not-exists that is fine",
        ErrorCode::UnknownTopicOrPartition => "`milena topic list` shows the topics",
        ErrorCode::InvalidReplicationFactor => "`milena cluster info` shows how many brokers there are",
        ErrorCode::InvalidTopicException => "names have up to 249 of the characters a-z A-Z 0-9 . _ -",
        ErrorCode::MessageTooLarge => {
            "raise max.message.bytes of the topic, or send smaller batches with -X max.request.size=…"
        }
        ErrorCode::OffsetOutOfRange => "`milena topic describe NAME` shows the offsets that are there",
        ErrorCode::LeaderNotAvailable => {
            "`milena topic describe NAME` shows the leaders, `milena cluster info` the brokers"
        }
        ErrorCode::NotEnoughReplicas => {
            "fewer replicas are in sync than min.insync.replicas: `milena topic describe NAME`"
        }
        ErrorCode::InvalidReplicaAssignment => {
            "replicas are ids of different brokers: `milena cluster info` shows the brokers"
        }
        ErrorCode::NoReassignmentInProgress => "`milena partition reassign` shows what is under way",
        ErrorCode::PreferredLeaderNotAvailable => {
            "the first replica is down or not in sync yet: `milena topic describe NAME` shows replicas and ISR"
        }
        ErrorCode::EligibleLeadersNotAvailable => {
            "none of the replicas is alive: `milena topic describe NAME` shows them"
        }
        ErrorCode::GroupIdNotFound => "`milena group list` shows the groups",
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId | ErrorCode::GroupSubscribedToTopic => {
            "stop the members first: `milena group describe GROUP --members` shows them"
        }
        ErrorCode::FencedInstanceId => "another member has the same --group-instance-id",
        ErrorCode::InvalidSessionTimeout => {
            "session.timeout.ms must be between group.min.session.timeout.ms and group.max.session.timeout.ms of the broker"
        }
        ErrorCode::InconsistentGroupProtocol => {
            "the members of the group share no assignor: see -X partition.assignment.strategy=…"
        }
        ErrorCode::KafkaStorageError => "a log directory of the broker is offline: its log says why",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        assert!(matches!(Error::output(io::ErrorKind::BrokenPipe.into()), Error::ClosedPipe));
        assert!(matches!(Error::output(io::ErrorKind::StorageFull.into()), Error::Output(_)));
    }

    #[test]
    fn hints_fit_what_went_wrong() {
        let property =
            |name: &str| client_hint(&ClientError::Config { name: name.to_owned(), reason: String::new() });
        assert!(property("no.such").is_some_and(|hint| hint.contains("--help")));
        assert_eq!(property("bootstrap.servers"), None);
        let invalid = |message: &str| {
            let (context, code) = (String::new(), ErrorCode::InvalidTopicException);
            client_hint(&ClientError::Broker { context, code, message: Some(message.to_owned()) })
        };
        assert!(invalid("Topic name is illegal").is_some());
        assert_eq!(invalid("Topic 'a.b' collides with existing topics: a_b"), None);
    }

    #[test]
    fn files_that_cannot_be_read_are_said_plainly() {
        let said = |kind: io::ErrorKind| Error::file(std::path::Path::new("/f"), kind.into()).to_string();
        assert_eq!(said(io::ErrorKind::NotFound), "/f does not exist");
        assert_eq!(said(io::ErrorKind::IsADirectory), "/f is a directory");
    }

    #[test]
    fn wrong_usage_has_its_own_code() {
        let property = ClientError::Config { name: "x".to_owned(), reason: "no".to_owned() };
        assert_eq!(Error::from(property).exit_code(), USAGE);
        assert_eq!(Error::Usage("no".to_owned()).exit_code(), USAGE);
        assert_eq!(Error::from(ClientError::UnknownTopic("t".to_owned())).exit_code(), FAILED);
    }
}
