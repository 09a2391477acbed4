//! What the tests of groups share: a coordinator with a log that commits when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::ErrorCode;

use super::effects::{Effects, TimerChange, TimerKey, WriteId};
use super::record::Record;
use super::reply::{JoinReply, LeaveReply, Reply, SyncReply};
use super::request::{Heartbeat, Join, Leave, Leaver, Protocol, Sync, Token};
use super::{Command, CommandReply, Config, Event, Groups};

pub(super) const GROUP: &str = "g";
pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;

pub(super) struct Scene {
    pub(super) groups: Groups,
    pub(super) now_ms: i64,
    pub(super) log: Vec<Record>,
    pub(super) replies: BTreeMap<Token, Reply>,
    pub(super) timers: BTreeMap<TimerKey, i64>,
    pub(super) in_flight: Vec<WriteId>,
    /// Whether writes are committed at once.
    pub(super) commits: bool,
    /// What the log refuses writes with.
    pub(super) refuses: Option<ErrorCode>,
    refused: BTreeSet<WriteId>,
    /// Where the records of a write stand in the log.
    starts: BTreeMap<WriteId, usize>,
    last_token: u64,
}

impl Scene {
    pub(super) fn new(config: Config) -> Self {
        let mut groups = Groups::new(config);
        groups.loaded(0);
        Self {
            groups,
            now_ms: 1_000_000,
            log: Vec::new(),
            replies: BTreeMap::new(),
            timers: BTreeMap::new(),
            in_flight: Vec::new(),
            commits: true,
            refuses: None,
            refused: BTreeSet::new(),
            starts: BTreeMap::new(),
            last_token: 0,
        }
    }

    /// With Kafka's defaults but no initial delay.
    pub(super) fn quick() -> Self {
        Self::new(Config { initial_rebalance_delay_ms: 0, ..Config::default() })
    }

    pub(super) fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub(super) fn send(&mut self, event: Event) {
        let effects = self.groups.on_event(event, self.now_ms);
        self.carry_out(effects);
        while self.commits && !self.in_flight.is_empty() {
            self.store_next(Ok(()));
        }
    }

    pub(super) fn carry_out(&mut self, effects: Effects) {
        for write in effects.writes {
            if self.refuses.is_some() {
                self.refused.insert(write.id);
            } else {
                self.starts.insert(write.id, self.log.len());
                self.append(write.records);
            }
            self.in_flight.push(write.id);
        }
        for change in effects.timers {
            match change {
                TimerChange::Set(key, deadline_ms) => self.timers.insert(key, deadline_ms),
                TimerChange::Cancel(key) => self.timers.remove(&key),
            };
        }
        for (token, reply) in effects.replies {
            let before = self.replies.insert(token, reply);
            assert_eq!(before, None, "{token:?} was answered twice");
        }
    }

    fn append(&mut self, records: Vec<Record>) {
        for record in records {
            self.groups.apply(&record, self.log.len() as i64);
            self.log.push(record);
        }
    }

    pub(super) fn store_next(&mut self, outcome: Result<(), ErrorCode>) {
        let write = self.in_flight.remove(0);
        self.starts.remove(&write);
        let refused = self.refused.remove(&write);
        let outcome = if refused { Err(ErrorCode::NotEnoughReplicas) } else { outcome };
        let effects = self.groups.on_event(Event::Stored { write, outcome }, self.now_ms);
        self.carry_out(effects);
    }

    pub(super) fn decide(&mut self, command: Command) -> CommandReply {
        let decision = self.groups.decide(&command, self.now_ms);
        let alive = decision.alive_event();
        self.append(decision.records);
        if let Some(event) = alive {
            self.send(event);
        }
        decision.reply
    }

    /// Lets time pass; timers fire in the order of their deadlines.
    pub(super) fn pass(&mut self, ms: i64) {
        let until_ms = self.now_ms + ms;
        while let Some((key, deadline_ms)) = self.next_timer().filter(|(_, at_ms)| *at_ms <= until_ms) {
            self.timers.remove(&key);
            self.now_ms = self.now_ms.max(deadline_ms);
            self.send(Event::Timer(key));
        }
        self.now_ms = until_ms;
    }

    pub(super) fn next_timer(&self) -> Option<(TimerKey, i64)> {
        let next = self.timers.iter().min_by_key(|(key, at_ms)| (**at_ms, (*key).clone()));
        next.map(|(key, at_ms)| (key.clone(), *at_ms))
    }

    pub(super) fn join_with(&mut self, change: impl FnOnce(&mut Join)) -> Token {
        let token = self.token();
        let mut join = Join {
            token,
            group: GROUP.into(),
            member_id: "".into(),
            unique: format!("{}", token.0),
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range", &["t"])],
            requires_known_member_id: false,
            supports_skipping_assignment: true,
        };
        change(&mut join);
        self.send(Event::Join(join));
        token
    }

    pub(super) fn join(&mut self, member_id: &str) -> Token {
        self.join_with(|join| join.member_id = member_id.into())
    }

    pub(super) fn sync(&mut self, member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> Token {
        let token = self.token();
        let assigned = |(id, bytes): &(&str, &str)| (Arc::from(*id), Bytes::from((*bytes).to_owned()));
        self.send(Event::Sync(Sync {
            token,
            group: GROUP.into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments.iter().map(assigned).collect(),
        }));
        token
    }

    /// Below this the log is committed: nothing that waits stands there.
    pub(super) fn high_watermark(&self) -> usize {
        self.starts.values().min().copied().unwrap_or(self.log.len())
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let token = self.token();
        self.send(Event::Heartbeat(Heartbeat {
            token,
            group: GROUP.into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
        }));
        match self.replies.get(&token) {
            Some(Reply::Heartbeat(error)) => *error,
            other => panic!("{other:?} is no answer to a heartbeat"),
        }
    }

    pub(super) fn leave(&mut self, leavers: &[(&str, Option<&str>)]) -> Token {
        let token = self.token();
        let leaver = |(id, instance): &(&str, Option<&str>)| Leaver {
            member_id: Arc::from(*id),
            instance_id: instance.map(Arc::from),
        };
        let members = leavers.iter().map(leaver).collect();
        self.send(Event::Leave(Leave { token, group: GROUP.into(), members }));
        token
    }

    pub(super) fn joined(&self, token: Token) -> &JoinReply {
        match self.replies.get(&token) {
            Some(Reply::Join(reply)) => reply,
            other => panic!("{other:?} is no answer to a join"),
        }
    }

    pub(super) fn synced(&self, token: Token) -> &SyncReply {
        match self.replies.get(&token) {
            Some(Reply::Sync(reply)) => reply,
            other => panic!("{other:?} is no answer to a sync"),
        }
    }

    pub(super) fn left(&self, token: Token) -> &LeaveReply {
        match self.replies.get(&token) {
            Some(Reply::Leave(reply)) => reply,
            other => panic!("{other:?} is no answer to a leave"),
        }
    }

    pub(super) fn waits(&self, token: Token) -> bool {
        !self.replies.contains_key(&token)
    }

    pub(super) fn state(&self) -> &'static str {
        self.groups.describe(&GROUP.into(), true).state
    }

    /// A stable group of one member, which leads: its id.
    pub(super) fn stable(&mut self) -> Arc<str> {
        let token = self.join("");
        self.pass(0);
        let member_id = self.joined(token).member_id.clone();
        let generation = self.joined(token).generation;
        self.sync(&member_id, generation, &[(&member_id, "part")]);
        assert_eq!(self.state(), "Stable");
        member_id
    }

    /// Another coordinator takes over; what was not committed may be lost.
    pub(super) fn fail_over(&mut self, loses_tail: bool) {
        let effects = self.groups.unload(self.now_ms);
        self.carry_out(effects);
        if loses_tail && let Some(start) = self.starts.values().min() {
            self.log.truncate(*start);
        }
        self.in_flight.clear();
        self.refused.clear();
        self.starts.clear();
        self.timers.clear();
        self.groups = self.reload();
        let effects = self.groups.loaded(self.now_ms);
        self.carry_out(effects);
    }

    pub(super) fn tokens(&self) -> u64 {
        self.last_token
    }

    /// What a coordinator finds that reads the log now.
    pub(super) fn reload(&self) -> Groups {
        let mut groups = Groups::new(self.groups.config.clone());
        for (offset, record) in self.log.iter().enumerate() {
            let (key, value) = record.encode().expect("what was written can be encoded");
            match Record::decode(Some(&key), value.as_deref()) {
                Ok(super::Decoded::Record(record)) => groups.apply(&record, offset as i64),
                other => panic!("{other:?} was written"),
            }
        }
        groups
    }
}

/// A protocol with a consumer's subscription, in Kafka's bytes: version 0, topics, no user data.
pub(super) fn protocol(name: &str, topics: &[&str]) -> Protocol {
    let mut metadata = vec![0, 0];
    metadata.extend_from_slice(&(topics.len() as i32).to_be_bytes());
    for topic in topics {
        metadata.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        metadata.extend_from_slice(topic.as_bytes());
    }
    metadata.extend_from_slice(&(-1_i32).to_be_bytes());
    Protocol { name: name.into(), metadata: metadata.into() }
}
