//! Which part of the cluster this process is, and which controllers it knows: `process.roles` and
//! `controller.quorum.*`.
//!
//! What does not go together is refused at the start, as Apache Kafka refuses it. One thing is laxer here: a process
//! with both roles that names nobody else is a cluster of its own and needs no listener for controllers.

use std::collections::BTreeSet;

use super::address::Address;
use super::broker::Values;
use super::broker_check::conflict;
use super::definition::ConfigError;
use super::listener::Listener;

const ROLES: &str = "process.roles";
const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";
const CONTROLLER_NAMES: &str = "controller.listener.names";
const AUTO_JOIN: &str = "controller.quorum.auto.join.enable";

/// What this process does in the cluster; at least one of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// One of `controller.quorum.voters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    pub id: i32,
    pub address: Address,
}

/// How this process takes part in the quorum of controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub roles: Roles,
    pub voters: Vec<Voter>,
    pub bootstrap: Vec<Address>,
    /// A controller that is not a voter asks to become one.
    pub auto_join: bool,
    /// Nobody else is named: a process with both roles is a quorum of one.
    pub is_alone: bool,
}

impl Settings {
    /// Every controller that the properties name, each address once.
    pub fn controllers(&self) -> Vec<Address> {
        let voters = self.voters.iter().map(|voter| &voter.address);
        let all: BTreeSet<_> = voters.chain(&self.bootstrap).cloned().collect();
        all.into_iter().collect()
    }
}

pub(super) fn roles(values: &Values<'_>) -> Result<Roles, ConfigError> {
    let named: BTreeSet<&str> = values.list(ROLES).into_iter().collect();
    let roles = Roles { broker: named.contains("broker"), controller: named.contains("controller") };
    if roles.broker || roles.controller {
        return Ok(roles);
    }
    let reason = "it must name broker, controller or both".to_owned();
    Err(ConfigError::Invalid { name: ROLES.to_owned(), value: String::new(), reason })
}

/// `own` are the listeners of this process for controllers, `advertised` what others are told of them.
pub(super) fn settings(
    values: &Values<'_>,
    own: &[Listener],
    advertised: &[Listener],
) -> Result<Settings, ConfigError> {
    let roles = roles(values)?;
    let (voters, bootstrap) = (voters(values)?, bootstrap(values)?);
    let node_id: i32 = values.number("node.id")?;
    check_membership(roles, &voters, node_id)?;
    let others_vote = voters.iter().any(|voter| voter.id != node_id);
    let is_own = |address: &Address| is_own(address, own, advertised);
    let others_help = match (bootstrap.as_slice(), own) {
        // Without a listener there is nothing that it could be but this process.
        ([_], []) => false,
        (addresses, _) => addresses.iter().any(|address| !is_own(address)),
    };
    let is_alone = roles == Roles { broker: true, controller: true } && !others_vote && !others_help;
    let settings = Settings { roles, voters, bootstrap, auto_join: values.bool(AUTO_JOIN), is_alone };
    check(&settings, own, values)?;
    Ok(settings)
}

/// A process is a voter exactly when it has the role for it.
fn check_membership(roles: Roles, voters: &[Voter], node_id: i32) -> Result<(), ConfigError> {
    let is_voter = voters.iter().any(|voter| voter.id == node_id);
    if roles.controller && !voters.is_empty() && !is_voter {
        let reason =
            format!("a process with the controller role must be one of the voters, and {node_id} is not");
        return Err(conflict(VOTERS, "node.id", reason));
    }
    if !roles.controller && is_voter {
        let reason = format!("node {node_id} has only the broker role and cannot be a voter");
        return Err(conflict(VOTERS, ROLES, reason));
    }
    Ok(())
}

fn check(settings: &Settings, own: &[Listener], values: &Values<'_>) -> Result<(), ConfigError> {
    let Settings { roles, voters, bootstrap, auto_join, is_alone } = settings;
    if *is_alone {
        return Ok(());
    }
    if voters.is_empty() && bootstrap.is_empty() {
        let reason = format!(
            "a process that is only one of both must be told the controllers, by this or by {VOTERS}"
        );
        return Err(conflict(BOOTSTRAP, ROLES, reason));
    }
    if roles.controller && own.is_empty() {
        let reason = "a controller of several needs one of these names among the listeners".to_owned();
        return Err(conflict(CONTROLLER_NAMES, "listeners", reason));
    }
    if values.list(CONTROLLER_NAMES).is_empty() {
        let reason = "it names the listeners through which controllers are reached".to_owned();
        return Err(ConfigError::Missing { name: CONTROLLER_NAMES.to_owned(), reason });
    }
    if *auto_join && (!roles.controller || !voters.is_empty()) {
        let reason = "only a controller that is given no fixed set of voters can join by itself".to_owned();
        return Err(conflict(AUTO_JOIN, if roles.controller { VOTERS } else { ROLES }, reason));
    }
    Ok(())
}

/// Whether the address is that of a listener of ours. Names are compared, not resolved.
fn is_own(address: &Address, own: &[Listener], advertised: &[Listener]) -> bool {
    let is_advertised = |l: &Listener| l.port == address.port && l.host == address.host;
    let is_local = matches!(address.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let is_bound = |l: &Listener| {
        let is_wildcard = matches!(l.host.as_str(), "" | "0.0.0.0" | "::");
        l.port == address.port && (l.host == address.host || (is_wildcard && is_local))
    };
    advertised.iter().any(is_advertised) || own.iter().any(is_bound)
}

fn voters(values: &Values<'_>) -> Result<Vec<Voter>, ConfigError> {
    let mut voters: Vec<Voter> = Vec::new();
    for text in values.list(VOTERS) {
        let invalid = |reason: &str| ConfigError::Invalid {
            name: VOTERS.to_owned(),
            value: text.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed = text.split_once('@').and_then(|(id, address)| {
            let id = id.parse::<i32>().ok().filter(|id| *id >= 0)?;
            Some(Voter { id, address: Address::parse(address)? })
        });
        let voter = parsed.ok_or_else(|| invalid("each voter must be id@host:port"))?;
        if voters.iter().any(|other| other.id == voter.id) {
            return Err(invalid("its id is used twice"));
        }
        if voters.iter().any(|other| other.address == voter.address) {
            return Err(invalid("its address is used twice"));
        }
        voters.push(voter);
    }
    Ok(voters)
}

fn bootstrap(values: &Values<'_>) -> Result<Vec<Address>, ConfigError> {
    let parse = |text: &str| {
        Address::parse(text).ok_or_else(|| ConfigError::Invalid {
            name: BOOTSTRAP.to_owned(),
            value: text.to_owned(),
            reason: "each server must be host:port".to_owned(),
        })
    };
    values.list(BOOTSTRAP).into_iter().map(parse).collect()
}

#[cfg(test)]
#[path = "quorum_test.rs"]
mod tests;
