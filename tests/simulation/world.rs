//! The cluster, its clients and its misfortunes, one event at a time.
//!
//! A step takes the next event, lets one node act on it, carries its messages to the network, and asks the oracle. There
//! is no thread, clock or hash in it: the seed is the run.

use std::collections::BTreeMap;

use crate::broker::{Broker, Note, Out};
use crate::clients::{CONSUMERS_FROM, ClientOut, Consumer, Producer};
use crate::controller::{Controller, Outcome, TOPIC_ID};
use crate::faults::Nemesis;
use crate::message::{Message, Node};
use crate::network::Network;
use crate::oracle::{Checked, Oracle, View, Violation};
use crate::parameters::Parameters;
use crate::random::Random;
use crate::schedule::{ClientTimer, Event, Schedule};
use crate::trace::Trace;

/// How often the controller looks for sessions that ran out.
const CONTROLLER_TICK_MS: i64 = 100;
/// How long a cluster without faults may take until it is at rest.
const REST_MS_MAX: i64 = 60_000;
const REST_CHECK_MS: i64 = 200;

#[derive(Debug)]
pub struct World {
    pub parameters: Parameters,
    pub now_ms: i64,
    pub steps: u64,
    pub schedule: Schedule,
    pub network: Network,
    pub controller: Controller,
    pub brokers: BTreeMap<i32, Broker>,
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub nemesis: Nemesis,
    pub oracle: Oracle,
    pub trace: Trace,
    random: Random,
    /// When faults ended.
    resting_since_ms: Option<i64>,
}

impl World {
    pub fn new(parameters: Parameters, in_words: bool) -> Self {
        let mut random = Random::new(parameters.seed);
        let timeout_ms = parameters.request_timeout_ms;
        let partitions = parameters.partitions;
        let producers: Vec<Producer> = (0..parameters.producers)
            .map(|id| Producer::new(id, partitions, timeout_ms, random.fork()))
            .collect();
        let consumers = (0..parameters.consumers)
            .map(|id| Consumer::new(CONSUMERS_FROM + id, partitions, random.fork()))
            .collect();
        let mut oracle = Oracle::new(&parameters);
        oracle.idempotent = producers.iter().filter(|p| p.is_idempotent).map(|p| p.id).collect();
        let mut world = Self {
            now_ms: 0,
            steps: 0,
            schedule: Schedule::default(),
            network: Network::new(&parameters, random.fork()),
            controller: Controller::new(&parameters, random.fork()),
            brokers: (1..=parameters.brokers).map(|id| (id, Broker::new(id, &parameters))).collect(),
            producers,
            consumers,
            nemesis: Nemesis::new(random.fork(), &parameters),
            oracle,
            trace: Trace::new(in_words),
            random,
            resting_since_ms: None,
            parameters,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for id in 1..=self.parameters.brokers {
            self.schedule.at(0, Event::Start(id));
        }
        let clients = (0..self.parameters.producers).chain(self.consumers.iter().map(|consumer| consumer.id));
        for id in clients.collect::<Vec<_>>() {
            self.schedule.at(1, Event::Client(id, ClientTimer::Act));
        }
        self.schedule.at(1, Event::ControllerTick);
        self.schedule.at(self.nemesis.next_ms(), Event::Fault);
    }

    /// A whole run: first everything goes wrong, then everything must come right.
    pub fn run(&mut self) -> Checked {
        while self.steps < self.parameters.steps {
            self.step()?;
        }
        self.rest_from_now();
        while let Some(since_ms) = self.resting_since_ms {
            if self.now_ms > since_ms + REST_MS_MAX {
                return Err(Violation { invariant: "L", what: self.unrest().unwrap_or_default() });
            }
            self.step()?;
        }
        self.check_disks()
    }

    fn step(&mut self) -> Checked {
        let (at_ms, event) = self.schedule.next().expect("the controller's tick never ends");
        self.now_ms = at_ms;
        self.steps += 1;
        self.trace.note(at_ms as u64);
        match event {
            Event::Deliver { from, to, process, message } => self.deliver(from, to, process, message),
            Event::Timer { broker, process, timer } => {
                let Some((id, paused_until_ms)) = self.living(broker, process) else { return Ok(()) };
                if paused_until_ms > self.now_ms {
                    self.schedule.at(paused_until_ms, Event::Timer { broker, process, timer });
                    return Ok(());
                }
                self.act(id, |process, out| process.wake(timer, out))
            }
            Event::Client(id, timer) => self.wake_client(id, timer),
            Event::ControllerTick => {
                self.schedule.at(self.now_ms + CONTROLLER_TICK_MS, Event::ControllerTick);
                let outcome = self.controller.tick(self.now_ms);
                self.settle_controller(outcome)?;
                crate::invariants::l7_silence::check(&self.oracle, &self.controller, self.now_ms)
            }
            Event::Fault => {
                if self.resting_since_ms.is_some() {
                    Ok(())
                } else {
                    self.strike()
                }
            }
            Event::Disconnected(id, broker_epoch) => {
                let outcome = self.controller.disconnected(id, broker_epoch, self.now_ms);
                self.settle_controller(outcome)
            }
            Event::Start(id) => self.start(id),
            Event::Heal(cut) => {
                self.network.heal(cut);
                Ok(())
            }
            Event::CheckRest => self.check_rest(),
        }
    }

    fn start(&mut self, id: i32) -> Checked {
        let broker = self.brokers.get_mut(&id).expect("one of them");
        if broker.process.is_some() {
            return Ok(());
        }
        self.trace.say(format_args!("{at_ms} ms: broker {id} starts", at_ms = self.now_ms));
        let mut out = Out { now_ms: self.now_ms, ..Out::default() };
        broker.start(self.random.fork(), &mut out);
        self.settle_broker(id, out)
    }

    /// The broker, if that process of it still lives, and until when it is paused.
    fn living(&self, id: i32, process: u64) -> Option<(i32, i64)> {
        let broker = self.brokers.get(&id)?;
        let lives = broker.process.is_some() && broker.process_number == process;
        lives.then_some((id, broker.paused_until_ms))
    }

    fn deliver(&mut self, from: Node, to: Node, process: u64, message: Message) -> Checked {
        match to {
            Node::Controller => {
                self.say(from, to, &message);
                if let Message::Heartbeat(heartbeat) = &message {
                    let heard = (heartbeat.broker_id, heartbeat.broker_epoch);
                    self.oracle.heard_ms.insert(heard, self.now_ms);
                }
                let registers = match &message {
                    Message::Register(command) => Some((command.broker_id, command.incarnation_id)),
                    _ => None,
                };
                let outcome = self.controller.receive(from, message, self.now_ms);
                let registered = registers.and_then(|(id, incarnation_id)| {
                    self.controller.image.broker(id).filter(|broker| broker.incarnation_id == incarnation_id)
                });
                if let Some(broker) = registered {
                    self.oracle.heard_ms.insert((broker.broker_id, broker.broker_epoch), self.now_ms);
                }
                self.settle_controller(outcome)
            }
            Node::Broker(id) => {
                let Some((id, paused_until_ms)) = self.living(id, process) else { return Ok(()) };
                if paused_until_ms > self.now_ms {
                    self.schedule.at(paused_until_ms, Event::Deliver { from, to, process, message });
                    return Ok(());
                }
                self.say(from, to, &message);
                self.act(id, |process, out| process.receive(from, message, out))
            }
            Node::Client(id) => {
                self.say(from, to, &message);
                self.answer_client(id, message)
            }
        }
    }

    fn say(&mut self, from: Node, to: Node, message: &Message) {
        let number = |node: Node| match node {
            Node::Controller => 0,
            Node::Broker(id) => id as u64,
            Node::Client(id) => 1000 + u64::from(id),
        };
        self.trace.note(message.kind() << 32 | number(from) << 16 | number(to));
        self.trace.say(format_args!("{} ms: {from:?} → {to:?}: {message:?}", self.now_ms));
    }

    fn act(&mut self, id: i32, act: impl FnOnce(&mut crate::broker::process::Process, &mut Out)) -> Checked {
        let mut out = Out { now_ms: self.now_ms, ..Out::default() };
        let broker = self.brokers.get_mut(&id).expect("it lives");
        act(broker.process.as_mut().expect("it lives"), &mut out);
        self.settle_broker(id, out)
    }

    fn settle_broker(&mut self, id: i32, out: Out) -> Checked {
        let Out { sends, timers, notes, .. } = out;
        let number = self.brokers[&id].process_number;
        for (wait_ms, timer) in timers {
            self.schedule.at(self.now_ms + wait_ms, Event::Timer { broker: id, process: number, timer });
        }
        for (to, message) in sends {
            self.send(Node::Broker(id), to, message);
        }
        let mut view = View { controller: &self.controller, brokers: &mut self.brokers };
        self.oracle.stepped(id, &notes, &mut view)?;
        if let Some(process) = &self.brokers[&id].process {
            for replica in process.replicas.values() {
                self.trace.note(replica.log_end_offset() as u64 ^ (replica.high_watermark as u64) << 32);
            }
        }
        if notes.iter().any(|note| matches!(note, Note::Stopped)) {
            self.stop(id);
        }
        Ok(())
    }

    /// A process ended in order; another comes later.
    fn stop(&mut self, id: i32) {
        self.trace.say(format_args!("{} ms: broker {id} has stopped", self.now_ms));
        self.brokers.get_mut(&id).expect("one of them").stop();
        let wait_ms = self.random.between(1, 500);
        self.schedule.at(self.now_ms + wait_ms, Event::Start(id));
    }

    pub fn settle_controller(&mut self, outcome: Outcome) -> Checked {
        for change in &outcome.changes {
            self.trace.note(change.entry.index as u64);
            let (now_ms, entry) = (self.now_ms, &change.entry);
            self.trace.say(format_args!("{now_ms} ms: entry {}: {:?}", entry.index, entry.records));
        }
        // Each change is judged by the image that it made; only the last one's is at hand when there are several.
        if let [change] = outcome.changes.as_slice() {
            self.oracle.changed(change, &self.controller)?;
        } else {
            self.judge_each(&outcome)?;
        }
        for (to, message) in outcome.sends {
            self.send(Node::Controller, to, message);
        }
        let mut view = View { controller: &self.controller, brokers: &mut self.brokers };
        self.oracle.check_cluster(&mut view)
    }

    fn judge_each(&mut self, outcome: &Outcome) -> Checked {
        for (at, change) in outcome.changes.iter().enumerate() {
            let after = outcome.changes.get(at + 1).map_or(&self.controller.image, |next| &next.before);
            let image = after.clone();
            let now = std::mem::replace(&mut self.controller.image, image);
            let checked = self.oracle.changed(change, &self.controller);
            self.controller.image = now;
            checked?;
        }
        Ok(())
    }

    pub fn elect_preferred(&mut self) -> Checked {
        let outcome = self.controller.elect_preferred(self.now_ms);
        self.settle_controller(outcome)
    }

    fn send(&mut self, from: Node, to: Node, message: Message) {
        let process = match to {
            Node::Broker(id) => {
                let broker = &self.brokers[&id];
                if broker.process.is_none() {
                    return;
                }
                broker.process_number
            }
            Node::Controller | Node::Client(_) => 0,
        };
        let more_ms = match message {
            Message::AlterPartition(..) => self.network.proposal_is_late_ms(&self.parameters),
            _ => 0,
        };
        for delay_ms in self.network.delays(from, to, self.now_ms).into_iter().flatten() {
            let message = message.clone();
            self.schedule.at(self.now_ms + more_ms + delay_ms, Event::Deliver { from, to, process, message });
        }
    }

    fn wake_client(&mut self, id: u32, timer: ClientTimer) -> Checked {
        let mut out = ClientOut::default();
        if id < CONSUMERS_FROM {
            let partition = self.producers[id as usize].partition;
            let leader = self.believed_leader(partition);
            self.producers[id as usize].wake(timer, || leader, &mut out);
        } else {
            let at = (id - CONSUMERS_FROM) as usize;
            let partition = self.consumers[at].partition;
            let broker = if self.random.per_mille(300) {
                let replicas = self.controller.partition(partition).map(|p| p.replicas.clone());
                replicas.map(|replicas| *self.random.pick(&replicas))
            } else {
                self.believed_leader(partition)
            };
            self.consumers[at].wake(broker, &mut out);
        }
        self.settle_client(id, out)
    }

    fn answer_client(&mut self, id: u32, message: Message) -> Checked {
        let mut out = ClientOut::default();
        match message {
            Message::Produced(request, result) => {
                let lost_some = self.oracle.lost_some(self.producers[id as usize].partition);
                self.producers[id as usize].answered(request, result, lost_some, &mut out);
            }
            Message::Consumed { partition, result } => {
                let committed = self.oracle.truths[&partition].committed.len() as i64;
                let lost_some = self.oracle.lost_some(partition);
                let consumer = &mut self.consumers[(id - CONSUMERS_FROM) as usize];
                consumer.answered(result, &mut out);
                if lost_some {
                    consumer.reset_to(committed);
                }
            }
            other => unreachable!("no message for a client: {other:?}"),
        }
        self.settle_client(id, out)
    }

    fn settle_client(&mut self, id: u32, out: ClientOut) -> Checked {
        for told in &out.told {
            self.oracle.told(told)?;
        }
        for (wait_ms, timer) in out.timers {
            self.schedule.at(self.now_ms + wait_ms, Event::Client(id, timer));
        }
        for (to, message) in out.sends {
            self.send(Node::Client(id), to, message);
        }
        Ok(())
    }

    /// The leader as some broker that answers Metadata knows it, which may be old news.
    fn believed_leader(&mut self, partition: i32) -> Option<i32> {
        let asked = self.random.between(1, i64::from(self.parameters.brokers)) as i32;
        let process = self.brokers[&asked].process.as_ref()?;
        process.image.partition(TOPIC_ID, partition)?.leader
    }

    fn rest_from_now(&mut self) {
        self.trace.say(format_args!("{} ms: faults end", self.now_ms));
        self.resting_since_ms = Some(self.now_ms);
        self.network.become_perfect();
        self.producers.iter_mut().for_each(|producer| producer.is_stopping = true);
        for (id, broker) in &mut self.brokers {
            broker.paused_until_ms = 0;
            if broker.process.is_none() {
                self.schedule.at(self.now_ms + 1, Event::Start(*id));
            }
        }
        self.schedule.at(self.now_ms + REST_CHECK_MS, Event::CheckRest);
    }

    fn check_rest(&mut self) -> Checked {
        if self.unrest().is_none() {
            self.resting_since_ms = None;
            return Ok(());
        }
        self.schedule.at(self.now_ms + REST_CHECK_MS, Event::CheckRest);
        self.elect_preferred()
    }
}
