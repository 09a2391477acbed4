//! Every property acts, or is refused with its reason, or cannot be seen on one node: this proves which, name by name.
//!
//! [`table`] has each name of Kafka 4.3.1 and each of our own once, with the test that fails when it has no effect. The
//! other files hold those tests, each a table of [`Effect`]s: while the node runs a value is set on the topic, on the
//! broker and for all brokers, what it does is seen on the wire or on the disk, and it ends when the value is unset.

mod cleaner;
mod cleaning;
mod connections;
mod fixed;
mod flush;
mod groups;
mod harmless;
mod metrics;
mod produce;
mod producers;
mod recovery;
mod refused;
mod relocation;
mod scene;
mod segments;
mod table;

use scene::Scene;

/// A property, and what shows that it acts.
pub struct Effect {
    /// Its name on a topic; none for what only brokers have.
    pub topic: Option<&'static str>,
    /// Its name on a broker; none for what a broker has in its file only.
    pub broker: Option<&'static str>,
    /// A value that is seen to act, and one that is as if there was none.
    pub values: (&'static str, &'static str),
    /// What the topic has besides, so that it is seen.
    pub with: &'static [(&'static str, &'static str)],
    /// Does what shows it, and fails unless the value is seen to act (`true`) or not to (`false`).
    pub shows: fn(&Scene, topic: &str, acts: bool),
}

impl Effect {
    /// What has one name everywhere it is described by.
    pub fn name(&self) -> &'static str {
        self.topic.or(self.broker).expect("a name")
    }
}
