//! The command line `milena` against a broker, both as users run them.

mod bench;
mod changes;
mod groups;
mod groups_consume;
mod log_dirs;
mod man;
mod member;
mod misuse;
mod partitions;
mod places;
mod quotas;
mod said;
mod shell;
mod tour;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use milena_tests::process::Config;
use milena_tests::{syscalls, wait};
use serde_json::{Value, json};

use shell::{Said, Shell, milena};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_session_of_the_readme() {
    let shell = Shell::start();
    let created = shell.run("topic create orders --partitions 3").ok();
    assert_eq!(created, "orders created (partitions 3, replication factor 1)\n");
    let written = shell.feed("produce orders", b"hello\nworld\n").ok();
    assert!(written.starts_with("PARTITION  RECORDS  FIRST OFFSET  LAST OFFSET\n"), "{written}");
    let read = shell.run("consume orders --from beginning --to end").ok();
    let mut lines: Vec<&str> = read.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["hello", "world"]);
    let described = shell.run("topic describe orders").ok();
    assert!(described.contains("topic   orders\n") && described.contains("PARTITION  LEADER"), "{described}");
    let info = shell.run("cluster info").ok();
    assert!(info.starts_with("cluster     ") && info.contains(&shell.broker.bootstrap()), "{info}");
}

#[test]
fn topics_from_creation_to_deletion() {
    let shell = Shell::start();
    let created =
        shell.run("--output json topic create a b --partitions 2 --config retention.ms=60000").json();
    assert_eq!(created[0]["name"], "a");
    assert_eq!((&created[1]["partitions"], &created[1]["replication_factor"]), (&json!(2), &json!(1)));
    let listed = shell.run("topic list --output json").json();
    let names: Vec<&Value> = listed.as_array().expect("a list").iter().map(|topic| &topic["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(listed[0]["id"], created[0]["id"]);

    shell.feed("produce a --partition 1", b"x\ny\n").ok();
    let described = shell.run("topic describe a --output json").json();
    assert_eq!(described[0]["configs"], json!({ "retention.ms": "60000" }));
    let partition = &described[0]["partitions"][1];
    assert_eq!((&partition["log_start_offset"], &partition["log_end_offset"]), (&json!(0), &json!(2)));
    let all = shell.run("topic describe a --all-configs --output json").json();
    assert!(all[0]["configs"].as_object().expect("an object").len() > 10, "{all}");

    assert_eq!(shell.run("topic delete a").ok(), "a deleted\n");
    let left = shell.run("topic list").ok();
    assert!(!left.contains("a  ") && left.contains("b  "), "{left}");
}

#[test]
fn topics_that_are_there_or_not() {
    let shell = Shell::start();
    shell.run("topic create a").ok();
    let error = shell.run("topic create a").failed(1);
    assert!(error.contains("TOPIC_ALREADY_EXISTS") && error.contains("--if-not-exists"), "{error}");
    assert_eq!(shell.run("topic create a --if-not-exists").ok(), "a is there already\n");
    let error = shell.run("topic delete b").failed(1);
    assert!(error.contains("UNKNOWN_TOPIC_OR_PARTITION") && error.contains("hint: "), "{error}");
    assert_eq!(shell.run("topic delete b --if-exists").ok(), "b is not there\n");
    let error = shell.run("topic describe b").failed(1);
    assert!(error.contains("topic b does not exist"), "{error}");
    let error = shell.run("topic create c --replication-factor 3").failed(1);
    assert!(error.contains("INVALID_REPLICATION_FACTOR") && error.contains("milena cluster info"), "{error}");
    let error = shell.run("topic create c --config no.such.config=1").failed(1);
    assert!(error.contains("INVALID_CONFIG"), "{error}");
    shell.run("topic create c --validate-only").ok();
    assert!(shell.run("topic describe c").failed(1).contains("does not exist"));
}

#[test]
fn keys_headers_nulls_and_timestamps_come_back() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let line = "produce t -K : --null-value NULL -H trace=7 --timestamp 2001-09-09T01:46:40.123Z";
    shell.feed(line, b"k:v\nk:NULL\n").ok();
    let text = shell.run("consume t --show offset,partition,timestamp,headers,key --null-value -").ok();
    let expected =
        "0\t0\t2001-09-09T01:46:40.123Z\ttrace=7\tk\tv\n1\t0\t2001-09-09T01:46:40.123Z\ttrace=7\tk\t-\n";
    assert_eq!(text, expected);
    let record = |offset: i64, value: Value| {
        json!({
            "topic": "t", "partition": 0, "offset": offset, "timestamp": 1_000_000_000_123_i64,
            "timestamp_type": "CreateTime", "key": "k", "value": value,
            "headers": [{ "key": "trace", "value": "7" }],
        })
    };
    let lines = shell.run("consume t --output json").ok();
    let read: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(read, [record(0, json!("v")), record(1, Value::Null)]);
}

#[test]
fn a_topic_is_copied_through_json() {
    let shell = Shell::start();
    shell.run("topic create from to --partitions 1").ok();
    shell.feed("produce from -K = --null-value nil -H h=x", b"a=\xff\x00\nb=nil\nc=\n").ok();
    let copied = shell.run("consume from --format json").ok();
    shell.feed("produce to --format json", copied.as_bytes()).ok();
    let again = shell.run("consume to --format json").ok();
    assert_eq!(again.replace("\"to\"", "\"from\""), copied);
}

#[test]
fn every_codec_and_ack_comes_back() {
    let shell = Shell::start();
    let lines: String =
        (0..2000).map(|number| format!("line {number} of a text that compresses\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let topic = format!("t-{codec}-{acks}");
            shell.run(&format!("topic create {topic} --partitions 1")).ok();
            shell.feed(&format!("produce {topic} -z {codec} --acks {acks}"), lines.as_bytes()).ok();
            // With acks=0 nobody has said that the records are there yet.
            let read = wait::poll(PATIENCE, || {
                let read = shell.run(&format!("consume {topic}")).ok();
                (read.len() >= lines.len()).then_some(read)
            });
            assert!(
                read.as_ref() == Some(&lines),
                "{topic}: {:?} bytes came back",
                read.map(|read| read.len())
            );
        }
    }
    let error = shell.run("produce t-none-1 -z brotli").failed(2);
    assert!(error.contains("compression.type"), "{error}");
    let error = shell.run("produce t-none-1 --acks 1 --idempotent true").failed(2);
    assert!(error.contains("enable.idempotence"), "{error}");
}

#[test]
fn files_and_other_delimiters() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let folder = tempfile::tempdir().expect("a directory");
    let files: Vec<String> =
        ["one", "two"].map(|name| folder.path().join(name).display().to_string()).to_vec();
    std::fs::write(&files[0], "a\nb").expect("written");
    std::fs::write(&files[1], "c\n").expect("written");
    shell.run(&format!("produce t --file {} --file {}", files[0], files[1])).ok();
    shell.feed("produce t -D \\0 --file -", b"line one\nline two\0rest").ok();
    let read = shell.run("consume t --format raw -D |").ok();
    assert_eq!(read, "a|b|c|line one\nline two|rest|");
    let error = shell.run("produce t --file /no/such/file").failed(1);
    assert!(error.contains("/no/such/file"), "{error}");
}

#[test]
fn a_record_that_is_too_large_names_both_limits() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let error = shell.feed("produce t", &vec![b'x'; 1_100_000]).failed(1);
    assert!(error.contains("max.request.size") && error.contains("max.message.bytes"), "{error}");
    let error = shell.feed("produce t -X max.request.size=2000000", &vec![b'x'; 1_100_000]).failed(1);
    assert!(error.contains("MESSAGE_TOO_LARGE"), "{error}");
}

#[test]
fn following_shows_new_records_until_it_is_interrupted() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    shell.feed("produce t", b"old\n").ok();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("out");
    let out = std::fs::File::create(&path).expect("created");
    let mut follower = shell
        .command(&["consume", "t", "--follow", "--from", "beginning"])
        .stdout(out)
        .spawn()
        .expect("milena runs");
    let shown = |expected: &str| std::fs::read_to_string(&path).expect("readable") == expected;
    wait::eventually("the old record is shown", PATIENCE, || shown("old\n"));
    shell.feed("produce t", b"new\n").ok();
    wait::eventually("the new record is shown", PATIENCE, || shown("old\nnew\n"));
    syscalls::signal(follower.id(), libc::SIGINT).expect("it runs");
    let status = wait::poll(PATIENCE, || follower.try_wait().expect("a child")).expect("it ends");
    assert_eq!(status.code(), Some(130));
}

#[test]
fn an_interrupted_producer_writes_what_it_was_given() {
    check_interrupted_producer(libc::SIGINT, 130);
    check_interrupted_producer(libc::SIGTERM, 143);
}

fn check_interrupted_producer(signal: i32, code: i32) {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let mut command = shell.command(&["produce", "t", "-X", "linger.ms=60000"]);
    let mut producer = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("milena runs");
    let mut stdin = producer.stdin.take().expect("piped");
    stdin.write_all(b"first\n").expect("it reads");
    // Whether it has read the line cannot be seen from outside, so more lines follow until one is too much for the pipe
    // alone: then the first has been read.
    let filler = [vec![b'x'; 1000], b"\n".to_vec()].concat().repeat(2000);
    stdin.write_all(&filler).expect("it reads");
    syscalls::signal(producer.id(), signal).expect("it runs");
    let status = wait::poll(PATIENCE, || producer.try_wait().expect("a child")).expect("it ends");
    assert_eq!(status.code(), Some(code));
    assert_eq!(shell.run("consume t -n 1").ok(), "first\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let lines: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    shell.feed("produce t", lines.as_bytes()).ok();
    let mut command = shell.command(&["consume", "t"]);
    let mut consumer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("milena runs");
    drop(consumer.stdout.take());
    let said = Said::from(consumer.wait_with_output().expect("it ends"));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
}

#[test]
fn what_a_broker_serves() {
    let shell = Shell::start();
    let text = shell.run("api-versions").ok();
    assert!(text.starts_with("KEY  REQUEST") && text.contains("Produce"), "{text}");
    let served = shell.run("api-versions --output json").json();
    let produce =
        served["apis"].as_array().expect("a list").iter().find(|api| api["key"] == 0).expect("Produce");
    assert_eq!(
        (&produce["name"], &produce["min"], &produce["max"]),
        (&json!("Produce"), &json!(0), &json!(13))
    );
    let brokers = shell.run("cluster info --output json").json();
    let id = brokers["brokers"][0]["id"].as_i64().expect("a number");
    shell.run(&format!("api-versions --broker {id}")).ok();
}

#[test]
fn files_of_a_broker_are_dumped_without_damage() {
    let mut shell =
        Shell { broker: Config::new().property("log.index.interval.bytes", 100).start().expect("it starts") };
    shell.run("topic create t --partitions 1").ok();
    for _ in 0..3 {
        shell.feed("produce t -K : -X batch.size=200", b"k:v\nk:a longer value\n").ok();
    }
    let status = shell.broker.stop().expect("it stops");
    assert!(status.success());
    let data = shell.broker.data();
    let mut files = Vec::new();
    for folder in [data.clone(), data.join("t-0"), data.join("__cluster_metadata-0")] {
        let found =
            std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let known = |name: &str| {
            let endings = [
                ".log",
                ".index",
                ".timeindex",
                ".snapshot",
                "-checkpoint",
                ".checkpoint",
                "partition.metadata",
                "meta.properties",
            ];
            endings.iter().any(|ending| name.ends_with(ending))
        };
        files.extend(found.filter(|path| path.is_file() && known(&path.to_string_lossy())));
    }
    assert!(files.len() >= 8, "{files:?}");
    let mut words = vec!["dump-log".to_owned(), "--records".to_owned()];
    words.extend(files.iter().map(|path| path.display().to_string()));
    let output = milena(&words.iter().map(String::as_str).collect::<Vec<_>>()).output().expect("milena runs");
    let text = Said::from(output).ok();
    assert_eq!(text.matches(" key=k value=a longer value\n").count(), 3, "{text}");
    assert!(text.contains("segment of the metadata log") && text.contains("type=membership"), "{text}");
    assert!(!text.contains("damage"), "{text}");
}

#[test]
fn files_of_apache_kafka_are_dumped_without_damage() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../broker/log/tests/golden/history-1/h-0");
    let mut paths: Vec<_> =
        std::fs::read_dir(golden).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in &paths {
        let path = path.display().to_string();
        let text = Said::from(milena(&["dump-log", "--records", &path]).output().expect("milena runs")).ok();
        assert!(!text.contains("damage"), "{text}");
        let lines =
            Said::from(milena(&["dump-log", "--output", "json", &path]).output().expect("milena runs")).ok();
        for line in lines.lines() {
            let value: Value = serde_json::from_str(line).expect("JSON");
            assert!(value["kind"].is_string(), "{line}");
        }
    }
    assert!(paths.len() > 20);
}

#[test]
fn damage_is_shown_and_is_a_failure() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("00000000000000000000.log");
    std::fs::write(&path, b"this is no batch of records, and longer than a header of sixty-one bytes")
        .expect("written");
    let path = path.display().to_string();
    let said = Said::from(milena(&["dump-log", &path]).output().expect("milena runs"));
    assert!(said.out.contains("damage position=0"), "{said:?}");
    assert!(said.failed(1).contains("damaged: "));
    let other = folder.path().join("Cargo.lock");
    std::fs::write(&other, b"").expect("written");
    let other = other.display().to_string();
    let said = Said::from(milena(&["dump-log", &other]).output().expect("milena runs"));
    assert!(said.failed(2).contains("Cargo.lock"));
}

#[test]
fn nobody_there_is_said_at_once_with_a_hint() {
    let address = format!("127.0.0.1:{}", milena_tests::ports::free());
    let said = Said::from(milena(&["-b", &address, "topic", "list"]).output().expect("milena runs"));
    let error = said.failed(1);
    assert!(
        error.contains(&address) && error.contains("hint: ") && error.contains("--bootstrap-server"),
        "{error}"
    );
}

#[test]
fn completion_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Said::from(milena(&["completion", shell]).output().expect("milena runs")).ok();
        assert!(script.contains("dump-log") && script.contains("bootstrap-server"), "{shell}");
    }
}

#[test]
fn settings_come_from_a_file() {
    let shell = Shell::start();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("client.properties");
    std::fs::write(&path, format!("# ours\nbootstrap.servers = {}\n", shell.broker.bootstrap()))
        .expect("written");
    let path = path.display().to_string();
    Said::from(milena(&["--command-config", &path, "cluster", "info"]).output().expect("milena runs")).ok();
}
