//! How a process tells the controller of itself: it registers, heartbeats, and registers again when its epoch is stale.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer, RegisterBroker};
use milena_state::metadata::features;

use super::process::Process;
use super::{Note, Out};
use crate::message::{Message, Node};
use crate::parameters::Mutation;
use crate::schedule::Timer;

const REGISTER_RETRY_MS: i64 = 150;

impl Process {
    /// Asks for an epoch until it has one.
    pub fn register(&mut self, out: &mut Out) {
        if self.epoch.is_some() && !self.registers_again {
            return;
        }
        let command = RegisterBroker {
            broker_id: self.setup.broker_id,
            incarnation_id: self.incarnation_id,
            endpoints: Vec::new(),
            features: features::supported(),
            rack: None,
            log_dirs: vec![Uuid::from_u128(1 << 90 | self.setup.broker_id as u128)],
            previous_broker_epoch: if self.registers_again { -1 } else { self.previous_epoch },
            session_is_live: false,
        };
        out.sends.push((Node::Controller, Message::Register(command)));
        out.timers.push((REGISTER_RETRY_MS, Timer::Register));
    }

    pub fn registered(&mut self, result: Result<i64, ErrorCode>, out: &mut Out) {
        let Ok(epoch) = result else { return };
        match self.epoch {
            None => out.timers.push((0, Timer::Heartbeat)),
            // An answer to what was asked before may be late.
            Some(last) if self.registers_again && epoch > last => {}
            Some(_) => return,
        }
        (self.epoch, self.registers_again) = (Some(epoch), false);
        let message = Message::AllocateProducerIds { broker_id: self.setup.broker_id, broker_epoch: epoch };
        out.sends.push((Node::Controller, message));
        self.publish(None, out);
    }

    pub fn heartbeat(&mut self, out: &mut Out) {
        let Some(broker_epoch) = self.epoch else { return };
        out.timers.push((self.setup.heartbeat_ms, Timer::Heartbeat));
        if self.registers_again {
            return;
        }
        let command = Heartbeat {
            broker_id: self.setup.broker_id,
            broker_epoch,
            current_metadata_offset: self.image.applied().index,
            want_fence: !self.acts(),
            want_shut_down: self.stopping,
            offline_log_dirs: Vec::new(),
            others_caught_up: false,
        };
        out.sends.push((Node::Controller, Message::Heartbeat(command)));
    }

    pub fn heard(&mut self, result: Result<HeartbeatAnswer, ErrorCode>, out: &mut Out) {
        match result {
            Ok(answer) if answer.should_shut_down && self.stopping => out.notes.push(Note::Stopped),
            Ok(_) => {}
            Err(ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered) => self.is_stale(out),
            Err(error) => out.notes.push(Note::Impossible(format!("heartbeat of a live process: {error:?}"))),
        }
    }

    /// Another process has followed this one, or the broker was unregistered.
    fn is_stale(&mut self, out: &mut Out) {
        if self.stopping {
            // There is nothing to hand over.
            return out.notes.push(Note::Stopped);
        }
        if !self.registers_again && self.setup.mutation != Mutation::KeepsStaleEpoch {
            self.registers_again = true;
            self.register(out);
        }
    }
}
