//! The double must be as bad as it says, or the tests that use it prove nothing.

use std::collections::BTreeSet;

use super::*;
use crate::files::{read_exact_at, write_all_at};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn with_directory() -> MemoryFiles {
    let files = MemoryFiles::new();
    files.create_dir(path("/d")).expect("memory");
    files.sync_dir(path("/")).expect("memory");
    files
}

fn synced_file(files: &MemoryFiles, name: &str, contents: &[u8]) -> Arc<dyn File> {
    let file = files.create(path(name)).expect("memory");
    write_all_at(&*file, contents, 0).expect("memory");
    file.sync_data().expect("memory");
    files.sync_dir(path(name).parent().expect("below a directory")).expect("memory");
    file
}

#[test]
fn writes_are_readable_at_once_and_durable_after_a_sync() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", b"old");
    write_all_at(&*file, b"new and longer", 0).expect("memory");
    let mut read = [0; 14];
    read_exact_at(&*file, &mut read, 0).expect("memory");
    assert_eq!(&read, b"new and longer");
    assert_eq!(files.crash(Loss::Unsynced).contents(path("/d/a")), b"old");
    assert_eq!(files.crash(Loss::Nothing).contents(path("/d/a")), b"new and longer");
    file.sync_data().expect("memory");
    assert_eq!(files.crash(Loss::Unsynced).contents(path("/d/a")), b"new and longer");
}

#[test]
fn names_are_durable_after_a_sync_of_their_directory() {
    let files = with_directory();
    let file = files.create(path("/d/a")).expect("memory");
    write_all_at(&*file, b"x", 0).expect("memory");
    file.sync_data().expect("memory");
    assert!(files.crash(Loss::Unsynced).open(path("/d/a")).is_err());
    files.sync_dir(path("/d")).expect("memory");
    files.rename(path("/d/a"), path("/d/b")).expect("memory");
    let after = files.crash(Loss::Unsynced);
    assert_eq!(after.contents(path("/d/a")), b"x");
    files.sync_dir(path("/d")).expect("memory");
    let after = files.crash(Loss::Unsynced);
    assert_eq!(after.contents(path("/d/b")), b"x");
    assert_eq!(after.open(path("/d/a")).expect_err("renamed").kind(), io::ErrorKind::NotFound);
    files.remove_file(path("/d/b")).expect("memory");
    assert_eq!(files.crash(Loss::Unsynced).contents(path("/d/b")), b"x");
}

#[test]
fn power_loss_tears_at_sectors_and_reorders() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", &[1; 2_048]);
    write_all_at(&*file, &[2; 2_048], 0).expect("memory");
    write_all_at(&*file, &[3; 512], 4_096).expect("memory");
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let contents = files.crash(Loss::Random(seed)).contents(path("/d/a"));
        assert!(contents.len() == 2_048 || contents.len() == 4_608);
        for sector in contents.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors are written whole");
        }
        outcomes.insert(contents.chunks(512).map(|sector| sector[0]).collect::<Vec<u8>>());
    }
    assert!(outcomes.contains(&vec![1, 1, 1, 1]), "all lost");
    assert!(outcomes.contains(&vec![2, 2, 2, 2]), "the later write lost");
    assert!(outcomes.contains(&vec![1, 1, 1, 1, 0, 0, 0, 0, 3]), "the earlier write lost: a hole");
    assert!(outcomes.iter().any(|sectors| sectors.contains(&1) && sectors.contains(&2)), "torn");
}

#[test]
fn same_seed_same_disk() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", b"");
    for index in 0..20 {
        write_all_at(&*file, &[index as u8 + 1; 300], index * 300).expect("memory");
    }
    for seed in 0..20 {
        let crash = || files.crash(Loss::Random(seed)).contents(path("/d/a"));
        assert_eq!(crash(), crash(), "seed {seed}");
    }
}

#[test]
fn a_failed_sync_is_final_for_what_it_covered() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", b"old");
    write_all_at(&*file, b"new", 0).expect("memory");
    files.inject(Fault::errno(Operation::Sync, 0, EIO));
    assert_eq!(file.sync_data().expect_err("injected").raw_os_error(), Some(EIO));
    file.sync_data().expect("the kernel has forgotten");
    assert_eq!(files.contents(path("/d/a")), b"new", "still in the cache");
    assert_eq!(files.crash(Loss::Unsynced).contents(path("/d/a")), b"old");
}

#[test]
fn faults_hit_the_chosen_operation() {
    let files = with_directory();
    files.inject(Fault::errno(Operation::Write, 1, ENOSPC).on_paths("/b"));
    files.inject(Fault::short_write(0, 2).on_paths("/a"));
    let a = files.create(path("/d/a")).expect("memory");
    let b = files.create(path("/d/b")).expect("memory");
    assert_eq!(a.write_vectored_at(&[IoSlice::new(b"12345")], 0).expect("short"), 2);
    write_all_at(&*b, b"1", 0).expect("the first passes");
    assert_eq!(write_all_at(&*b, b"2", 1).expect_err("injected").raw_os_error(), Some(ENOSPC));
    write_all_at(&*b, b"2", 1).expect("one only");
    files.inject(Fault::errno(Operation::Rename, 0, EIO).lasting());
    for _ in 0..3 {
        assert!(files.rename(path("/d/a"), path("/d/c")).is_err());
    }
    files.heal();
    files.rename(path("/d/a"), path("/d/c")).expect("healed");
}

#[test]
fn after_a_power_loss_nothing_works() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", b"old");
    files.inject(Fault::power_loss(Operation::Write, 0));
    assert!(write_all_at(&*file, b"new", 0).is_err());
    assert!(file.sync_data().is_err());
    assert!(files.open(path("/d/a")).is_err());
    let may_be = |loss| files.crash(loss).contents(path("/d/a"));
    assert_eq!(may_be(Loss::Unsynced), b"old");
    assert_eq!(may_be(Loss::Nothing), b"new", "the last write may have reached the disk");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let files = with_directory();
    files.set_capacity(10);
    let file = files.create(path("/d/a")).expect("memory");
    assert_eq!(file.write_vectored_at(&[IoSlice::new(&[7; 16])], 0).expect("short"), 10);
    assert_eq!(write_all_at(&*file, b"x", 10).expect_err("full").raw_os_error(), Some(ENOSPC));
    write_all_at(&*file, b"overwriting needs no room", 0).expect_err("but growing does");
    write_all_at(&*file, b"fits", 0).expect("no growth");
    file.truncate(2).expect("memory");
    write_all_at(&*file, b"12345678", 2).expect("room again");
}

#[test]
fn open_files_outlive_their_names_and_directories_move_with_their_files() {
    let files = with_directory();
    let file = synced_file(&files, "/d/a", b"kept");
    files.rename(path("/d"), path("/e")).expect("memory");
    assert_eq!(files.contents(path("/e/a")), b"kept");
    files.remove_dir_all(path("/e")).expect("memory");
    let mut read = [0; 4];
    read_exact_at(&*file, &mut read, 0).expect("the handle holds it");
    assert_eq!(files.list(path("/")).expect("memory"), []);
    assert_eq!(files.crash(Loss::Unsynced).contents(path("/d/a")), b"kept", "neither was synced");
}

#[test]
fn a_lock_is_exclusive_until_dropped() {
    let files = with_directory();
    let lock = files.lock(path("/d/.lock")).expect("free");
    assert_eq!(files.lock(path("/d/.lock")).expect_err("held").kind(), io::ErrorKind::WouldBlock);
    drop(lock);
    files.lock(path("/d/.lock")).expect("free again");
}
