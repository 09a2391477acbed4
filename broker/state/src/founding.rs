//! How a cluster comes into being, once: what a node that belongs to none does next, from what the controllers say.
//!
//! There is no format step. The controllers that are named in each other's settings find that none of them knows of a
//! quorum; the one with the lowest id founds the cluster, with exactly these voters, when all of them have answered. All
//! of them, because one that is silent may be the last that remembers: a cluster that exists is joined, never founded
//! anew, and an empty directory never restarts an old one. A cluster id that any of them wrote in an earlier attempt
//! stays; two different ones are for a person to look at.

use std::collections::BTreeSet;

use milena_protocol::types::Uuid;

/// What this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub node_id: i32,
    pub is_controller: bool,
    /// Of the directory that would hold the metadata log.
    pub directory_id: Uuid,
    /// The cluster that its directories belong to.
    pub cluster_id: Option<String>,
    /// The property `cluster.id`.
    pub wished: Option<String>,
}

/// What a controller said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub node_id: i32,
    pub directory_id: Uuid,
    pub cluster_id: Option<String>,
    /// It knows of a quorum: the cluster exists.
    pub has_membership: bool,
    /// The controllers that it was told of; empty as long as it has not found out.
    pub named: BTreeSet<i32>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask again later.
    Wait(Reason),
    /// The cluster exists.
    Join { cluster_id: String },
    /// This node founds the cluster; without a cluster id it draws one.
    Found { cluster_id: Option<String> },
}

/// What is waited for, as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{missing} of {named} controllers do not answer")]
    Silent { missing: usize, named: usize },
    #[error("no controller has founded the cluster yet")]
    NotFounded,
    #[error("controller {founder} founds the cluster")]
    Founder { founder: i32 },
    #[error("controller {node_id} has not found all other controllers yet")]
    Looking { node_id: i32 },
    #[error("this controller is not among those that are named, and none of them knows of a cluster")]
    NotNamed,
}

/// Why the cluster cannot come into being, or this node cannot be part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this node belongs to cluster {ours} (meta.properties), but controller {node_id} to cluster {theirs}"
    )]
    OtherCluster { ours: String, theirs: String, node_id: i32 },
    #[error("property cluster.id is {wished}, but controller {node_id} belongs to cluster {theirs}")]
    OtherWish { wished: String, theirs: String, node_id: i32 },
    #[error("controllers {first} and {second} belong to two clusters, {first_cluster} and {second_cluster}")]
    TwoClusters { first: i32, first_cluster: String, second: i32, second_cluster: String },
    #[error("two controllers have the id {node_id} (node.id)")]
    SameId { node_id: i32 },
    #[error(
        "controller {node_id} was told of controllers {theirs:?}, this one of {ours:?}: \
         controller.quorum.voters or controller.quorum.bootstrap.servers differ"
    )]
    OtherControllers { node_id: i32, theirs: Vec<i32>, ours: Vec<i32> },
    #[error("the founder names controller {node_id}@{theirs}, but this one is {node_id}@{ours}")]
    OtherDirectory { node_id: i32, ours: Uuid, theirs: Uuid },
    #[error("controller {founder} founds a cluster without being the first of {voters:?}")]
    NotTheFounder { founder: i32, voters: Vec<i32> },
}

/// Decides from what the named controllers said, in their order; `None` for one that did not answer. This node is one of
/// them when its own answer is.
pub fn decide(own: &Own, said: &[Option<Seen>]) -> Result<Step, Refusal> {
    let seen: Vec<&Seen> = said.iter().flatten().collect();
    check_ids(&seen)?;
    let known = check_clusters(own, &seen)?;
    if let Some(member) = seen.iter().find(|seen| seen.has_membership) {
        // Whoever has a membership has a cluster.
        let cluster_id = member.cluster_id.clone().or(known);
        return Ok(cluster_id.map_or(Step::Wait(Reason::NotFounded), |cluster_id| Step::Join { cluster_id }));
    }
    if !own.is_controller {
        return Ok(Step::Wait(Reason::NotFounded));
    }
    if seen.len() < said.len() {
        return Ok(Step::Wait(Reason::Silent { missing: said.len() - seen.len(), named: said.len() }));
    }
    let ids: BTreeSet<i32> = seen.iter().map(|seen| seen.node_id).collect();
    check_named(&ids, &seen)?;
    if !seen.iter().any(|seen| seen.directory_id == own.directory_id) {
        return Ok(Step::Wait(Reason::NotNamed));
    }
    let founder = ids.first().copied().unwrap_or(own.node_id);
    if founder != own.node_id {
        return Ok(Step::Wait(Reason::Founder { founder }));
    }
    // One that has a cluster id accepted us as founder before, with the same controllers.
    let looking = seen.iter().find(|seen| seen.named.is_empty() && seen.cluster_id.is_none());
    if let Some(looking) = looking.filter(|seen| seen.directory_id != own.directory_id) {
        return Ok(Step::Wait(Reason::Looking { node_id: looking.node_id }));
    }
    Ok(Step::Found { cluster_id: known.or_else(|| own.wished.clone()) })
}

/// Whether this controller begins the cluster `cluster_id` of these voters when `founder` asks it to.
pub fn accept(
    own: &Own,
    named: &BTreeSet<i32>,
    cluster_id: &str,
    founder: i32,
    voters: &[(i32, Uuid)],
) -> Result<(), Refusal> {
    let theirs = || cluster_id.to_owned();
    if let Some(ours) = own.cluster_id.as_ref().filter(|ours| *ours != cluster_id) {
        return Err(Refusal::OtherCluster { ours: ours.clone(), theirs: theirs(), node_id: founder });
    }
    if let Some(wished) = own.wished.as_ref().filter(|wished| *wished != cluster_id) {
        return Err(Refusal::OtherWish { wished: wished.clone(), theirs: theirs(), node_id: founder });
    }
    let ids: BTreeSet<i32> = voters.iter().map(|(id, _)| *id).collect();
    if ids.first() != Some(&founder) {
        return Err(Refusal::NotTheFounder { founder, voters: ids.into_iter().collect() });
    }
    let ours = voters.iter().find(|(id, _)| *id == own.node_id).map(|(_, directory)| *directory);
    if (!named.is_empty() && *named != ids) || ours.is_none() {
        let (theirs, ours) = (ids.into_iter().collect(), named.iter().copied().collect());
        return Err(Refusal::OtherControllers { node_id: founder, theirs, ours });
    }
    match ours {
        Some(theirs) if theirs != own.directory_id => {
            Err(Refusal::OtherDirectory { node_id: own.node_id, ours: own.directory_id, theirs })
        }
        _ => Ok(()),
    }
}

fn check_ids(seen: &[&Seen]) -> Result<(), Refusal> {
    for (index, one) in seen.iter().enumerate() {
        let twin = |other: &&&Seen| other.node_id == one.node_id && other.directory_id != one.directory_id;
        if seen[index + 1..].iter().any(|other| twin(&other)) {
            return Err(Refusal::SameId { node_id: one.node_id });
        }
    }
    Ok(())
}

/// The one cluster that anybody here belongs to.
fn check_clusters(own: &Own, seen: &[&Seen]) -> Result<Option<String>, Refusal> {
    let mut known: Option<(i32, &String)> = None;
    // Members first: they are right.
    let (members, others): (Vec<&&Seen>, Vec<&&Seen>) = seen.iter().partition(|seen| seen.has_membership);
    for seen in members.into_iter().chain(others) {
        let Some(theirs) = &seen.cluster_id else { continue };
        let node_id = seen.node_id;
        if let Some(ours) = own.cluster_id.as_ref().filter(|ours| *ours != theirs) {
            return Err(Refusal::OtherCluster { ours: ours.clone(), theirs: theirs.clone(), node_id });
        }
        match known {
            Some((first, first_cluster)) if first_cluster != theirs => {
                return Err(Refusal::TwoClusters {
                    first,
                    first_cluster: first_cluster.clone(),
                    second: node_id,
                    second_cluster: theirs.clone(),
                });
            }
            _ => known = Some((node_id, theirs)),
        }
        if let Some(wished) = own.wished.as_ref().filter(|wished| *wished != theirs) {
            return Err(Refusal::OtherWish { wished: wished.clone(), theirs: theirs.clone(), node_id });
        }
    }
    Ok(known.map(|(_, cluster)| cluster.clone()).or_else(|| own.cluster_id.clone()))
}

fn check_named(ids: &BTreeSet<i32>, seen: &[&Seen]) -> Result<(), Refusal> {
    match seen.iter().find(|seen| !seen.named.is_empty() && seen.named != *ids) {
        Some(other) => Err(Refusal::OtherControllers {
            node_id: other.node_id,
            theirs: other.named.iter().copied().collect(),
            ours: ids.iter().copied().collect(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "founding_test.rs"]
mod tests;
