//! `consume --from` and `--to`.

use crate::shell::Shell;

#[test]
fn places_in_a_topic() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    for (number, second) in [("0", "10"), ("1", "20"), ("2", "30"), ("3", "40")] {
        let line = format!("produce t --timestamp 2001-01-01T00:00:{second}Z");
        shell.feed(&line, number.as_bytes()).ok();
    }
    let check = |places: &str, expected: &str| {
        let read = shell.run(&format!("consume t {places} -D ,")).ok();
        assert_eq!(read, expected, "{places}");
    };
    check("--from beginning --to end", "0,1,2,3,");
    check("--from 1 --to 3", "1,2,");
    check("--from -2", "2,3,");
    check("--from 2001-01-01T00:00:20Z", "1,2,3,");
    check("--from 2001-01-01T00:00:21Z --to 2001-01-01T00:00:40Z", "2,");
    check("--to 2001-01-01T00:00:30Z", "0,1,");
    check("-n 2", "0,1,");
    check("--from 4", "");
    check("--partition 0 --from 3", "3,");
    assert!(shell.run("consume t --from 99").failed(2).contains("t-0 ends at offset 4"));
    assert!(shell.run("consume t --from 5 --to 2").failed(2).contains("nothing lies before --to"));
    assert!(shell.run("consume t --from 99 --follow").failed(2).contains("ends at offset 4"));
    assert!(shell.run("consume t --from end").failed(2).contains("--follow"));
    assert!(shell.run("consume t --partition 7").failed(1).contains("has no partition 7"));
    assert!(shell.run("consume u").failed(1).contains("milena topic create"));
}

/// Producers choose timestamps, so the order of a partition need not be the order of its times.
#[test]
fn times_out_of_order_are_all_found() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    for day in ["24", "21", "22"] {
        shell.feed(&format!("produce t --timestamp 2026-11-{day}"), day.as_bytes()).ok();
    }
    let check = |places: &str, expected: &str| {
        let read = shell.run(&format!("consume t {places} -D ,")).ok();
        assert_eq!(read, expected, "{places}");
    };
    check("--from 2026-11-21 --to 2026-11-23", "21,22,");
    check("--from 2026-11-22", "24,22,");
    check("--to 2026-11-22", "21,");
    check("--from 2026-11-21 --to 2026-11-23 -n 1", "21,");
    check("--from 2026-11-25 --to 2026-11-26", "");
    let error = shell.run("consume t --from 2026-11-23 --to 2026-11-21").failed(2);
    assert!(error.contains("2026-11-21T00:00:00.000Z"), "{error}");
}

#[test]
fn one_partition_that_reaches_the_offset_is_enough_unless_all_are_waited_for() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 2").ok();
    shell.feed("produce t -p 0", b"a\nb\nc\n").ok();
    assert_eq!(shell.run("consume t --from 2").ok(), "c\n");
    assert!(shell.run("consume t --from 2 -p 1").failed(2).contains("t-1 ends at offset 0"));
    assert!(shell.run("consume t --from 2 --follow").failed(2).contains("t-1 ends at offset 0"));
}
