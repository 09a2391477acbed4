//! Groups: who is there, how far they have come, and setting it.

use std::collections::BTreeMap;

use milena_tests::process::Config;
use serde_json::{Value, json};

use crate::member::Member;
use crate::shell::{Said, Shell};

/// A broker whose groups do not wait for more members.
fn shell() -> Shell {
    let config = Config::new().property("group.initial.rebalance.delay.ms", 0);
    Shell { broker: config.start().expect("a broker") }
}

/// Topic `t` with records 0 to 9 in partition 0 and 0 to 4 in partition 1, of which the first two of partition 0 are
/// deleted. Record n of partition 0 is of second n of a minute in 2001.
fn fill(shell: &Shell) {
    shell.run("topic create t --partitions 2 --config retention.ms=-1").ok();
    for second in 0..10 {
        let line = format!("produce t -p 0 --timestamp 2001-01-01T00:00:0{second}Z");
        shell.feed(&line, b"x").ok();
    }
    shell.feed("produce t -p 1 --timestamp 2001-01-01", b"a\nb\nc\nd\ne\n").ok();
    shell.run("topic delete-records t -p 0 --before 2").ok();
}

/// What a group has committed in `t`, by partition.
fn committed(shell: &Shell, group: &str) -> BTreeMap<i64, i64> {
    let described = shell.run(&format!("--output json group describe {group}")).json();
    let partitions = described[0]["partitions"].as_array().expect("a list").iter();
    let committed = partitions.filter_map(|partition| {
        Some((partition["partition"].as_i64()?, partition["committed_offset"].as_i64()?))
    });
    committed.collect()
}

/// Sets `g` to 5 and 3, resets it, and compares what is committed then, and what was said.
fn check(shell: &Shell, reset: &str, expected: [i64; 2], warnings: &[&str]) {
    shell.run("group reset g --topic t:0 --to-offset 5 --execute").ok();
    shell.run("group reset g --topic t:1 --to-offset 3 --execute").ok();
    let dry = shell.run(&format!("--output json group reset g {reset}"));
    assert!(dry.err.contains("nothing was changed"), "{dry:?}");
    assert_eq!(committed(shell, "g"), BTreeMap::from([(0, 5), (1, 3)]), "{reset} is a dry run");
    let planned = dry.json();
    let said = shell.run(&format!("--output json group reset g {reset} --execute"));
    warnings.iter().for_each(|warning| assert!(said.err.contains(warning), "{said:?}"));
    assert_eq!(said.err.lines().count(), warnings.len(), "{said:?}");
    let done = said.json();
    let offsets = |list: &Value, field: &str| -> Vec<i64> {
        list.as_array().expect("a list").iter().filter_map(|each| each[field].as_i64()).collect()
    };
    assert_eq!(offsets(&planned, "new_offset"), offsets(&done, "new_offset"), "{reset}");
    assert_eq!(committed(shell, "g"), BTreeMap::from([(0, expected[0]), (1, expected[1])]), "{reset}");
}

#[test]
fn every_strategy_sets_what_it_says() {
    let shell = shell();
    fill(&shell);
    let beyond = |partition: i32, end: i64| {
        format!("higher than latest offset for topic partition t-{partition}; value will be set to {end}")
    };
    check(&shell, "--topic t --to-earliest", [2, 0], &[]);
    check(&shell, "--topic t --to-latest", [10, 5], &[]);
    check(&shell, "--topic t --to-current", [5, 3], &[]);
    check(&shell, "--topic t:0 --to-latest", [10, 3], &[]);
    check(&shell, "--topic t --to-offset 4", [4, 4], &[]);
    check(&shell, "--topic t --to-offset 7", [7, 5], &[&beyond(1, 5)]);
    check(&shell, "--topic t --to-offset 1", [2, 1], &["new offset (1) is lower than earliest"]);
    check(&shell, "--topic t --shift-by 2", [7, 5], &[]);
    check(&shell, "--all-topics --shift-by -2", [3, 1], &[]);
    check(&shell, "--topic t --shift-by 100", [10, 5], &[&beyond(0, 10), &beyond(1, 5)]);
    check(&shell, "--topic t --shift-by -4", [2, 0], &["(1) is lower", "(-1) is lower"]);
    check(
        &shell,
        "--topic t --to-datetime 2001-01-01T00:00:06.000",
        [6, 5],
        &["partition 1 of topic t has no"],
    );
    check(&shell, "--topic t --to-datetime 2001-01-01T01:00:07.000+01:00", [7, 5], &["latest"]);
    check(&shell, "--topic t --to-datetime 1999-01-01T00:00:00.000", [2, 0], &[]);
    check(&shell, "--topic t --by-duration P36500D", [2, 0], &[]);
    check(&shell, "--topic t --by-duration PT0S", [10, 5], &["partition 0", "partition 1"]);
}

#[test]
fn exported_offsets_are_read_again() {
    let shell = shell();
    fill(&shell);
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("g.csv");
    let file = path.display().to_string();
    shell.run("group reset g h --topic t --to-offset 4 --execute").ok();
    let exported = shell.run("group reset g --all-topics --to-current --export");
    assert_eq!(exported.out, "t,0,4\nt,1,4\n");
    std::fs::write(&path, exported.ok()).expect("written");
    shell.run("group reset g --topic t --to-earliest --execute").ok();
    shell.run(&format!("group reset g --from-file {file} --execute")).ok();
    assert_eq!(committed(&shell, "g"), BTreeMap::from([(0, 4), (1, 4)]));
    let both = shell.run("group reset g h --all-topics --shift-by 1 --export").ok();
    assert_eq!(both, "g,t,0,5\ng,t,1,5\nh,t,0,5\nh,t,1,5\n");
    std::fs::write(&path, &both).expect("written");
    shell.run(&format!("group reset g h --from-file {file} --execute")).ok();
    assert_eq!(committed(&shell, "h"), BTreeMap::from([(0, 5), (1, 5)]));
    // A file of several groups serves one of them, and says when one is not in it.
    std::fs::write(&path, "g,t,0,99\n").expect("written");
    let said = shell.run(&format!("group reset g --from-file {file} --execute"));
    assert!(said.err.contains("new offset (99) is higher than latest"), "{said:?}");
    said.ok();
    assert_eq!(committed(&shell, "g"), BTreeMap::from([(0, 10), (1, 5)]));
    let error = shell.run(&format!("group reset h --from-file {file}")).failed(1);
    assert!(error.contains("no reset plan for group h found"), "{error}");
    std::fs::write(&path, "t,9,1\n").expect("written");
    let error = shell.run(&format!("group reset g --from-file {file} --execute")).failed(1);
    assert!(error.contains("the partitions \"t-9\" do not exist"), "{error}");
    std::fs::write(&path, "t;0;1\n").expect("written");
    assert!(shell.run(&format!("group reset g --from-file {file}")).failed(2).contains("line 1: neither"));
}

#[test]
fn a_reset_that_makes_no_sense_says_why() {
    let shell = shell();
    fill(&shell);
    let failed = |line: &str, code: i32, expected: &str| shell.fails(line, code, expected);
    failed("group reset g --to-earliest", 2, "which topics?");
    failed("group reset g --topic t", 2, "--to-earliest");
    failed("group reset g --topic t --by-duration 15x", 2, "a duration is PT15M");
    failed("group reset g --topic t --to-datetime yesterday", 2, "2026-11-21T10:00:00.000");
    failed("group reset g --topic u --to-earliest", 1, "topic u does not exist");
    failed("group reset g --topic t:7 --to-earliest", 1, "topic t has no partition 7");
    let shift = "cannot shift offset for partition t-0 since there is no current committed offset";
    failed("group reset g --topic t --shift-by 1", 1, shift);
    // A group that is not there has nothing to reset, and comes to be when something is committed.
    let said = shell.run("group reset new --all-topics --to-earliest --execute");
    assert!(said.err.contains("group new has committed nothing"), "{said:?}");
    assert_eq!(said.ok(), "");
    let rows = shell.run("group reset new --topic t:1 --to-current --execute").ok();
    assert_eq!(rows, "GROUP  TOPIC  PARTITION  COMMITTED  NEW\nnew    t              1  -            5\n");
    assert_eq!(committed(&shell, "new"), BTreeMap::from([(1, 5)]));
}

#[test]
fn a_group_with_members_is_shown_and_left_alone() {
    let shell = shell();
    fill(&shell);
    shell.run("group reset g --topic t:0 --to-offset 4 --execute").ok();
    let member = Member::join(&shell.broker.bootstrap(), "g", "t", &[0, 1]);
    let error = shell.run("group reset g --topic t --to-earliest --execute").failed(1);
    let reason =
        "assignments can only be reset if the group 'g' is inactive, but the current state is Stable";
    assert!(error.contains(reason) && error.contains("hint: "), "{error}");
    let error = shell.run("group delete g").failed(1);
    assert!(error.contains("deleting group g: NON_EMPTY_GROUP"), "{error}");
    let error = shell.run("group delete g --offsets --topic t:0").failed(1);
    assert!(error.contains("offset of group g in t-0: GROUP_SUBSCRIBED_TO_TOPIC"), "{error}");
    assert_eq!(committed(&shell, "g"), BTreeMap::from([(0, 4)]));

    let described = shell.run("--output json group describe g").json();
    let of = |index: usize, field: &str| described[0]["partitions"][index][field].clone();
    for (index, committed, end, lag) in [(0, json!(4), 10, json!(6)), (1, json!(null), 5, json!(null))] {
        assert_eq!(of(index, "committed_offset"), committed);
        assert_eq!(of(index, "log_end_offset"), end);
        assert_eq!(of(index, "lag"), lag);
        assert_eq!(of(index, "member_id"), json!(member.id));
        assert_eq!(of(index, "instance_id"), "i1");
        assert_eq!(of(index, "client_id"), "tester");
        assert!(of(index, "host").as_str().is_some_and(|host| host.contains("127.0.0.1")), "{described}");
    }
    let members = shell.run("--output json group describe g --members").json();
    let only = &members[0]["members"][0];
    assert_eq!((&only["partition_count"], &only["assignment"]), (&json!(2), &json!({ "t": [0, 1] })));
    let table = shell.run("group describe g --members").ok();
    assert!(table.starts_with("GROUP  MEMBER") && table.contains("t:0,1"), "{table}");
    let state = shell.run("--output json group describe g --state").json();
    assert_eq!((&state[0]["state"], &state[0]["type"]), (&json!("Stable"), &json!("Classic")));
    assert_eq!((&state[0]["assignor"], &state[0]["member_count"]), (&json!("range"), &json!(1)));
    assert_eq!(state[0]["coordinator"]["address"], json!(shell.broker.bootstrap()));

    member.leave();
    shell.run("group reset g --topic t --to-earliest --execute").ok();
    assert_eq!(committed(&shell, "g"), BTreeMap::from([(0, 2), (1, 0)]));
}

#[test]
fn lag_is_told_in_records_and_seconds() {
    let shell = shell();
    fill(&shell);
    shell.run("topic create young --partitions 1").ok();
    shell.feed("produce young -t -90s", b"a\nb\n").ok();
    shell.run("group reset g --topic t --topic young --to-earliest --execute").ok();
    // What retention has passed counts, and its age is that of the first record that is left.
    shell.run("topic delete-records t -p 0 --before 5").ok();
    let described = shell.run("--output json group describe g").json();
    let lag = |index: usize| described[0]["partitions"][index]["lag"].as_i64().expect("a lag");
    let seconds = |index: usize| described[0]["partitions"][index]["lag_seconds"].as_i64().expect("seconds");
    assert_eq!((lag(0), lag(1), lag(2)), (8, 5, 2));
    let since_2001 = seconds(1);
    assert!(since_2001 > 25 * 365 * 86_400, "{described}");
    assert!((since_2001 - seconds(0) - 5).abs() <= 1, "{described}");
    assert!((90..150).contains(&seconds(2)), "{described}");
    // Lag without a record left has no age.
    shell.run("topic delete-records t -p 1 --before end").ok();
    let described = shell.run("--output json group describe g").json();
    let emptied = &described[0]["partitions"][1];
    assert_eq!((&emptied["lag"], &emptied["lag_seconds"]), (&json!(5), &json!(0)));
    shell.run("group reset g --all-topics --to-latest --execute").ok();
    let said = shell.run("group describe g");
    assert!(said.err.contains("group g has no active members"), "{said:?}");
    let table = said.ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..7], ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "SECONDS"]);
    assert_eq!(lines[1], ["g", "t", "0", "10", "10", "0", "0", "-", "-", "-", "-"]);
    assert_eq!(lines[3], ["g", "young", "0", "2", "2", "0", "0", "-", "-", "-", "-"]);
}

#[test]
fn groups_are_listed_and_picked() {
    let shell = shell();
    fill(&shell);
    assert_eq!(shell.run("--output json group list").json(), json!([]));
    shell.run("group reset idle --topic t --to-earliest --execute").ok();
    let member = Member::join(&shell.broker.bootstrap(), "busy", "t", &[0]);
    let expected = "GROUP  TYPE     PROTOCOL  STATE\nbusy   Classic  consumer  Stable\nidle   Classic  -         Empty\n";
    assert_eq!(shell.run("group list").ok(), expected);
    let picked = |line: &str| -> Vec<String> {
        let list = shell.run(&format!("--output json group list {line}")).json();
        list.as_array()
            .expect("a list")
            .iter()
            .map(|g| g["group"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(picked("--state stable"), ["busy"]);
    assert_eq!(picked("--state Empty,stable --type classic"), ["busy", "idle"]);
    assert_eq!(picked("--type consumer"), Vec::<String>::new());
    assert!(shell.run("group list --state idle").failed(2).contains("none of Stable, Empty"));
    let all = shell.run("--output json group describe --all --state").json();
    assert_eq!((&all[0]["group"], &all[1]["group"]), (&json!("busy"), &json!("idle")));
    let said = shell.run("group describe idle nosuch --state");
    assert!(said.out.contains("idle"), "{said:?}");
    let error = said.failed(1);
    assert!(error.contains("group nosuch: GROUP_ID_NOT_FOUND") && error.contains("hint: "), "{error}");
    drop(member);
}

#[test]
fn groups_and_offsets_are_deleted_one_by_one() {
    let shell = shell();
    fill(&shell);
    shell.run("topic create u --partitions 1").ok();
    shell.run("group reset g h --topic t --topic u --to-latest --execute").ok();
    let said: Said = shell.run("group delete g --offsets --topic t:0 --topic u");
    assert_eq!(said.ok(), "g: offset in t-0 deleted\ng: offset in u-0 deleted\n");
    assert_eq!(committed(&shell, "g"), BTreeMap::from([(1, 5)]));
    let gone = shell.run("--output json group delete h --offsets --topic u").json();
    assert_eq!(gone["deleted"], json!([{ "group": "h", "topic": "u", "partition": 0 }]));
    assert!(shell.run("group delete g --offsets --topic v").failed(1).contains("topic v does not exist"));
    let error = shell.run("group delete k --offsets --topic t").failed(1);
    assert!(error.contains("deleting offsets of group k: GROUP_ID_NOT_FOUND"), "{error}");

    let said = shell.run("group delete k g");
    assert_eq!(said.out, "g deleted\n");
    assert!(said.failed(1).contains("deleting group k: GROUP_ID_NOT_FOUND"));
    let gone = shell.run("--output json group delete h k --if-exists").json();
    assert_eq!(gone, json!({ "deleted": ["h"], "absent": ["k"] }));
    assert_eq!(shell.run("--output json group list").json(), json!([]));
}
