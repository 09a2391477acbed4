//! Whose a log directory is: cluster, node and its own id, given to an empty one and checked for all others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use milena_log::{Directory, Error, Identity};
use milena_protocol::types::Uuid;

/// Why the directories as a whole cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("none of the log directories can be used; the last problem: {0}")]
    None(Error),
    #[error("log directory {} belongs to cluster {found}, not to {expected}", path.display())]
    OtherCluster { path: PathBuf, found: String, expected: String },
    #[error("log directory {} belongs to node {found}, not to {expected} (node.id)", path.display())]
    OtherNode { path: PathBuf, found: i32, expected: i32 },
    #[error(
        "log directory {} holds partitions, but its meta.properties is gone: put the file back, or move what is in the \
         directory away to begin anew", path.display()
    )]
    IdentityLost { path: PathBuf },
    #[error("log directories {} and {} have the same directory id", first.display(), second.display())]
    SameId { first: PathBuf, second: PathBuf },
}

/// Gives new directories an identity, and refuses those of others.
pub(super) fn identify(
    online: &mut [Arc<Directory>],
    node_id: i32,
    cluster_id: &str,
    new_id: impl Fn() -> Uuid,
) -> Result<(), OpenError> {
    let mut seen: BTreeMap<Uuid, PathBuf> = BTreeMap::new();
    for directory in online {
        let path = directory.path().to_path_buf();
        let identity = match directory.identity() {
            Some(identity) => identity,
            // Its cluster and node are not for us to guess: a new identity could give the data to another cluster.
            None if !directory.list().map_err(OpenError::None)?.is_empty() => {
                return Err(OpenError::IdentityLost { path });
            }
            None => {
                let identity =
                    Identity { cluster_id: cluster_id.to_owned(), node_id, directory_id: new_id() };
                directory.initialise(&identity).map_err(OpenError::None)?;
                identity
            }
        };
        if identity.cluster_id != cluster_id {
            return Err(OpenError::OtherCluster {
                path,
                found: identity.cluster_id,
                expected: cluster_id.to_owned(),
            });
        }
        if identity.node_id != node_id {
            return Err(OpenError::OtherNode { path, found: identity.node_id, expected: node_id });
        }
        if let Some(first) = seen.insert(identity.directory_id, path.clone()) {
            return Err(OpenError::SameId { first, second: path });
        }
    }
    Ok(())
}

pub(super) fn id_of(directory: &Directory) -> Uuid {
    directory.identity().map(|identity| identity.directory_id).unwrap_or_default()
}
