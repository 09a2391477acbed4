//! C3: each registration of a broker has a higher epoch than all before it.

use milena_state::metadata::Record;

use crate::controller::Change;
use crate::oracle::{Checked, Oracle, violated};

pub fn check(oracle: &mut Oracle, change: &Change) -> Checked {
    for record in &change.entry.records {
        let Record::RegisterBroker(registered) = record else { continue };
        // The same process repeats itself with the epoch that it has.
        let repeated = registered.broker_epoch >= 0;
        let epoch = if repeated { registered.broker_epoch } else { change.entry.index };
        let last = oracle.broker_epochs.insert(registered.broker_id, epoch).unwrap_or(-1);
        let fits = if repeated { epoch == last } else { epoch > last };
        if !fits {
            let id = registered.broker_id;
            return violated("C3", format!("broker {id} is registered with epoch {epoch} after {last}"));
        }
    }
    Ok(())
}
