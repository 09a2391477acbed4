//! Random histories of clients, time, refused writes and failing coordinators: what holds after each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use proptest::prelude::*;

use super::classic::{Classic, State};
use super::classic_member::Member;
use super::reply::Reply;
use super::request::{Commit, CommitPartition, CommitTopic, Heartbeat, Leave, Leaver, Sync, Token};
use super::scene_test::{GROUP, Scene, protocol};
use super::{Command, Config, Event, TimerKey};

const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Join { client: usize, asks_for_id: bool, protocols: u8 },
    Sync { client: usize },
    Heartbeat { client: usize },
    Leave { clients: Vec<usize> },
    Commit { client: usize, as_member: bool },
    Pass { ms: i64 },
    Store,
    Refuse { refuses: bool },
    Expire,
    Delete,
    FailOver { loses_tail: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        8 => (client(), prop::bool::weighted(0.3), 0..4_u8).prop_map(|(client, asks_for_id, protocols)| {
            Step::Join { client, asks_for_id, protocols }
        }),
        8 => client().prop_map(|client| Step::Sync { client }),
        3 => client().prop_map(|client| Step::Heartbeat { client }),
        2 => prop::collection::vec(client(), 1..3).prop_map(|clients| Step::Leave { clients }),
        3 => (client(), any::<bool>()).prop_map(|(client, as_member)| Step::Commit { client, as_member }),
        4 => prop_oneof![Just(0), Just(100), 0..20_000_i64].prop_map(|ms| Step::Pass { ms }),
        6 => Just(Step::Store),
        1 => any::<bool>().prop_map(|refuses| Step::Refuse { refuses }),
        1 => Just(Step::Expire),
        1 => Just(Step::Delete),
        1 => any::<bool>().prop_map(|loses_tail| Step::FailOver { loses_tail }),
    ]
}

/// What a client remembers of its group.
#[derive(Debug, Default, Clone)]
struct Client {
    member_id: Arc<str>,
    generation: i32,
    joining: Option<Token>,
    /// Whom it is to assign something, if it leads.
    leads: Vec<Arc<str>>,
}

struct World {
    scene: Scene,
    clients: Vec<Client>,
    generation: i32,
}

impl World {
    fn new() -> Self {
        let mut scene = Scene::new(Config {
            initial_rebalance_delay_ms: 100,
            offsets_retention_ms: 15_000,
            members_max: 3,
            ..Config::default()
        });
        scene.commits = false;
        Self { scene, clients: vec![Client::default(); CLIENTS], generation: 0 }
    }

    /// The last two clients are static members.
    fn instance(client: usize) -> Option<Arc<str>> {
        (client >= 2).then(|| format!("instance-{client}").into())
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Join { client, asks_for_id, protocols } => self.join(*client, *asks_for_id, *protocols),
            Step::Sync { client } => self.sync(*client),
            Step::Heartbeat { client } => self.heartbeat(*client),
            Step::Leave { clients } => self.leave(clients),
            Step::Commit { client, as_member } => self.commit(*client, *as_member),
            Step::Pass { ms } => self.scene.pass(*ms),
            Step::Store if self.scene.in_flight.is_empty() => {}
            Step::Store => self.scene.store_next(Ok(())),
            Step::Refuse { refuses } => {
                self.scene.refuses = refuses.then_some(ErrorCode::NotEnoughReplicas);
            }
            Step::Expire => drop(self.scene.decide(Command::Expire { from: None })),
            Step::Delete => drop(self.scene.decide(Command::DeleteGroups(vec![GROUP.into()]))),
            Step::FailOver { loses_tail } => {
                self.scene.fail_over(*loses_tail);
                self.generation = 0;
            }
        }
        self.listen();
    }

    fn join(&mut self, client: usize, asks_for_id: bool, protocols: u8) {
        let member_id = self.clients[client].member_id.clone();
        let names: &[&str] = match protocols {
            0 => &["range"],
            1 => &["range", "sticky"],
            2 => &["sticky", "range"],
            _ => &["sticky"],
        };
        let token = self.scene.join_with(|join| {
            join.member_id = member_id;
            join.instance_id = Self::instance(client);
            join.protocols = names.iter().map(|name| protocol(name, &["t"])).collect();
            join.requires_known_member_id = asks_for_id;
            join.supports_skipping_assignment = protocols.is_multiple_of(2);
        });
        self.clients[client].joining = Some(token);
    }

    /// Clients learn from the answers to their joins.
    fn listen(&mut self) {
        for client in &mut self.clients {
            let Some(token) = client.joining else { continue };
            let Some(Reply::Join(reply)) = self.scene.replies.get(&token) else { continue };
            client.joining = None;
            client.member_id = match reply.error {
                ErrorCode::None | ErrorCode::MemberIdRequired => reply.member_id.clone(),
                ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => "".into(),
                _ => continue,
            };
            if reply.error.is_none() {
                client.generation = reply.generation;
                client.leads = reply.members.iter().map(|member| member.id.clone()).collect();
                let told = reply.members.iter().any(|member| member.id == reply.leader);
                assert!(reply.members.is_empty() || told, "the leader is one of the members");
                assert!(reply.members.is_empty() || reply.leader == reply.member_id);
            }
        }
    }

    fn sync(&mut self, client: usize) {
        let token = self.scene.token();
        let Client { member_id, generation, leads, .. } = self.clients[client].clone();
        let assignments = leads.iter().map(|id| (id.clone(), format!("{id}/{generation}").into()));
        self.scene.send(Event::Sync(Sync {
            token,
            group: GROUP.into(),
            generation,
            member_id,
            instance_id: Self::instance(client),
            protocol_type: None,
            protocol: None,
            assignments: assignments.collect(),
        }));
    }

    fn heartbeat(&mut self, client: usize) {
        let token = self.scene.token();
        let Client { member_id, generation, .. } = self.clients[client].clone();
        let instance_id = Self::instance(client);
        let heartbeat = Heartbeat { token, group: GROUP.into(), generation, member_id, instance_id };
        self.scene.send(Event::Heartbeat(heartbeat));
    }

    fn leave(&mut self, clients: &[usize]) {
        let token = self.scene.token();
        let leaver = |client: &usize| Leaver {
            member_id: self.clients[*client].member_id.clone(),
            instance_id: Self::instance(*client),
        };
        let members = clients.iter().map(leaver).collect();
        self.scene.send(Event::Leave(Leave { token, group: GROUP.into(), members }));
    }

    fn commit(&mut self, client: usize, as_member: bool) {
        let Client { member_id, generation, .. } = self.clients[client].clone();
        let partition = CommitPartition {
            partition: client as i32,
            offset: self.scene.now_ms,
            leader_epoch: -1,
            metadata: None,
        };
        self.scene.decide(Command::Commit(Commit {
            group: GROUP.into(),
            generation: if as_member { generation } else { -1 },
            member_id: if as_member { member_id } else { "".into() },
            instance_id: if as_member { Self::instance(client) } else { None },
            retention_time_ms: -1,
            knows_group_id_not_found: true,
            topics: vec![CommitTopic { name: "t".into(), topic_id: Uuid::ZERO, partitions: vec![partition] }],
        }));
    }

    fn check(&mut self) {
        self.check_replay();
        let Some(group) = self.scene.groups.by_id.get(GROUP) else {
            self.generation = 0;
            return;
        };
        let (stored, group) = (&group.stored, &group.classic);
        assert!(group.generation >= self.generation, "{} after {}", group.generation, self.generation);
        self.generation = group.generation;
        check_counts(group);
        check_phase(group, &self.scene);
        if group.state == State::Stable && self.scene.in_flight.is_empty() {
            let mut live = group.metadata(|_, member| member.assignment.clone());
            let stored = stored.as_deref().expect("a stable group is stored");
            live.state_timestamp_ms = stored.state_timestamp_ms;
            assert_eq!(*stored, live, "what is stored is what the members know");
        }
    }

    /// A coordinator that reads the log has the same hard state.
    fn check_replay(&self) {
        let (live, replayed) = (&self.scene.groups, self.scene.reload());
        assert_eq!(live.offsets(), replayed.offsets());
        let stored = |groups: &super::Groups| {
            let all = groups.by_id.iter().filter(|(_, group)| group.stored.is_some());
            all.map(|(id, group)| (id.clone(), group.stored.clone())).collect::<Vec<_>>()
        };
        assert_eq!(stored(live), stored(&replayed));
    }
}

/// The counts and maps beside the members agree with them.
fn check_counts(group: &Classic) {
    let count = |of: fn(&Member) -> bool| group.members.values().filter(|m| of(m)).count();
    assert_eq!(group.waiting_joins(), count(|member| member.join.is_some()));
    assert_eq!(group.everybody_synced(), count(|member| member.owes_sync) == 0);
    let instances = group.members.iter().filter_map(|(id, m)| Some((m.instance_id.clone()?, id.clone())));
    let instances: BTreeMap<Arc<str>, Arc<str>> = instances.collect();
    assert_eq!(group.static_members, instances);
    assert!(group.pending_joins.keys().all(|id| !group.members.contains_key(id)));
}

/// Who waits for what, in which state, and that somebody will wake them.
fn check_phase(group: &Classic, scene: &Scene) {
    let set = |key| scene.timers.contains_key(&key);
    let waiting_syncs = group.members.values().filter(|member| member.sync.is_some()).count();
    if group.state != State::CompletingRebalance {
        assert_eq!(waiting_syncs, 0, "syncs wait for an assignment in {:?}", group.state);
    }
    if group.state != State::PreparingRebalance && scene.in_flight.is_empty() {
        assert_eq!(group.waiting_joins(), 0, "joins wait in {:?}", group.state);
    }
    match group.state {
        State::Empty => assert_eq!((group.members.len(), group.leader.as_ref()), (0, None)),
        State::PreparingRebalance => {
            assert!(group.join_phase.is_some() && set(TimerKey::Join { group: GROUP.into() }));
        }
        State::CompletingRebalance | State::Stable => {
            let leader = group.leader.as_ref().expect("a generation has a leader");
            assert!(group.members.contains_key(leader), "the leader {leader} is a member");
            assert!(group.protocol.is_some());
            if !group.everybody_synced() && group.sync_deadline_ms.is_some() {
                assert!(set(TimerKey::Sync { group: GROUP.into() }));
            }
        }
        State::Dead => panic!("only a coordinator that has resigned has dead groups"),
    }
    for (id, member) in &group.members {
        let timer = set(TimerKey::Member { group: GROUP.into(), member: id.clone() });
        let waits = member.join.is_some() || member.sync.is_some();
        assert!(timer || waits, "nothing will ever happen to {id} in {:?}", group.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn histories_keep_the_invariants(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        // Whatever is still owed is answered when the coordinator goes.
        world.scene.fail_over(false);
        let owed: Vec<u64> = (1..=world.scene.tokens())
            .filter(|token| world.scene.waits(Token(*token)))
            .collect();
        prop_assert_eq!(owed, Vec::<u64>::new());
    }
}

#[test]
fn ten_thousand_members_cost_one_timer_each_and_a_heartbeat_none() {
    const MEMBERS: usize = 10_000;
    let mut scene = Scene::new(Config::default());
    let tokens: Vec<Token> = (0..MEMBERS).map(|_| scene.join("")).collect();
    scene.pass(6000);
    let ids: Vec<Arc<str>> = tokens.iter().map(|token| scene.joined(*token).member_id.clone()).collect();
    assert_eq!(scene.joined(tokens[0]).members.len(), MEMBERS);
    scene.sync(&ids[0], 1, &[]);
    for id in &ids[1..] {
        scene.sync(id, 1, &[]);
    }
    assert_eq!((scene.state(), scene.timers.len()), ("Stable", MEMBERS));
    scene.now_ms += 3000;
    for (index, id) in ids.iter().enumerate() {
        let heartbeat = Heartbeat {
            token: Token(1_000_000 + index as u64),
            group: GROUP.into(),
            generation: 1,
            member_id: id.clone(),
            instance_id: None,
        };
        let effects = scene.groups.on_event(Event::Heartbeat(heartbeat), scene.now_ms);
        assert_eq!((effects.timers.len(), effects.writes.len(), effects.replies.len()), (0, 0, 1));
    }
}
