//! The network between the nodes of a cluster, as far as a test can cut it without being root: every listener is behind a
//! proxy that knows which node connected, and holds what it passes on for as long as the test says.
//!
//! A held link is a network that loses every packet: connections stay open and silent, also when their other end has gone, and
//! what was under way arrives once the network is whole again. Only a new connection differs: it is accepted here, and then
//! silent, where a real one would not be.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::{ports, procfs};

/// A node by its id.
pub type Node = i32;
/// Whoever is not a node: clients, and the test itself.
pub const OUTSIDE: Node = 0;

const PIECE_BYTES: usize = 64 << 10;

#[derive(Clone, Copy)]
enum Fault {
    /// Nothing arrives.
    Held,
    /// Each piece arrives so much later.
    Late(Duration),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    processes: BTreeMap<Node, u32>,
    /// From whom to whom.
    faults: BTreeMap<(Node, Node), Fault>,
}

/// The proxies in front of all listeners of a cluster.
#[derive(Clone, Default)]
pub struct Network {
    shared: Arc<Shared>,
}

impl Network {
    /// Puts a proxy in front of a port of `node`; the port of the proxy.
    pub fn in_front_of(&self, node: Node, port: u16) -> io::Result<u16> {
        let front = ports::free();
        let listener = TcpListener::bind(("127.0.0.1", front))?;
        let shared = Arc::clone(&self.shared);
        // Ends with the process of the tests: nobody connects any more when the cluster is gone.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(connection, front, node, port));
            }
        });
        Ok(front)
    }

    /// Which process a node is now.
    pub fn is_process(&self, node: Node, pid: u32) {
        self.shared.lock().processes.insert(node, pid);
    }

    /// Nothing that `from` sends arrives at `to`; the other way stays as it is.
    pub fn cut(&self, from: Node, to: Node) {
        self.set(from, to, Fault::Held);
    }

    /// What `from` sends arrives at `to`, each piece so much later.
    pub fn slow(&self, from: Node, to: Node, by: Duration) {
        self.set(from, to, Fault::Late(by));
    }

    /// Every link is as it should be; what was held arrives.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
        self.shared.changed.notify_all();
    }

    fn set(&self, from: Node, to: Node, fault: Fault) {
        self.shared.lock().faults.insert((from, to), fault);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Passes on what one connection carries, both ways, until both ends have closed it.
    fn serve(self: Arc<Self>, client: TcpStream, front: u16, node: Node, port: u16) {
        let from = self.who_connected(&client, front);
        self.wait_to_pass(from, node);
        // Nobody listens there: who connected sees the end at once, as of a process that has gone.
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let shared = Arc::clone(&self);
        thread::spawn(move || shared.pump(server_too, client_too, node, from));
        self.pump(client, server, from, node);
    }

    fn who_connected(&self, client: &TcpStream, front: u16) -> Node {
        let Ok(theirs) = client.peer_addr() else { return OUTSIDE };
        let Some(socket) = procfs::socket_of(theirs.port(), front) else { return OUTSIDE };
        let processes = self.lock().processes.clone();
        let owner = processes.iter().find(|(_, pid)| procfs::has_socket(**pid, socket));
        owner.map_or(OUTSIDE, |(node, _)| *node)
    }

    fn pump(&self, mut reader: TcpStream, mut writer: TcpStream, from: Node, to: Node) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = reader.read(&mut piece);
            // The end of a connection is a packet like others.
            self.wait_to_pass(from, to);
            let passed = match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => writer.write_all(&piece[..bytes]),
            };
            if passed.is_err() {
                break;
            }
        }
        // Both fail only when the connection is gone already.
        let _ = writer.shutdown(Shutdown::Write);
        let _ = reader.shutdown(Shutdown::Read);
    }

    /// Returns when a packet that was sent now has arrived.
    fn wait_to_pass(&self, from: Node, to: Node) {
        let sent = Instant::now();
        let mut state = self.lock();
        loop {
            let left = match state.faults.get(&(from, to)) {
                None => return,
                Some(Fault::Held) => None,
                Some(Fault::Late(by)) => Some(by.saturating_sub(sent.elapsed())),
            };
            state = match left {
                Some(Duration::ZERO) => return,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(|p| p.into_inner()).0,
                None => self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);
    const NODE: Node = 7;

    /// A connection through a proxy: the end of who connected, and that of the node.
    fn connected(network: &Network) -> (TcpStream, TcpStream) {
        let behind = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = behind.local_addr().expect("bound").port();
        let front = network.in_front_of(NODE, port).expect("a port");
        let client = TcpStream::connect(("127.0.0.1", front)).expect("it listens");
        let (server, _) = behind.accept().expect("the proxy connects");
        for end in [&client, &server] {
            end.set_read_timeout(Some(LIMIT)).expect("a socket");
        }
        (client, server)
    }

    fn read(stream: &mut TcpStream) -> u8 {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        byte[0]
    }

    /// Whether a byte comes within a short time.
    fn hears(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(SHORT)).expect("a socket");
        let heard = stream.peek(&mut [0]).is_ok();
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        heard
    }

    #[test]
    fn a_link_that_is_cut_one_way_carries_the_other_and_loses_nothing() {
        let network = Network::default();
        let (mut client, mut server) = connected(&network);
        network.cut(OUTSIDE, NODE);
        client.write_all(b"a").expect("buffered");
        server.write_all(b"b").expect("sent");
        assert_eq!(read(&mut client), b'b');
        assert!(!hears(&mut server));
        network.heal();
        assert_eq!(read(&mut server), b'a');
    }

    #[test]
    fn an_end_is_not_seen_over_a_link_that_is_cut() {
        let network = Network::default();
        let (client, mut server) = connected(&network);
        network.cut(OUTSIDE, NODE);
        drop(client);
        assert!(!hears(&mut server));
        network.heal();
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    }

    #[test]
    fn who_connected_is_known_by_its_process() {
        let network = Network::default();
        network.is_process(3, std::process::id());
        let (mut client, mut server) = connected(&network);
        network.cut(OUTSIDE, NODE);
        client.write_all(b"a").expect("sent");
        assert_eq!(read(&mut server), b'a');
        network.cut(3, NODE);
        client.write_all(b"b").expect("buffered");
        assert!(!hears(&mut server));
    }

    #[test]
    fn a_slow_link_is_late() {
        let network = Network::default();
        let (mut client, mut server) = connected(&network);
        network.slow(OUTSIDE, NODE, SHORT);
        let sent = Instant::now();
        client.write_all(b"a").expect("sent");
        assert_eq!(read(&mut server), b'a');
        assert!(sent.elapsed() >= SHORT);
    }
}
