#![no_main]
//! Records of `__consumer_offsets`: what a log may hold, and the coordinator that is loaded from it.
//!
//! Input: records one after the other, each a byte with the length of the key, two with that of the value (0xffff is
//! a tombstone), then both. What is readable is applied, and the groups that come of it live on and are taken down.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations::{self, decoding_bound};
use milena_fuzz::groups::Coordinator;
use milena_state::group::request::Fetch;
use milena_state::group::{Command, CommandReply, Decoded, Record};

const NOW_MS: i64 = 1_700_000_000_000;

fuzz_target!(|input: &[u8]| {
    let mut coordinator = Coordinator::new(NOW_MS);
    let mut rest = input;
    while let Some((key, value, after)) = next(rest) {
        rest = after;
        let (decoded, taken) = allocations::total(|| Record::decode(Some(key), value));
        let size = key.len() + value.map_or(0, <[u8]>::len);
        assert!(taken <= decoding_bound(size), "reading {size} bytes took {taken}");
        let Ok(Decoded::Record(record)) = decoded else { continue };
        let (key, value) = record.encode().expect("what was read can be written");
        let again = Record::decode(Some(&key), value.as_deref());
        assert_eq!(again, Ok(Decoded::Record(record.clone())), "a record is what was written");
        coordinator.groups.apply(&record, coordinator.next_offset);
        coordinator.next_offset += 1;
    }
    coordinator.loaded();
    look(&coordinator);
    coordinator.pass_time();
    look(&coordinator);
    expire(&mut coordinator);
});

fn next(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>, &[u8])> {
    let (&[key_size, a, b], rest) = bytes.split_first_chunk::<3>()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_size))?;
    match u16::from_be_bytes([a, b]) {
        u16::MAX => Some((key, None, rest)),
        size => {
            let (value, rest) = rest.split_at(rest.len().min(usize::from(size)));
            Some((key, Some(value), rest))
        }
    }
}

fn look(coordinator: &Coordinator) {
    let groups = &coordinator.groups;
    let listed = groups.list(&[], &[]);
    assert_eq!(listed.len(), groups.group_ids().count());
    for id in groups.group_ids() {
        let _ = groups.describe(id, true);
        for require_stable in [false, true] {
            let _ = groups.fetch(&Fetch { group: id.clone(), topics: None, require_stable });
        }
    }
}

/// A hundred years later nobody is left but those whose members never end.
fn expire(coordinator: &mut Coordinator) {
    coordinator.now_ms = coordinator.now_ms.saturating_add(100 * 365 * 86_400_000);
    let mut from = None;
    loop {
        match coordinator.command(&Command::Expire { from }) {
            CommandReply::Expired { next: Some(next) } => from = Some(next),
            _ => return,
        }
    }
}
