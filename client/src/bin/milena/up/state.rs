//! The cluster of a directory: its nodes, and the processes that run them, in one file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::{Handle, Identity};
use crate::error::{Error, Result};

const FILE: &str = "cluster.json";
const LOCK: &str = "cluster.lock";
const FORMAT: u32 = 1;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: i32,
    /// For clients, on 127.0.0.1 as the others.
    pub port: u16,
    /// Of a node that is a controller too.
    pub controller_port: Option<u16>,
    pub http_port: u16,
    /// The last process that was started for it, which may have ended.
    pub process: Option<Identity>,
}

impl Node {
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn roles(&self) -> &'static str {
        if self.controller_port.is_some() { "broker,controller" } else { "broker" }
    }

    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        [Some(self.port), self.controller_port, Some(self.http_port)].into_iter().flatten()
    }

    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Identity::is_running)
    }

    pub fn handle(&self) -> Option<Handle> {
        self.process.as_ref()?.handle()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    format: u32,
    nodes: Vec<Node>,
}

/// A cluster, held by one command at a time.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    nodes: Vec<Node>,
    _lock: File,
}

impl Cluster {
    /// The cluster of a directory, which must be there.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::find(directory)?.ok_or_else(|| Error::Failed {
            message: format!("there is no cluster in {}", directory.display()),
            hint: Some("`milena up` makes one; --data DIR names where it is"),
        })
    }

    /// The cluster of a directory, if it has one.
    pub fn find(directory: &Path) -> Result<Option<Self>> {
        let file = directory.join(FILE);
        if !file.exists() {
            return Ok(None);
        }
        let lock = locked(directory)?;
        let text = fs::read(&file).map_err(|error| Error::file(&file, error))?;
        let contents: Contents =
            serde_json::from_slice(&text).map_err(|error| damaged(&file, &error.to_string()))?;
        if contents.format != FORMAT {
            return Err(damaged(&file, "another version of milena wrote it"));
        }
        Ok(Some(Self { directory: absolute(directory)?, nodes: contents.nodes, _lock: lock }))
    }

    /// A new cluster, with the properties of each node as `properties` gives them for all nodes, that one and its folder.
    pub fn create(
        directory: &Path,
        nodes: Vec<Node>,
        properties: impl Fn(&[Node], &Node, &Path) -> String,
    ) -> Result<Self> {
        let made = fs::create_dir_all(directory);
        made.map_err(|error| Error::file(directory, error))?;
        let lock = locked(directory)?;
        let cluster = Self { directory: absolute(directory)?, nodes, _lock: lock };
        // Records of another cluster would keep this one from starting, or worse, would be taken for its own.
        if let Some(folder) =
            cluster.nodes.iter().map(|node| cluster.folder(node.id)).find(|folder| folder.exists())
        {
            let message = format!("{} is there already, but no {FILE} beside it", folder.display());
            return Err(Error::Failed { message, hint: Some("name an empty directory with --data DIR") });
        }
        for node in &cluster.nodes {
            let folder = cluster.folder(node.id);
            fs::create_dir(&folder).map_err(|error| Error::file(&folder, error))?;
            let file = folder.join("server.properties");
            fs::write(&file, properties(&cluster.nodes, node, &folder))
                .map_err(|error| Error::file(&file, error))?;
        }
        cluster.save()?;
        Ok(cluster)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: i32) -> Result<&Node> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| {
            let ids: Vec<String> = self.nodes.iter().map(|node| node.id.to_string()).collect();
            let there = ids.join(", ");
            Error::Usage(format!("the cluster in {} has no node {id}, but {there}", self.directory.display()))
        })
    }

    /// Where the files of a node are.
    pub fn folder(&self, id: i32) -> PathBuf {
        self.directory.join(format!("node-{id}"))
    }

    pub fn log(&self, id: i32) -> PathBuf {
        self.folder(id).join("broker.log")
    }

    pub fn started(&mut self, id: i32, process: Identity) -> Result<()> {
        self.set_process(id, Some(process))
    }

    pub fn ended(&mut self, id: i32) -> Result<()> {
        self.set_process(id, None)
    }

    /// Deletes the cluster with all that its nodes wrote; what others put beside it stays.
    pub fn delete(self) -> Result<()> {
        for node in &self.nodes {
            let folder = self.folder(node.id);
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
            }
        }
        for name in [FILE, LOCK] {
            let file = self.directory.join(name);
            fs::remove_file(&file).map_err(|error| Error::file(&file, error))?;
        }
        // Fails where there is something of others, which is right.
        let _ = fs::remove_dir(&self.directory);
        Ok(())
    }

    fn set_process(&mut self, id: i32, process: Option<Identity>) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.id == id) {
            node.process.clone_from(&process);
        }
        self.save()
    }

    /// Written beside and renamed: a full disk must not cost the knowledge of what runs.
    fn save(&self) -> Result<()> {
        let (file, new) = (self.directory.join(FILE), self.directory.join(format!("{FILE}.new")));
        let contents = Contents { format: FORMAT, nodes: self.nodes.clone() };
        let text = serde_json::to_vec_pretty(&contents).map_err(|error| Error::file(&new, error.into()))?;
        let written = File::create(&new).and_then(|mut out| out.write_all(&text));
        written.and_then(|()| fs::rename(&new, &file)).map_err(|error| Error::file(&file, error))
    }
}

fn locked(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = opened.map_err(|error| Error::file(&path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Failed {
            message: format!("another `milena up` or `milena down` works on {}", directory.display()),
            hint: Some("try again when it is done"),
        }),
        Err(TryLockError::Error(error)) => Err(Error::file(&path, error)),
    }
}

/// Nodes keep their paths, wherever they are started again from.
fn absolute(directory: &Path) -> Result<PathBuf> {
    directory.canonicalize().map_err(|error| Error::file(directory, error))
}

fn damaged(file: &Path, reason: &str) -> Error {
    Error::Failed { message: format!("{} cannot be read: {reason}", file.display()), hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: i32) -> Node {
        Node { id, port: 1, controller_port: Some(2), http_port: 3, process: None }
    }

    fn create(directory: &Path) -> Result<Cluster> {
        Cluster::create(directory, vec![node(1), node(2)], |nodes, node, folder| {
            format!("{} of {} in {}", node.id, nodes.len(), folder.display())
        })
    }

    #[test]
    fn a_cluster_is_found_again_with_what_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = Identity::of(std::process::id()).expect("it runs");
        let mut made = create(directory.path()).expect("an empty directory");
        made.started(2, own.clone()).expect("saved");
        drop(made);
        let mut found = Cluster::open(directory.path()).expect("it was made");
        assert_eq!(found.nodes(), [node(1), Node { process: Some(own), ..node(2) }]);
        assert!(!found.nodes()[0].is_running() && found.nodes()[1].is_running());
        let properties = fs::read_to_string(found.folder(2).join("server.properties")).expect("written");
        assert_eq!(properties, format!("2 of 2 in {}", found.folder(2).display()));
        found.ended(2).expect("saved");
        assert!(!found.nodes()[1].is_running());
        assert!(found.node(3).expect_err("there are two").to_string().contains("no node 3, but 1, 2"));
    }

    #[test]
    fn one_command_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = create(directory.path()).expect("an empty directory");
        let second = Cluster::find(directory.path()).expect_err("it is held").to_string();
        assert!(second.contains("another `milena up`"), "{second}");
        drop(held);
        Cluster::open(directory.path()).expect("nobody holds it");
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("node-2")).expect("made");
        let refused = create(directory.path()).expect_err("it is there").to_string();
        assert!(refused.contains("node-2 is there already"), "{refused}");
        assert!(
            Cluster::open(directory.path()).expect_err("none was made").to_string().contains("no cluster")
        );
    }

    #[test]
    fn a_deleted_cluster_leaves_what_is_not_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("own");
        create(&own).expect("an empty directory").delete().expect("ours");
        assert!(!own.exists());
        create(&own).expect("gone before");
        fs::write(own.join("notes"), "mine").expect("written");
        Cluster::open(&own).expect("it is there").delete().expect("ours");
        let left: Vec<_> =
            fs::read_dir(&own).expect("it stays").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, ["notes"]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for text in ["{", r#"{"format": 2, "nodes": []}"#] {
            fs::write(directory.path().join(FILE), text).expect("written");
            let error = Cluster::open(directory.path()).expect_err(text).to_string();
            assert!(error.contains(FILE), "{error}");
        }
    }
}
