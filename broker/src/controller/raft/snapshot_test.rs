use std::collections::{BTreeMap, BTreeSet};

use milena_log::memory_files::MemoryFiles;
use milena_protocol::types::Uuid;
use milena_state::metadata::Record;
use milena_state::metadata::record::{FeatureLevel, TopicRecord};

use super::*;
use crate::controller::raft::types::{LeaderId, Membership, VoterAddress, VoterId};

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 4, node_id: VoterId::from(1) }, index)
}

/// An image of more than one block, at `index`.
fn image(index: u64) -> Image {
    let topics = (0..BLOCK_RECORDS as u128 + 5)
        .map(|n| Record::Topic(TopicRecord { name: format!("topic-{n}"), topic_id: Uuid::from_u128(n + 1) }));
    let feature = Record::FeatureLevel(FeatureLevel { name: "metadata.version".to_owned(), level: 7 });
    Image::from_snapshot(applied_of(&log_id(index)), topics.chain([feature])).expect("the records fit")
}

fn meta(index: u64) -> SnapshotMeta {
    let voter = VoterId::from(1);
    let nodes = BTreeMap::from([(voter, VoterAddress::default())]);
    let membership = Membership::new(vec![BTreeSet::from([voter])], nodes).expect("a membership");
    SnapshotMeta {
        last_log_id: Some(log_id(index)),
        last_membership: StoredMembership::new(Some(log_id(0)), membership),
    }
}

fn snapshots() -> (MemoryFiles, Snapshots) {
    let files = MemoryFiles::new();
    files.create_dir("/log".as_ref()).expect("memory");
    (files.clone(), Snapshots::new(Arc::new(files), "/log".into()))
}

#[test]
fn a_snapshot_gives_back_image_and_membership() {
    let (_, snapshots) = snapshots();
    snapshots.write(&meta(9), &image(9)).expect("writes");
    let (file, contents) = snapshots.newest().expect("reads").expect("is there");
    assert_eq!(file.path, PathBuf::from("/log/00000000000000000009-0000000004.checkpoint"));
    assert_eq!((contents.meta, contents.image), (meta(9), image(9)));
}

#[test]
fn the_two_newest_are_kept() {
    let (files, snapshots) = snapshots();
    for index in [5, 100, 20] {
        snapshots.write(&meta(index), &Image::default()).expect("writes");
    }
    let names = files.paths_below("/log".as_ref());
    let newest = [
        "/log/00000000000000000020-0000000004.checkpoint",
        "/log/00000000000000000100-0000000004.checkpoint",
    ];
    assert_eq!(names, newest.map(PathBuf::from));
}

#[test]
fn a_damaged_or_unfinished_snapshot_is_passed_over() {
    let (files, snapshots) = snapshots();
    snapshots.write(&meta(5), &image(5)).expect("writes");
    let newer = snapshots.write(&meta(6), &image(6)).expect("writes").path;
    let whole = files.contents(&newer);
    // Cut at every batch and inside one, and with a flipped bit in each block.
    let mut damaged = vec![Vec::new(), whole[..whole.len() - 1].to_vec()];
    let mut position = 0;
    while position < whole.len() {
        damaged.push(whole[..position].to_vec());
        let mut flipped = whole.clone();
        flipped[position + 70] ^= 1;
        damaged.push(flipped);
        position += Batch::peek_size(&whole[position..]).expect("a batch");
    }
    for bytes in damaged {
        files.put(&newer, &bytes);
        let (_, contents) = snapshots.newest().expect("reads").expect("the older one");
        assert_eq!(contents.meta, meta(5));
    }
    files.put(&newer, &whole);
    assert_eq!(snapshots.newest().expect("reads").expect("is whole again").1.meta, meta(6));
}
