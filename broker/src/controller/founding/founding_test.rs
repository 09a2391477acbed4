use std::net::SocketAddr;

use milena_client::net::Tcp;
use milena_log::Directory;
use milena_log::directory::Options;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::messages::api_versions_response::ApiVersionsResponse;
use milena_protocol::messages::describe_controller_response::DescribeControllerResponse;
use milena_protocol::{ApiKey, Reader, Writer, frame, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LONG: Duration = Duration::from_secs(30);

/// A controller with its port and its disk.
struct Node {
    id: i32,
    listener: TcpListener,
    files: MemoryFiles,
    wished: Option<String>,
}

fn node(id: i32) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    Node { id, listener, files: MemoryFiles::new(), wished: None }
}

fn address(of: SocketAddr) -> VoterAddress {
    VoterAddress { host: of.ip().to_string(), port: of.port() }
}

impl Node {
    fn address(&self) -> VoterAddress {
        address(self.listener.local_addr().expect("bound"))
    }

    fn request(&self, named: Named) -> Request {
        Request {
            node_id: self.id,
            is_controller: true,
            cluster_id: self.wished.clone(),
            named,
            address: self.address(),
            files: Arc::new(self.files.clone()),
            metadata_directory: "/data".into(),
            directories: vec!["/data".into()],
            listeners: vec![self.listener.try_clone().expect("a copy")],
            dialer: Arc::new(Tcp),
            starting: Starting::new(),
        }
    }

    async fn identify(&self, named: Named) -> Result<Found, Error> {
        tokio::time::timeout(LONG, identify(self.request(named))).await.expect("ends in time")
    }

    /// What its directory says.
    fn identity(&self) -> Option<Identity> {
        self.open().identity()
    }

    /// Opens its directory, which nobody may have locked any more.
    fn open(&self) -> Arc<Directory> {
        let options = Options { flusher_thread: false, ..Options::default() };
        Directory::open(Arc::new(self.files.clone()), "/data".as_ref(), options).expect("can be opened")
    }

    fn voter(&self) -> VoterId {
        let identity = self.identity().expect("is written");
        VoterId { id: identity.node_id, directory: identity.directory_id }
    }
}

fn voters(nodes: &[Node]) -> Named {
    Named::Voters(nodes.iter().map(|node| (node.id, node.address())).collect())
}

fn servers(nodes: &[Node]) -> Named {
    Named::Servers(nodes.iter().map(Node::address).collect())
}

async fn identify_all(nodes: &[Node], named: &Named) -> Vec<Result<Found, Error>> {
    futures_util::future::join_all(nodes.iter().map(|node| node.identify(named.clone()))).await
}

/// The one cluster that all found, and the voters that the founder was given.
fn founded(nodes: &[Node], found: Vec<Result<Found, Error>>) -> String {
    let found: Vec<_> = found.into_iter().map(|found| found.expect("finds its cluster")).collect();
    let cluster_id = found[0].cluster_id.clone().expect("has an id");
    let wanted: BTreeMap<_, _> = nodes.iter().map(|node| (node.voter(), node.address())).collect();
    for (node, found) in nodes.iter().zip(found) {
        let is_founder = nodes.iter().all(|other| other.id >= node.id);
        assert_eq!(found.cluster_id.as_ref(), Some(&cluster_id));
        assert_eq!(found.voters, is_founder.then(|| wanted.clone()), "node {}", node.id);
        assert_eq!(node.identity().map(|identity| identity.cluster_id), Some(cluster_id.clone()));
    }
    cluster_id
}

#[tokio::test]
async fn three_controllers_found_one_cluster_however_they_are_named() {
    for name in [voters, servers] {
        let nodes = [node(3), node(1), node(2)];
        let named = name(&nodes);
        let cluster_id = founded(&nodes, identify_all(&nodes, &named).await);
        // All die before there is a quorum: the id that was written stays, and so do the voters.
        assert_eq!(founded(&nodes, identify_all(&nodes, &named).await), cluster_id);
    }
}

#[tokio::test]
async fn a_founder_alone_among_addresses_recognises_itself() {
    let nodes = [node(5)];
    let mut request = nodes[0].request(servers(&nodes));
    request.address = VoterAddress { host: "another-name".to_owned(), port: 1 };
    let found = tokio::time::timeout(LONG, identify(request)).await.expect("in time").expect("founds");
    assert_eq!(found.voters, Some(BTreeMap::from([(nodes[0].voter(), nodes[0].address())])));
}

#[tokio::test]
async fn a_node_alone_asks_nobody() {
    let node = node(1);
    assert_eq!(node.identify(Named::Alone).await.expect("alone"), Found { cluster_id: None, voters: None });
    assert_eq!(node.identity(), None);
}

#[tokio::test]
async fn controllers_that_were_told_of_different_ones_refuse() {
    let nodes = [node(1), node(2), node(3)];
    let (three, two) = (voters(&nodes), voters(&nodes[..2]));
    let (first, second) = tokio::join!(nodes[0].identify(two), async {
        let third = nodes[2].identify(three.clone());
        tokio::select! {
            second = nodes[1].identify(three.clone()) => second,
            third = third => third,
        }
    });
    for refused in [first, second] {
        assert!(matches!(refused, Err(Error::Refused(Refusal::OtherControllers { .. }))), "{refused:?}");
    }
}

#[tokio::test]
async fn an_address_with_another_id_is_refused() {
    let nodes = [node(1), node(2)];
    let named = Named::Voters(vec![(1, nodes[0].address()), (7, nodes[1].address())]);
    let (first, _) = tokio::join!(nodes[0].identify(named), async {
        let _ = tokio::time::timeout(Duration::from_millis(500), identify(nodes[1].request(voters(&nodes))))
            .await;
    });
    assert!(matches!(first, Err(Error::OtherId { found: 2, expected: 7, .. })), "{first:?}");
}

#[tokio::test]
async fn a_founder_is_not_followed_into_a_cluster_that_was_not_wished_for() {
    let mut nodes = [node(1), node(2)];
    nodes[1].wished = Some("mine".to_owned());
    let named = voters(&nodes);
    let waiting = identify(nodes[1].request(named.clone()));
    let founding = nodes[0].identify(named);
    tokio::select! {
        refused = founding => assert!(matches!(refused, Err(Error::NotAccepted { .. })), "{refused:?}"),
        refused = waiting => assert!(matches!(refused, Err(Error::Refused(Refusal::OtherWish { .. }))), "{refused:?}"),
    }
}

/// A controller of an existing cluster, as far as anybody here asks.
fn member(id: i32, cluster_id: &'static str) -> VoterAddress {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let at = address(listener.local_addr().expect("bound"));
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = bytes::BytesMut::new();
                loop {
                    match frame::split(&mut buffer, 1 << 16).expect("a frame") {
                        Some(frame) => {
                            stream.write_all(&answer(&frame, id, cluster_id)).await.expect("writes")
                        }
                        None => match stream.read_buf(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(_) => {}
                        },
                    }
                }
            });
        }
    });
    at
}

fn answer(frame: &[u8], id: i32, cluster_id: &str) -> Vec<u8> {
    let mut reader = Reader::new(frame);
    let asked = header::decode_request(&mut reader).expect("a header");
    let mut w = Writer::new();
    let (api, version, correlation) = (asked.api, asked.version, asked.correlation_id);
    let written = if api == ApiKey::ApiVersions {
        header::response_frame(&mut w, api, version, correlation, &ApiVersionsResponse::default())
    } else {
        let said = DescribeControllerResponse {
            node_id: id,
            directory_id: Uuid::from_u128(9),
            cluster_id: Some(cluster_id.into()),
            has_membership: true,
            ..Default::default()
        };
        header::response_frame(&mut w, api, version, correlation, &said)
    };
    written.expect("encodes");
    w.into_bytes().expect("plain bytes")
}

#[tokio::test]
async fn a_cluster_that_exists_is_joined_by_a_wiped_controller_and_by_a_broker() {
    let wiped = node(1);
    // Nobody listens there, and yet it need not be waited for.
    let silent = node(3).address();
    let named = Named::Voters(vec![(1, wiped.address()), (2, member(2, "old")), (3, silent)]);
    let joined = Found { cluster_id: Some("old".to_owned()), voters: None };
    assert_eq!(wiped.identify(named.clone()).await.expect("joins"), joined);
    assert_eq!(wiped.identity().map(|identity| identity.cluster_id), Some("old".to_owned()));
    let broker = Request {
        node_id: 8,
        is_controller: false,
        directories: vec!["/other".into()],
        metadata_directory: "/other".into(),
        listeners: Vec::new(),
        ..wiped.request(named)
    };
    let found = tokio::time::timeout(LONG, identify(broker)).await.expect("in time");
    assert_eq!(found.expect("joins"), joined);
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_with_both_ids() {
    let node = node(1);
    let identity = Identity { cluster_id: "mine".to_owned(), node_id: 1, directory_id: Uuid::from_u128(5) };
    node.open().initialise(&identity).expect("writes");
    let named = Named::Voters(vec![(1, node.address()), (2, member(2, "theirs"))]);
    let refused = node.identify(named).await.expect_err("another cluster").to_string();
    assert!(refused.contains("mine") && refused.contains("theirs"), "{refused}");
}

#[tokio::test]
async fn the_search_leaves_the_last_clean_stop_to_the_start_that_comes_after_it() {
    let nodes = [node(1), node(2)];
    for node in &nodes {
        // A broker that is a controller without a vote yet has a cluster, but nothing in its metadata log.
        let identity = Identity { cluster_id: "ours".to_owned(), node_id: node.id, directory_id: new_id() };
        let directory = node.open();
        directory.initialise(&identity).expect("writes");
        directory.close_clean(42).expect("writes");
    }
    // One is stopped while it waits for the other.
    let waiting = Box::pin(identify(nodes[0].request(voters(&nodes))));
    tokio::time::timeout(Duration::from_millis(200), waiting).await.expect_err("nobody else is there");
    founded_as(identify_all(&nodes, &voters(&nodes)).await, "ours");
    for node in &nodes {
        assert_eq!(node.open().clean_stop(), Some(42), "node {}", node.id);
    }
}

fn founded_as(found: Vec<Result<Found, Error>>, cluster_id: &str) {
    for found in found {
        assert_eq!(found.expect("finds its cluster").cluster_id.as_deref(), Some(cluster_id));
    }
}
