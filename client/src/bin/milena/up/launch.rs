//! Starting nodes and stopping them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;

use super::process::Identity;
use super::ready;
use super::state::{Cluster, Node};
use crate::error::{Error, Result};
use crate::progress;

/// The program of a node.
const PROGRAM: &str = "milena-broker";

/// A node is ready within a fraction of a second; one that recovers many logs, or shares a busy machine, needs longer.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a node may take to hand over what it leads and to close its logs.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(30);

/// Lines of its log that a node which did not start shows.
const TAIL_LINES: usize = 12;
/// Enough for as many lines.
const TAIL_BYTES: u64 = 16 << 10;

/// A node that was started by this command.
struct Started {
    id: i32,
    child: Child,
    http_port: u16,
    log: PathBuf,
    /// Where the log ended before.
    log_position: u64,
}

/// Starts nodes and waits until all of them are ready. When one is not, those that were started are killed again: half a
/// cluster would be in the way of the next attempt.
pub async fn start(cluster: &mut Cluster, ids: &[i32]) -> Result<()> {
    let Some(program) = program() else {
        let message = format!("{PROGRAM} is neither beside this program nor on PATH");
        let hint = Some("`cargo build --release --bin milena-broker` builds it");
        return Err(Error::Failed { message, hint });
    };
    let nodes = ids.iter().map(|id| cluster.node(*id).cloned()).collect::<Result<Vec<_>>>()?;
    check_ports(&nodes)?;
    let mut started = Vec::with_capacity(nodes.len());
    let outcome = match spawn_all(&program, cluster, &nodes, &mut started) {
        Ok(()) => all_ready(&mut started).await,
        failed => failed,
    };
    if outcome.is_err() {
        for Started { id, child, .. } in &mut started {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            cluster.ended(*id)?;
        }
    }
    outcome
}

fn spawn_all(
    program: &Path,
    cluster: &mut Cluster,
    nodes: &[Node],
    started: &mut Vec<Started>,
) -> Result<()> {
    for node in nodes {
        let one = spawn(program, cluster, node).map_err(|error| Error::Failed {
            message: format!("node {} cannot be started: {error}", node.id),
            hint: None,
        })?;
        let identity = Identity::of(one.child.id());
        started.push(one);
        let identity = identity.map_err(|error| Error::file(Path::new("/proc"), error))?;
        cluster.started(node.id, identity)?;
    }
    Ok(())
}

async fn all_ready(started: &mut [Started]) -> Result<()> {
    let waiting = join_all(started.iter_mut().map(Started::ready));
    let failures: Vec<String> = progress::during("waiting for the nodes", waiting)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Failed { message: failures.join("\n       "), hint: None })
}

/// Stops a node in order, if it runs.
pub async fn stop(cluster: &mut Cluster, id: i32) -> Result<()> {
    let Some(handle) = cluster.node(id)?.handle() else { return Ok(()) };
    handle.terminate().map_err(|error| signal_failed(id, &error))?;
    let ended = tokio::time::timeout(STOP_TIME_MAX, handle.ended());
    match progress::during(&format!("stopping node {id}"), ended).await {
        Ok(ended) => ended.map_err(|error| signal_failed(id, &error))?,
        Err(_) => {
            let message = format!("node {id} did not stop within {} s", STOP_TIME_MAX.as_secs());
            return Err(Error::Failed { message, hint: Some("`milena up --kill NODE` ends it at once") });
        }
    }
    cluster.ended(id)
}

pub fn signal_failed(id: i32, error: &io::Error) -> Error {
    Error::Failed { message: format!("node {id} cannot be signalled: {error}"), hint: None }
}

/// Refuses ports that somebody else listens on, before anything is made or started.
pub fn check_ports(nodes: &[Node]) -> Result<()> {
    for node in nodes {
        let taken = node.ports().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err());
        if let Some(port) = taken {
            let message = format!("port {port}, which node {} needs, is in use", node.id);
            let hint =
                Some("another cluster? `milena down` ends it; --port BASE takes other ports for a new one");
            return Err(Error::Failed { message, hint });
        }
    }
    Ok(())
}

/// The broker beside this program, else on PATH.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

fn spawn(program: &Path, cluster: &Cluster, node: &Node) -> io::Result<Started> {
    let log = cluster.log(node.id);
    let out = OpenOptions::new().create(true).append(true).open(&log)?;
    let log_position = out.metadata()?.len();
    let mut command = Command::new(program);
    command.arg(cluster.folder(node.id).join("server.properties")).current_dir(cluster.folder(node.id));
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    // A group of its own: Ctrl-C in the shell that started it is for what runs there.
    command.process_group(0);
    Ok(Started { id: node.id, child: command.spawn()?, http_port: node.http_port, log, log_position })
}

impl Started {
    /// Waits until the node is ready. The error says why not, with the end of its log.
    async fn ready(&mut self) -> Result<(), String> {
        let child = &mut self.child;
        let ended = || child.try_wait().ok().flatten();
        let trouble = match ready::wait(self.http_port, START_TIME_MAX, ended).await {
            Ok(()) => return Ok(()),
            Err(ready::NotReady::Ended(status)) => format!("ended at its start ({status})"),
            Err(ready::NotReady::TimedOut) => format!("was not ready within {} s", START_TIME_MAX.as_secs()),
        };
        let tail = tail(&self.log, self.log_position).unwrap_or_default();
        let lines = tail.iter().map(|line| format!("\n         {line}")).collect::<String>();
        Err(format!("node {} {trouble}; the end of {}:{lines}", self.id, self.log.display()))
    }
}

/// The last lines of a log that are new since `position`.
fn tail(log: &Path, position: u64) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let length = fs::metadata(log)?.len();
    file.seek(SeekFrom::Start(position.max(length.saturating_sub(TAIL_BYTES))))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_of_this_start() {
        let folder = tempfile::tempdir().expect("a directory");
        let log = folder.path().join("broker.log");
        let old = "an earlier start\n".repeat(3);
        fs::write(&log, &old).expect("written");
        assert!(tail(&log, old.len() as u64).expect("there").is_empty());
        let new: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        fs::write(&log, old.clone() + &new).expect("written");
        let shown = tail(&log, old.len() as u64).expect("there");
        assert_eq!(shown.len(), TAIL_LINES);
        assert_eq!(shown.last().map(String::as_str), Some("line 4999"));
        fs::write(&log, old.clone() + "only this\n").expect("written");
        assert_eq!(tail(&log, old.len() as u64).expect("there"), ["only this"]);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = held.local_addr().expect("bound").port();
        let node = Node { id: 7, port, controller_port: None, http_port: port, process: None };
        let refused = check_ports(&[node]).expect_err("it is held").to_string();
        assert!(refused.contains(&port.to_string()) && refused.contains("node 7"), "{refused}");
    }
}
