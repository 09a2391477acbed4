//! Members of groups on a running node: rebalances over restarts, and what becomes of those that wait.

use milena_log::memory_files::{Fault, MemoryFiles, Operation};
use milena_protocol::ErrorCode;
use milena_state::group::reply::Reply as GroupReply;
use milena_state::group::request::Token;
use milena_state::group::{Event, TimerKey};

use super::group_scene::{EMFILE, GROUP, Joining, commit, node, partition_of};
use super::test_node::{Node, eventually};
use super::*;
use crate::coordinator::OFFSETS_TOPIC;

/// In which an answer would come that waits for nothing.
const ANSWER_TIME: Duration = Duration::from_millis(100);

const WAITS: (&str, &str) = ("group.initial.rebalance.delay.ms", "600000");

fn error_of(answer: Result<GroupReply, ErrorCode>) -> ErrorCode {
    match answer {
        Ok(GroupReply::Join(reply)) => reply.error,
        Err(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_keeps_the_generation_before() {
    let files = MemoryFiles::new();
    let before = node(&files, &[]);
    let joined = before.stable(GROUP);
    before
        .commit(milena_state::group::request::Commit {
            generation: joined.generation,
            member_id: joined.member_id.clone(),
            ..commit(GROUP, "orders", 0, 5)
        })
        .expect("committed");
    let second = before.joining(GROUP, "");
    before.wait_for_waiting(GROUP, 1);
    assert_eq!(before.state(GROUP), "PreparingRebalance");
    before.crash();
    drop(second);

    let after = node(&files, &[]);
    assert_eq!((after.state(GROUP), after.committed(GROUP, "orders", 0)), ("Stable", 5));
    assert_eq!(after.heartbeat(GROUP, &joined.member_id, joined.generation), Ok(ErrorCode::None));
    assert_eq!(after.heartbeat(GROUP, "somebody", joined.generation), Ok(ErrorCode::UnknownMemberId));
    let (first, second) = (after.joining(GROUP, &joined.member_id), after.joining(GROUP, ""));
    let (first, second) = (after.joined(first), after.joined(second));
    assert!(first.generation > joined.generation, "{} > {}", first.generation, joined.generation);
    // The first may have been answered alone, before the second came.
    assert!(second.generation >= first.generation);
    after.stop();
}

#[test]
fn in_durable_mode_an_assignment_is_told_when_it_is_on_the_disk() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("milena.flush", "durable"), ("offsets.commit.timeout.ms", "600000")]);
    // Short of descriptors the first sync of a log is repeated; it has not failed.
    let folder = format!("/data/{OFFSETS_TOPIC}-{}", partition_of(&node, GROUP).index());
    files.inject(Fault::errno(Operation::SyncDir, 0, EMFILE).on_paths(&folder).lasting());
    let joined = node.joined(node.joining(GROUP, ""));
    let mut syncing = node.syncing(GROUP, &joined);
    let early = node.run(async { tokio::time::timeout(ANSWER_TIME, &mut syncing).await.is_ok() });
    assert!(!early, "it waits for the disk");
    files.heal();
    let Ok(GroupReply::Sync(reply)) = node.answer(syncing) else { panic!("another reply") };
    assert_eq!((reply.error, node.state(GROUP)), (ErrorCode::None, "Stable"));
    node.stop();
}

#[test]
fn a_member_that_falls_silent_is_out_after_its_session() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("group.min.session.timeout.ms", "1")]);
    let groups = Arc::clone(node.lifecycle.groups());
    let short = |token: Token| match super::group_scene::join(GROUP, "")(token) {
        Event::Join(mut join) => {
            join.session_timeout_ms = 50;
            Event::Join(join)
        }
        other => other,
    };
    let joined = node.joined(node.runtime.spawn(async move { groups.event(GROUP, short).await }));
    assert_eq!(node.sync(GROUP, &joined).error, ErrorCode::None);
    eventually("it is out", || node.state(GROUP) == "Empty");
    node.stop();
}

#[test]
fn a_group_has_as_many_members_as_the_property_allows() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("group.max.size", "1")]);
    node.stable(GROUP);
    assert_eq!(error_of(node.answer(node.joining(GROUP, ""))), ErrorCode::GroupMaxSizeReached);
    node.stop();
}

#[test]
fn those_that_wait_hear_of_it_when_another_broker_leads() {
    let files = MemoryFiles::new();
    let node = node(&files, &[WAITS]);
    let waiting = node.joining(GROUP, "");
    node.wait_for_waiting(GROUP, 1);
    node.elect(GROUP, 2);
    assert_eq!(error_of(node.answer(waiting)), ErrorCode::NotCoordinator);
    assert_eq!(node.commit(commit(GROUP, "orders", 0, 1)), Err(ErrorCode::NotCoordinator));
    node.crash();
}

#[test]
fn those_that_wait_hear_of_it_when_the_topic_of_groups_is_deleted() {
    use milena_state::metadata::topics::{DeleteTopics, TopicRef};

    let files = MemoryFiles::new();
    let node = node(&files, &[WAITS]);
    let waiting = node.joining(GROUP, "");
    node.wait_for_waiting(GROUP, 1);
    let command = DeleteTopics { topics: vec![TopicRef::Name(OFFSETS_TOPIC.to_owned())] };
    node.submit(Command::DeleteTopics(command));
    assert_eq!(error_of(node.answer(waiting)), ErrorCode::NotCoordinator);
    assert_eq!(node.commit(commit(GROUP, "orders", 0, 1)), Err(ErrorCode::NotCoordinator));
    // The next one that asks begins anew.
    node.run(node.lifecycle.groups().ensure_topic()).expect("there is a topic again");
    node.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    node.stop();
}

/// They cost no task: here the tasks are those of the clients.
#[test]
fn ten_thousand_members_wait_in_joins_and_hear_of_the_end() {
    let files = MemoryFiles::new();
    let node = node(&files, &[WAITS]);
    let waiting: Vec<Joining> = (0..10_000).map(|_| node.joining(GROUP, "")).collect();
    node.wait_for_waiting(GROUP, waiting.len());
    assert_eq!(node.state(GROUP), "PreparingRebalance");
    assert_eq!(node.lifecycle.groups().timers(GROUP), waiting.len() + 1, "one for each, one for the phase");
    let Node { runtime, lifecycle } = node;
    runtime.block_on(async {
        let stop = tokio::time::timeout(Duration::from_secs(30), lifecycle.stop());
        stop.await.expect("nobody waits for those that wait");
    });
    for joining in waiting {
        let answer = runtime.block_on(joining).expect("no panic");
        assert_eq!(error_of(answer), ErrorCode::NotCoordinator);
    }
}

#[test]
fn ten_thousand_members_become_stable() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("group.initial.rebalance.delay.ms", "1000")]);
    let waiting: Vec<Joining> = (0..10_000).map(|_| node.joining(GROUP, "")).collect();
    let joined: Vec<_> = waiting.into_iter().map(|joining| node.joined(joining)).collect();
    let last = joined.iter().map(|reply| reply.generation).max().expect("there are some");
    let leaders = joined.iter().filter(|reply| reply.generation == last && !reply.members.is_empty());
    let leaders: Vec<_> = leaders.collect();
    assert_eq!(leaders.len(), 1, "one leads");
    assert_eq!(leaders[0].members.len(), 10_000);
    assert_eq!(node.sync(GROUP, leaders[0]).error, ErrorCode::None);
    assert_eq!(node.state(GROUP), "Stable");
    node.stop();
}

/// What the runtime keeps of a member that waits, beside the machine: its timer, its answer and the channel for it.
#[test]
fn a_waiting_member_is_small() {
    let timers = 2 * size_of::<(TimerKey, i64)>();
    let answer = size_of::<(Token, tokio::sync::oneshot::Sender<GroupReply>)>();
    // The reply, two wakers, a state and the counts of an Arc.
    let channel = size_of::<GroupReply>() + size_of::<[usize; 8]>();
    // Maps are not full.
    let all = 2 * (timers + answer) + channel;
    assert!(all < 1024, "{all}");
}
