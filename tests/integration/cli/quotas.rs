//! Quotas: set, shown and removed.

use serde_json::json;

use crate::shell::Shell;

#[test]
fn quotas_are_set_shown_and_removed() {
    let shell = Shell::start();
    assert_eq!(shell.run("--output json quota get").json(), json!([]));
    let said = shell.run("quota set --user alice producer_byte_rate=1048576 consumer_byte_rate=2097152");
    assert_eq!(said.ok(), "user=alice: producer_byte_rate, consumer_byte_rate set\n");
    shell.run("quota set --user alice --client-id-default controller_mutation_rate=2.5").ok();
    shell.run("quota set --user-default request_percentage=200").ok();
    shell.run("quota set --ip 127.0.0.1 connection_creation_rate=10").ok();
    let table = shell.run("quota get --user alice").ok();
    let expected = "\
ENTITY                           QUOTA                     VALUE
user=alice                       consumer_byte_rate        2097152
user=alice                       producer_byte_rate        1048576
user=alice client-id=<default>   controller_mutation_rate  2.5
";
    assert_eq!(words(&table), words(expected), "{table}");
    assert_eq!(
        shell.run("--output json quota get --user alice --strict").json(),
        json!([{
            "entity": { "user": "alice" },
            "quotas": { "consumer_byte_rate": 2_097_152.0, "producer_byte_rate": 1_048_576.0 },
        }])
    );
    assert_eq!(
        shell.run("--output json quota get --user-default").json(),
        json!([{ "entity": { "user": null }, "quotas": { "request_percentage": 200.0 } }])
    );
    assert_eq!(shell.run("--output json quota get").json().as_array().map(Vec::len), Some(4));

    let said = shell.run("quota set --user alice producer_byte_rate=5 consumer_byte_rate= --validate-only");
    let expected =
        "user=alice: producer_byte_rate could be set\nuser=alice: consumer_byte_rate could be removed\n";
    assert_eq!(said.ok(), expected);
    let said =
        shell.run("--output json quota set --user alice producer_byte_rate= --remove consumer_byte_rate");
    let removed = said.json();
    assert_eq!(removed["removed"], json!(["producer_byte_rate", "consumer_byte_rate"]));
    assert_eq!(shell.run("--output json quota get --user alice --strict").json(), json!([]));
    assert_eq!(shell.run("--output json quota get --user alice").json().as_array().map(Vec::len), Some(1));
}

fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn what_is_no_quota_is_refused_with_the_reason() {
    let shell = Shell::start();
    let failed = |line: &str, code: i32, expected: &str| shell.fails(line, code, expected);
    failed("quota set producer_byte_rate=1", 2, "whose quota?");
    failed("quota set --user alice", 2, "NAME=VALUE");
    failed("quota set --user alice producer_byte_rate=much", 2, "'much' is not a number");
    failed("quota set --user a --user-default producer_byte_rate=1", 2, "cannot be used with");
    failed("quota set --user alice no_such_rate=1", 1, "no_such_rate");
    failed("quota set --user alice connection_creation_rate=1", 1, "connection_creation_rate");
    failed("quota set --user alice --ip 127.0.0.1 connection_creation_rate=1", 1, "INVALID_REQUEST");
    failed("quota set --user alice producer_byte_rate=-1", 1, "producer_byte_rate");
    assert_eq!(shell.run("--output json quota get").json(), json!([]));
}
