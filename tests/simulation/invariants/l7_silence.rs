//! L7: a broker that is silent for longer than its session is fenced, however late messages of its past arrive.

use crate::controller::Controller;
use crate::oracle::{Checked, Oracle, violated};

/// The controller looks for silent brokers only now and then.
const SLACK_MS: i64 = 250;

pub fn check(oracle: &Oracle, controller: &Controller, now_ms: i64) -> Checked {
    let timeout_ms = oracle.parameters.session_timeout_ms + SLACK_MS;
    for broker in controller.image.brokers().filter(|broker| !broker.fenced) {
        let heard_ms = oracle.heard_ms.get(&(broker.broker_id, broker.broker_epoch)).copied();
        let silent_ms = now_ms - heard_ms.unwrap_or(i64::MIN / 2);
        if silent_ms > timeout_ms {
            let (id, epoch) = (broker.broker_id, broker.broker_epoch);
            let what = format!("broker {id} (epoch {epoch}) is silent for {silent_ms} ms and not fenced");
            return violated("L7", what);
        }
    }
    Ok(())
}
