#![no_main]
//! Connections of hostile clients against a broker in this process.
//!
//! Input: a sequence of requests, most of them sensible before a few of their bytes are changed. Oracles: no panic in
//! any thread of the broker (libfuzzer-sys ends the process at each); answers are to what was asked, in order, and
//! decode at the version of their request; afterwards a new connection is served.

use libfuzzer_sys::fuzz_target;

#[path = "connection/answers.rs"]
mod answers;
#[path = "connection/batches.rs"]
mod batches;
#[path = "connection/frames.rs"]
mod frames;
#[path = "../../broker/protocol/tests/support/interpreter.rs"]
mod interpreter;
#[path = "connection/node.rs"]
mod node;
#[path = "connection/requests.rs"]
mod requests;
#[path = "../../broker/protocol/build/schema.rs"]
#[allow(dead_code)]
mod schema;

/// More requests than this only make an input slow.
const STEPS_MAX: usize = 12;

fuzz_target!(|steps: Vec<frames::Step>| {
    let node = node::running();
    let topic_id = node.topic_id();
    let sent: Vec<Vec<u8>> = (0..)
        .zip(steps.iter().take(STEPS_MAX))
        .filter_map(|(correlation_id, step)| step.frame(topic_id, correlation_id))
        .filter(|frame| node::is_affordable(frame))
        .collect();
    answers::exchange(node.address(), &sent);
    node.check_health();
});
