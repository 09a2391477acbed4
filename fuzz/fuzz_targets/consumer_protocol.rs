#![no_main]
//! Subscriptions and assignments: bytes that members exchange through the coordinator.
//!
//! Input: four blobs, each a byte with its length in units of 16 and the bytes. Two members join with the first two as
//! their subscriptions and get the last two as their assignments. The coordinator passes them on as they are, and reads
//! subscriptions only to keep the offsets of topics that are read, within memory that the blobs pay for.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations::{self, decoding_bound};
use milena_fuzz::groups::Coordinator;
use milena_protocol::types::Uuid;
use milena_state::group::reply::Reply;
use milena_state::group::request::{
    Commit, CommitPartition, CommitTopic, DeleteOffsets, Join, Leave, Leaver, Protocol, Sync, Token,
};
use milena_state::group::{Command, CommandReply, Event};

const NOW_MS: i64 = 1_700_000_000_000;
const GROUP: &str = "g";

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let blobs = [(); 4].map(|()| blob(&mut rest));
    let mut coordinator = Coordinator::new(NOW_MS);
    coordinator.loaded();
    join(&mut coordinator, 0, "", blobs[0]);
    join(&mut coordinator, 1, "", blobs[1]);
    let ids = [0, 1].map(|token| member_id(&coordinator, token));
    // The first has its answer already: it comes back for the round with both.
    if let Some(leader) = &ids[0] {
        join(&mut coordinator, 2, leader, blobs[0]);
    }
    let (Some(leader), Some(follower)) = (member_id(&coordinator, 2), member_id(&coordinator, 1)) else {
        return;
    };
    sync(&mut coordinator, 3, &leader, &[(&leader, blobs[2]), (&follower, blobs[3])]);
    sync(&mut coordinator, 4, &follower, &[]);
    let assigned = |token| {
        coordinator.replies.iter().rev().find_map(|(found, reply)| match reply {
            Reply::Sync(synced) if *found == Token(token) => Some(synced.assignment.to_vec()),
            _ => None,
        })
    };
    assert_eq!((assigned(3).as_deref(), assigned(4).as_deref()), (Some(blobs[2]), Some(blobs[3])));
    let described = coordinator.groups.describe(&GROUP.into(), true);
    for member in &described.members {
        let expected = if member.id == leader.as_str().into() { blobs[0] } else { blobs[1] };
        assert_eq!(&*member.metadata, expected, "a subscription is passed on as it is");
    }
    keep_offsets(&mut coordinator, &leader, blobs[0].len() + blobs[1].len());
    leave(&mut coordinator, &[&leader, &follower]);
    coordinator.pass_time();
});

fn blob<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((size, after)) = rest.split_first() else { return &[] };
    let (blob, after) = after.split_at(after.len().min(usize::from(*size) * 16));
    *rest = after;
    blob
}

fn join(coordinator: &mut Coordinator, token: u64, member_id: &str, subscription: &[u8]) {
    coordinator.event(Event::Join(Join {
        token: Token(token),
        group: GROUP.into(),
        member_id: member_id.into(),
        unique: token.to_string(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: subscription.to_vec().into() }],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    }));
}

fn member_id(coordinator: &Coordinator, token: u64) -> Option<String> {
    coordinator.replies.iter().find_map(|(found, reply)| match reply {
        Reply::Join(joined) if *found == Token(token) => Some(joined.member_id.to_string()),
        _ => None,
    })
}

fn sync(coordinator: &mut Coordinator, token: u64, member_id: &str, assignments: &[(&str, &[u8])]) {
    let generation = coordinator.replies.iter().filter_map(|(_, reply)| match reply {
        Reply::Join(joined) => Some(joined.generation),
        _ => None,
    });
    let generation = generation.max().unwrap_or(-1);
    coordinator.event(Event::Sync(Sync {
        token: Token(token),
        group: GROUP.into(),
        generation,
        member_id: member_id.into(),
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: assignments.iter().map(|(id, bytes)| ((*id).into(), bytes.to_vec().into())).collect(),
    }));
}

/// Whatever the subscriptions say, questions about them are answered, and an offset that may go is gone afterwards.
fn keep_offsets(coordinator: &mut Coordinator, member_id: &str, size: usize) {
    let generation = coordinator.groups.stored(GROUP).map_or(-1, |stored| stored.generation);
    let partition = CommitPartition { partition: 0, offset: 1, leader_epoch: -1, metadata: None };
    let topic = CommitTopic { name: "t".into(), topic_id: Uuid::ZERO, partitions: vec![partition] };
    let committed = coordinator.command(&Command::Commit(Commit {
        group: GROUP.into(),
        generation,
        member_id: member_id.into(),
        instance_id: None,
        retention_time_ms: -1,
        knows_group_id_not_found: true,
        topics: vec![topic],
    }));
    assert!(matches!(committed, CommandReply::Commit(Ok(_))), "{committed:?}");
    let delete =
        Command::DeleteOffsets(DeleteOffsets { group: GROUP.into(), topics: vec![("t".into(), vec![0])] });
    let (_, taken) = allocations::total(|| coordinator.groups.decide(&delete, NOW_MS));
    let bound = decoding_bound(size) + (64 << 10);
    assert!(taken <= bound, "reading subscriptions of {size} bytes took {taken}");
    let CommandReply::DeleteOffsets(Ok(outcomes)) = coordinator.command(&delete) else {
        panic!("a group is there")
    };
    let is_kept = coordinator.groups.offsets().get(GROUP, "t", 0).is_some();
    assert_eq!(is_kept, outcomes[0].partitions[0].1 != milena_protocol::ErrorCode::None);
    coordinator.command(&Command::Expire { from: None });
}

fn leave(coordinator: &mut Coordinator, ids: &[&str]) {
    let members = ids.iter().map(|id| Leaver { member_id: (*id).into(), instance_id: None }).collect();
    coordinator.event(Event::Leave(Leave { token: Token(9), group: GROUP.into(), members }));
}
