//! A node whose registration is taken from it while it lives comes back by itself.

use milena_state::metadata::brokers::{FenceBroker, RegisterBroker, UnregisterBroker};
use milena_state::metadata::{Broker, features};

use super::test_node::{Node, eventually};
use super::*;

fn start(directory: &std::path::Path) -> Node {
    let directory = directory.display().to_string();
    // An interval in which a test can do something before the next heartbeat.
    let properties = [("log.dirs", directory.as_str()), ("broker.heartbeat.interval.ms", "500")];
    Node::start_on(Arc::new(RealFiles), &properties).expect("starts")
}

impl Node {
    fn registration(&self) -> Option<Arc<Broker>> {
        let id = self.lifecycle.settings.node_id;
        self.lifecycle.quorum().expect("a controller").state().image.broker(id).cloned()
    }

    /// What a dead process on our directories said; the epoch that it gets.
    fn register_predecessor(&self) -> i64 {
        let own = self.registration().expect("it is registered");
        let other = RegisterBroker {
            broker_id: own.broker_id,
            incarnation_id: new_id(),
            endpoints: own.endpoints.clone(),
            features: features::supported(),
            rack: None,
            log_dirs: own.log_dirs.clone(),
            previous_broker_epoch: -1,
            session_is_live: false,
        };
        // Once this is committed our image may have its successor already.
        let submitted = self.lifecycle.controller().submit(Command::RegisterBroker(other));
        let committed = self.run(submitted).expect("committed");
        let Reply::RegisterBroker(Ok(registered)) = committed.reply else { panic!("{:?}", committed.reply) };
        registered.epoch_at(committed.index)
    }

    fn fence(&self) {
        if let Some(own) = self.registration() {
            let fence = FenceBroker { broker_id: own.broker_id, broker_epoch: own.broker_epoch };
            self.submit(Command::FenceBroker(fence));
        }
    }

    fn until_it_leads_again(&self, topic: &str, after_epoch: i64) {
        eventually("it is registered again and leads", || {
            let own = self.registration();
            own.is_some_and(|own| own.is_active() && own.broker_epoch > after_epoch)
                && self.lifecycle.is_unfenced()
                && self.partition(topic).leader_epoch().is_ok()
        });
        let own = self.registration().expect("it is registered");
        assert_eq!(own.incarnation_id, self.lifecycle.incarnation_id());
        assert_eq!(own.broker_epoch, self.lifecycle.broker_epoch());
    }
}

#[test]
fn a_late_registration_of_a_dead_process_costs_the_one_that_lives_a_moment() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = start(directory.path());
    node.create("events", &[]);
    node.produce("events", "before");
    let (first, partition) = (node.lifecycle.broker_epoch(), node.partition("events"));
    let late = node.register_predecessor();
    assert!(late > first);
    node.until_it_leads_again("events", late);
    assert!(Arc::ptr_eq(&partition, &node.partition("events")), "its log was not opened anew");
    drop(partition);
    node.produce("events", "after");
    assert_eq!(node.consume("events"), ["before", "after"]);
    // What asks in its name goes on too.
    for _ in 0..2_500 {
        node.run(node.lifecycle.producer_ids().next()).expect("an id");
    }
    // The clean stop is one of the last registration.
    let last = node.lifecycle.broker_epoch();
    node.stop();
    let node = start(directory.path());
    assert_eq!(node.lifecycle.directories().previous_broker_epoch(), last);
    assert_eq!(node.consume("events"), ["before", "after"]);
    node.stop();
}

#[test]
fn a_broker_that_is_unregistered_while_it_lives_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = start(directory.path());
    node.create("events", &[]);
    node.produce("events", "before");
    let first = node.lifecycle.broker_epoch();
    let broker_id = node.lifecycle.settings.node_id;
    let unregister = || Command::UnregisterBroker(UnregisterBroker { broker_id });
    // A heartbeat may come in between and unfence it.
    eventually("it is unregistered", || {
        node.fence();
        node.submit(unregister()) == Reply::UnregisterBroker(Ok(()))
    });
    node.until_it_leads_again("events", first);
    node.produce("events", "after");
    assert_eq!(node.consume("events"), ["before", "after"]);
    node.stop();
}
