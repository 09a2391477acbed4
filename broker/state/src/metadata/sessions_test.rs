use milena_protocol::{ErrorCode, Uuid};

use super::super::brokers::UnregisterBroker;
use super::super::brokers::tests::{Cluster, registration_of, three_brokers};
use super::*;

#[test]
fn sessions_end_after_the_timeout_and_start_full_on_a_new_controller() {
    let cluster = three_brokers();
    let image = &cluster.image;
    let epoch = |id: i32| image.broker(id).unwrap().broker_epoch;
    let mut sessions = Sessions::seeded(image, 1_000);
    sessions.touch(1, epoch(1), 5, 4_000);
    sessions.touch(2, epoch(2), 9, 2_000);
    assert_eq!(sessions.unheard(image), [FenceBroker { broker_id: 3, broker_epoch: epoch(3) }]);
    let expired = |now_ms| -> Vec<i32> {
        sessions.expired(image, 3_000, now_ms).iter().map(|command| command.broker_id).collect()
    };
    assert_eq!(expired(4_000), []);
    assert_eq!(expired(4_001), [3]);
    assert_eq!(expired(5_001), [3, 2]);
    assert_eq!(expired(7_001), [3, 2, 1]);
    assert!(sessions.is_live(1, 3_000, 7_000) && !sessions.is_live(1, 3_000, 7_001));
    assert!(!sessions.is_live(9, 3_000, 0));
    assert!(!sessions.all_reached(image, 2, 5), "broker 3 has reported nothing");
    assert!(Sessions::default().all_reached(&Image::default(), 1, 5), "nobody else is there");
}

#[test]
fn a_late_heartbeat_of_an_earlier_process_says_nothing_of_the_present_one() {
    let cluster = three_brokers();
    let image = &cluster.image;
    let epoch = image.broker(1).unwrap().broker_epoch;
    let mut sessions = Sessions::default();
    sessions.touch(1, epoch, 5, 1_000);
    sessions.touch(1, epoch - 1, 4, 3_000);
    let fence = FenceBroker { broker_id: 1, broker_epoch: epoch };
    assert_eq!(sessions.expired(image, 3_000, 4_001), [fence], "it was silent since 1,000 ms");
}

/// A controller with its soft state, which decides as its writer does.
struct Controller {
    cluster: Cluster,
    sessions: Sessions,
    now_ms: i64,
}

const SESSION_TIMEOUT_MS: i64 = 3_000;

impl Controller {
    fn new() -> Self {
        let cluster = three_brokers();
        let sessions = Sessions::seeded(&cluster.image, 0);
        Self { cluster, sessions, now_ms: 0 }
    }

    fn run(&mut self, mut command: Command) -> Reply {
        self.sessions.inform(&mut command, &self.cluster.image, SESSION_TIMEOUT_MS, self.now_ms);
        let reply = self.cluster.run(command.clone());
        let index = self.cluster.image.applied().index;
        self.sessions.remember(Note::of(&command, &reply), index, self.now_ms);
        reply
    }

    fn beat(&mut self, broker_id: i32, edit: impl Fn(&mut Heartbeat)) -> Result<bool, ErrorCode> {
        let mut heartbeat = Heartbeat {
            broker_id,
            broker_epoch: self.epoch(broker_id),
            current_metadata_offset: self.cluster.image.applied().index,
            want_fence: false,
            want_shut_down: false,
            offline_log_dirs: Vec::new(),
            others_caught_up: false,
        };
        edit(&mut heartbeat);
        match self.run(Command::BrokerHeartbeat(heartbeat)) {
            Reply::BrokerHeartbeat(answer) => {
                answer.map(|answer| answer.should_shut_down).map_err(|error| error.code)
            }
            other => panic!("{other:?}"),
        }
    }

    fn register(&mut self, broker_id: i32, incarnation: u128, directory: u128) -> Result<(), ErrorCode> {
        let command = RegisterBroker {
            incarnation_id: Uuid::from_u128(incarnation),
            log_dirs: vec![Uuid::from_u128(directory)],
            ..registration_of(broker_id)
        };
        match self.run(Command::RegisterBroker(command)) {
            Reply::RegisterBroker(outcome) => outcome.map(|_| ()).map_err(|error| error.code),
            other => panic!("{other:?}"),
        }
    }

    fn epoch(&self, broker_id: i32) -> i64 {
        self.cluster.image.broker(broker_id).unwrap().broker_epoch
    }

    fn expired(&self) -> Vec<i32> {
        let expired = self.sessions.expired(&self.cluster.image, SESSION_TIMEOUT_MS, self.now_ms);
        expired.iter().map(|fence| fence.broker_id).collect()
    }
}

#[test]
fn a_heartbeat_of_another_epoch_keeps_no_session_alive() {
    for other in [-1, 1] {
        let mut controller = Controller::new();
        let epoch = controller.epoch(1) + other;
        controller.now_ms = SESSION_TIMEOUT_MS + 1;
        let before = controller.sessions.clone();
        assert_eq!(
            controller.beat(1, |heartbeat| heartbeat.broker_epoch = epoch),
            Err(ErrorCode::StaleBrokerEpoch)
        );
        assert_eq!(controller.sessions, before);
        assert_eq!(controller.expired(), [1, 2, 3]);
        controller.beat(1, |_| {}).expect("it is the one that is registered");
        assert_eq!(controller.expired(), [2, 3]);
    }
}

#[test]
fn a_heartbeat_of_a_broker_that_is_not_registered_makes_no_session() {
    let mut controller = Controller::new();
    let before = controller.sessions.clone();
    let of_nobody = |heartbeat: &mut Heartbeat| heartbeat.broker_id = 9;
    assert_eq!(controller.beat(1, of_nobody), Err(ErrorCode::BrokerIdNotRegistered));
    assert_eq!(controller.sessions, before);
}

#[test]
fn the_wish_of_a_former_process_to_leave_says_nothing_of_the_present_one() {
    let mut controller = Controller::new();
    controller.cluster.topic(&[1, 2]);
    let epoch = controller.epoch(1);
    let stale = |heartbeat: &mut Heartbeat| {
        (heartbeat.want_shut_down, heartbeat.broker_epoch) = (true, epoch - 1);
    };
    assert_eq!(controller.beat(1, stale), Err(ErrorCode::StaleBrokerEpoch));
    // All have heard what was committed until now, when the one that is registered begins to leave.
    for id in [2, 3] {
        controller.beat(id, |_| {}).expect("lives");
    }
    let leave = |heartbeat: &mut Heartbeat| heartbeat.want_shut_down = true;
    assert_eq!(controller.beat(1, leave), Ok(false));
    assert_eq!(controller.beat(1, leave), Ok(false), "the others do not know of the new leader yet");
    for id in [2, 3] {
        controller.beat(id, |_| {}).expect("lives");
    }
    assert_eq!(controller.beat(1, leave), Ok(true));
}

#[test]
fn a_registration_that_is_refused_leaves_the_session_as_it_is() {
    let mut controller = Controller::new();
    controller.now_ms = SESSION_TIMEOUT_MS;
    let before = controller.sessions.clone();
    assert_eq!(controller.register(1, 77, 7_000), Err(ErrorCode::DuplicateBrokerRegistration));
    assert_eq!(controller.sessions, before);
    controller.now_ms += 1;
    assert_eq!(controller.register(1, 77, 7_000), Ok(()), "nobody has heard of the one before for so long");
    assert_eq!(controller.expired(), [2, 3]);
}

#[test]
fn whoever_has_the_directory_of_a_broker_follows_it_at_once() {
    let mut controller = Controller::new();
    let directory = controller.cluster.image.broker(1).unwrap().log_dirs[0].as_u128();
    assert_eq!(controller.register(1, 77, directory), Ok(()));
    assert_eq!(controller.register(1, 78, 7_000), Err(ErrorCode::DuplicateBrokerRegistration));
}

/// Broker 1 is followed by process 77 on the same directory, which is followed by 78. Returns the directory.
fn two_that_followed(controller: &mut Controller) -> u128 {
    let directory = controller.cluster.image.broker(1).unwrap().log_dirs[0].as_u128();
    assert_eq!(controller.register(1, 77, directory), Ok(()));
    controller.beat(1, |_| {}).expect("lives");
    assert_eq!(controller.register(1, 78, directory), Ok(()));
    directory
}

#[test]
fn a_late_registration_of_a_dead_process_does_not_drive_out_the_one_that_lives() {
    let mut controller = Controller::new();
    let directory = two_that_followed(&mut controller);
    controller.beat(1, |_| {}).expect("lives");
    let (epoch, before) = (controller.epoch(1), controller.sessions.clone());
    assert_eq!(controller.register(1, 77, directory), Err(ErrorCode::DuplicateBrokerRegistration));
    assert_eq!((controller.epoch(1), controller.sessions.clone()), (epoch, before));
    // Whoever comes now and is not known is a restart.
    assert_eq!(controller.register(1, 79, directory), Ok(()));
    // Nobody is driven out for ever: when the one that followed is silent, the former may come back.
    controller.beat(1, |_| {}).expect("lives");
    controller.now_ms += SESSION_TIMEOUT_MS + 1;
    assert_eq!(controller.register(1, 78, directory), Ok(()));
}

#[test]
fn a_living_process_takes_its_place_back_at_once_from_one_that_never_said_a_word() {
    let mut controller = Controller::new();
    let directory = two_that_followed(&mut controller);
    // 77 is dead, and its registration came before the first heartbeat of 78.
    assert_eq!(controller.register(1, 77, directory), Ok(()));
    let epoch = controller.epoch(1);
    assert_eq!(controller.register(1, 78, directory), Ok(()));
    assert!(controller.epoch(1) > epoch, "it is another registration, though of the same process");
    // And repeats itself without another change.
    let epoch = controller.epoch(1);
    assert_eq!(controller.register(1, 78, directory), Ok(()));
    assert_eq!(controller.epoch(1), epoch);
}

#[test]
fn few_former_processes_are_remembered_and_none_of_a_broker_that_was_unregistered() {
    let mut controller = Controller::new();
    let directory = controller.cluster.image.broker(1).unwrap().log_dirs[0].as_u128();
    for incarnation in 100..120 {
        assert_eq!(controller.register(1, incarnation, directory), Ok(()));
    }
    assert_eq!(controller.sessions.incarnations[&1].len(), INCARNATIONS_MAX);
    controller.now_ms += SESSION_TIMEOUT_MS + 1;
    for fence in controller.sessions.expired(&controller.cluster.image, SESSION_TIMEOUT_MS, controller.now_ms)
    {
        controller.run(Command::FenceBroker(fence));
    }
    let unregister = Command::UnregisterBroker(UnregisterBroker { broker_id: 1 });
    assert_eq!(controller.run(unregister), Reply::UnregisterBroker(Ok(())));
    let Sessions { sessions, leaving_since, incarnations } = &controller.sessions;
    assert!(!sessions.contains_key(&1) && !leaving_since.contains_key(&1) && !incarnations.contains_key(&1));
}
