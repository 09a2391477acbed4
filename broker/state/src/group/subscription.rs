//! The topics that the members of a consumer group subscribed to.
//!
//! The coordinator reads subscriptions for one purpose: not to expire or delete offsets of topics that
//! the group reads. A subscription it cannot read makes it careful, never wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::codec::Decode;
use milena_protocol::messages::ConsumerProtocolSubscription;
use milena_protocol::reader::Reader;

use super::classic::Classic;

/// None when the group is no consumer group, has chosen no protocol, or a subscription is unreadable.
pub(super) fn subscribed_topics(group: &Classic) -> Option<BTreeSet<Arc<str>>> {
    if !group.uses_consumer_protocol() {
        return None;
    }
    if group.members.is_empty() {
        return Some(BTreeSet::new());
    }
    let protocol = group.protocol.as_deref()?;
    let mut all = BTreeSet::new();
    for member in group.members.values() {
        add_topics(&member.metadata(protocol), &mut all)?;
    }
    Some(all)
}

/// Later versions only append fields, so everyone is read as version 0.
fn add_topics(metadata: &[u8], all: &mut BTreeSet<Arc<str>>) -> Option<()> {
    let mut reader = Reader::new(metadata);
    if reader.i16().ok()? < 0 {
        return None;
    }
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    for topic in &subscription.topics {
        if !all.contains(&**topic) {
            all.insert(Arc::from(&**topic));
        }
    }
    Some(())
}
