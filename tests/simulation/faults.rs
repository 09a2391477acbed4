//! What goes wrong, and when it ends.

use milena_log::memory_files::Loss;

use crate::message::Node;
use crate::oracle::Checked;
use crate::parameters::{Crashes, Parameters};
use crate::random::Random;
use crate::schedule::Event;
use crate::world::World;

/// One kind of misfortune; a run knows some of them (swarm testing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    CrashOfLeader,
    /// The power fails for all.
    CrashOfAll,
    Stop,
    /// Nobody reaches the broker, and it reaches nobody.
    Isolate,
    /// The broker and the controller do not reach each other.
    FromController,
    /// Messages between two brokers are lost, perhaps in one direction only.
    Between,
    Pause,
    Slow,
    ElectPreferred,
    /// A partition moves to other brokers, or back.
    Reassign,
    Checkpoint,
    /// A broker that is fenced is unregistered; it may be alive.
    Unregister,
}

const ALL: [Fault; 12] = [
    Fault::Crash,
    Fault::CrashOfLeader,
    Fault::CrashOfAll,
    Fault::Stop,
    Fault::Isolate,
    Fault::FromController,
    Fault::Between,
    Fault::Pause,
    Fault::Slow,
    Fault::ElectPreferred,
    Fault::Reassign,
    Fault::Checkpoint,
];

/// When the next fault strikes and which there are.
#[derive(Debug)]
pub struct Nemesis {
    random: Random,
    known: Vec<Fault>,
    mean_ms: i64,
    crashes: Crashes,
}

impl Nemesis {
    pub fn new(mut random: Random, parameters: &Parameters) -> Self {
        let mut known: Vec<Fault> = ALL.into_iter().filter(|_| random.per_mille(600)).collect();
        if known.is_empty() {
            known.push(Fault::Crash);
        }
        if parameters.unregisters {
            known.push(Fault::Unregister);
        }
        Self { random, known, mean_ms: parameters.fault_ms, crashes: parameters.crashes }
    }

    pub fn next_ms(&mut self) -> i64 {
        self.random.between(1, 2 * self.mean_ms)
    }

    fn loss(&mut self, may_lose: bool) -> Loss {
        match self.crashes {
            _ if !may_lose => Loss::Nothing,
            Crashes::Process => Loss::Nothing,
            Crashes::LossyWithinPromise | Crashes::Lossy => match self.random.below(4) {
                0 => Loss::Nothing,
                1 => Loss::Random(self.random.next()),
                _ => Loss::Unsynced,
            },
        }
    }
}

impl World {
    pub fn strike(&mut self) -> Checked {
        let next_ms = self.now_ms + self.nemesis.next_ms();
        self.schedule.at(next_ms, Event::Fault);
        // Before there is a topic there is nothing to lose.
        let Some(partition) = self.controller.partition(0).cloned() else { return Ok(()) };
        let known = self.nemesis.known.clone();
        let fault = *self.nemesis.random.pick(&known);
        let id = self.nemesis.random.between(1, i64::from(self.parameters.brokers)) as i32;
        self.trace.note(fault as u64 + 100 * id as u64);
        self.trace.say(format_args!("{} ms: fault {fault:?} of broker {id}", self.now_ms));
        let for_ms = self.nemesis.random.between(20, 4 * self.nemesis.mean_ms);
        match fault {
            Fault::Crash => self.crash(id, for_ms),
            Fault::CrashOfLeader => self.crash(partition.leader.unwrap_or(id), for_ms),
            Fault::CrashOfAll => (1..=self.parameters.brokers).for_each(|id| self.crash(id, for_ms)),
            Fault::Stop => {
                if let Some(process) = self.brokers.get_mut(&id).and_then(|broker| broker.process.as_mut()) {
                    process.stopping = true;
                }
            }
            Fault::Isolate => {
                let others = (1..=self.parameters.brokers).filter(|other| *other != id).map(Node::Broker);
                let clients = (0..self.parameters.producers).map(Node::Client);
                let all: Vec<Node> = others.chain(clients).chain([Node::Controller]).collect();
                self.cut_off(id, &all, true, for_ms);
            }
            Fault::FromController => {
                let both = self.nemesis.random.coin();
                self.cut_off(id, &[Node::Controller], both, for_ms);
            }
            Fault::Between => {
                let other = 1 + id % self.parameters.brokers;
                let both = self.nemesis.random.coin();
                self.cut_off(id, &[Node::Broker(other)], both, for_ms);
            }
            Fault::Pause => {
                let until_ms = self.now_ms + for_ms;
                self.brokers.get_mut(&id).expect("one of them").paused_until_ms = until_ms;
            }
            Fault::Slow => {
                let extra_ms = self.nemesis.random.between(5, 200);
                self.network.slow.insert(id, extra_ms);
                // A slow broker is slow until the next one is.
                self.network.slow.retain(|other, _| *other == id);
            }
            Fault::ElectPreferred => return self.elect_preferred(),
            Fault::Reassign => {
                let index = self.nemesis.random.below(self.parameters.partitions as u64) as i32;
                let replicas = self.nemesis.random.per_mille(800).then(|| {
                    let nth = |at: i32| 1 + (id - 1 + at) % self.parameters.brokers;
                    (0..self.parameters.replication_factor as i32).map(nth).collect()
                });
                let outcome = self.controller.reassign(index, replicas, self.now_ms);
                return self.settle_controller(outcome);
            }
            Fault::Unregister => return self.unregister(id),
            Fault::Checkpoint => {
                if let Some(process) = &self.brokers[&id].process {
                    process.checkpoint();
                }
            }
        }
        Ok(())
    }

    fn cut_off(&mut self, id: i32, others: &[Node], both: bool, for_ms: i64) {
        let me = Node::Broker(id);
        let mut directions: Vec<(Node, Node)> = others.iter().map(|other| (me, *other)).collect();
        if both {
            directions.extend(others.iter().map(|other| (*other, me)));
        } else if self.nemesis.random.coin() {
            directions = others.iter().map(|other| (*other, me)).collect();
        }
        let heals_at_ms = self.now_ms + for_ms;
        let cut = self.network.cut(directions, heals_at_ms);
        self.schedule.at(heals_at_ms, Event::Heal(cut));
    }

    /// Ends a process, unless the promise of this run does not cover that now.
    fn crash(&mut self, id: i32, for_ms: i64) {
        if self.brokers[&id].process.is_none() {
            return;
        }
        let may_lose = self.may_lose(id);
        if self.parameters.crashes == Crashes::LossyWithinPromise && !self.parameters.durable && !may_lose {
            return;
        }
        let loss = self.nemesis.loss(may_lose);
        self.trace.note(self.now_ms as u64);
        self.trace.say(format_args!("{} ms: broker {id} crashes, {loss:?} is lost", self.now_ms));
        let broker = self.brokers.get_mut(&id).expect("one of them");
        let epoch = broker.process.as_ref().and_then(|process| process.epoch);
        broker.crash(loss);
        if let Some(epoch) = epoch.filter(|_| self.parameters.fences_on_disconnect) {
            let grace_ms = self.nemesis.random.between(1, 100);
            self.schedule.at(self.now_ms + grace_ms, Event::Disconnected(id, epoch));
        }
        self.schedule.at(self.now_ms + for_ms / 2, Event::Start(id));
    }

    /// Unregisters the first broker from `id` on that is fenced. Whoever says that it is gone gives up what it alone has:
    /// that counts as a crash.
    fn unregister(&mut self, id: i32) -> Checked {
        let may = |id: &i32| self.parameters.crashes == Crashes::Process || self.may_lose(*id);
        let Some(id) = self.controller.fenced_from(id).filter(may) else { return Ok(()) };
        self.brokers.get_mut(&id).expect("one of them").was_clean = false;
        let outcome = self.controller.unregister(id, self.now_ms);
        self.settle_controller(outcome)
    }

    /// Within the promise fewer than the minimum ISR may have crashed and not be in sync again (KIP-966). A process that
    /// died counts as one that lost its data, because nobody can tell.
    fn may_lose(&self, id: i32) -> bool {
        if self.parameters.lossy_crashes_max() == i32::MAX {
            return true;
        }
        let hurt = |other: &i32| *other == id || self.is_hurt(*other);
        let hurt = (1..=self.parameters.brokers).filter(hurt).count();
        hurt as i32 <= self.parameters.lossy_crashes_max()
    }

    /// Crashed, and not back in every ISR.
    fn is_hurt(&self, id: i32) -> bool {
        let broker = &self.brokers[&id];
        let is_registered = broker.process.as_ref().is_some_and(|process| {
            process.epoch.is_some()
                && process.epoch == self.controller.image.broker(id).map(|broker| broker.broker_epoch)
        });
        if broker.was_clean {
            return false;
        }
        let in_sync = (0..self.parameters.partitions).all(|index| {
            let partition = self.controller.partition(index);
            partition.is_none_or(|p| !p.replicas.contains(&id) || p.isr.contains(&id))
        });
        !(is_registered && in_sync)
    }
}
