//! `milena cluster status|drain|undrain`.

use crate::up::Up;

#[test]
fn status_of_one_node() {
    let up = Up::new();
    up.start(1);
    up.ask(1, "topic create t --partitions 2").ok();
    let said = up.ask(1, "cluster status").ok();
    for expected in
        ["cluster     ", "controller  1, epoch ", "NODE  QUORUM", "BROKER  STATE", "under-replicated"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("TROUBLE"), "{said}");
    let status = up.ask(1, "cluster status --output json").json();
    assert_eq!(status["quorum"]["leader_id"], 1);
    assert_eq!(status["quorum"]["voters"][0]["lag"], 0);
    let broker = &status["brokers"][0];
    assert_eq!((&broker["state"], &broker["leads"], &broker["rack"]), (&"up".into(), &2.into(), &"a".into()));
    assert_eq!(status["counts"]["partitions"], 2);
    assert_eq!(status["troubles"], serde_json::json!([]));
    up.run("down").ok();
}

#[test]
fn a_broker_that_is_not_there_cannot_be_drained() {
    let up = Up::new();
    up.start(1);
    for line in ["cluster drain 9", "cluster undrain 9 --dry-run"] {
        let error = up.ask(1, line).failed(1);
        assert!(
            error.contains("broker 9 is not in the cluster") && error.contains("cluster status"),
            "{error}"
        );
    }
    up.run("down").ok();
}
