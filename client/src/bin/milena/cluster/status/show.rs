//! `milena cluster status` as tables and as JSON.

use milena_client::admin::{QuorumDescription, QuorumReplica, QuorumView};
use serde_json::{Value, json as value};

use super::Status;
use super::health::{Load, Trouble};
use crate::error::Result;
use crate::output;

/// Partitions in trouble that the table names; JSON has all of them.
const SHOWN_MAX: usize = 20;

pub fn print(status: &Status) -> Result<()> {
    output::line(&format!("cluster     {}", status.cluster.cluster_id))?;
    match (&status.quorum, status.described()) {
        (_, Some(quorum)) => print_quorum(quorum)?,
        (QuorumView::NoLeader(_), None) => output::line("controller  unknown")?,
        // Of a cluster with a quorum this would be any broker.
        (_, None) => {
            output::line(&format!("controller  {}", output::or_dash(status.cluster.controller_id)))?;
        }
    }
    output::line("")?;
    print_brokers(status)?;
    output::line("")?;
    print_partitions(status)
}

fn print_quorum(quorum: &QuorumDescription) -> Result<()> {
    let QuorumDescription { leader_id, leader_epoch, high_watermark, .. } = quorum;
    output::line(&format!("controller  {leader_id}, epoch {leader_epoch}, high watermark {high_watermark}"))?;
    output::line("")?;
    let voters = quorum.voters.iter().map(|replica| (replica, role(quorum, replica)));
    let observers = quorum.observers.iter().map(|replica| (replica, "observer"));
    let rows = voters.chain(observers).map(|(replica, role)| {
        vec![
            replica.id.to_string(),
            role.to_owned(),
            replica.log_end_offset.to_string(),
            lag(quorum, replica).to_string(),
            output::or_dash(behind_ms(quorum, replica)),
        ]
    });
    output::table(&["NODE", "QUORUM", "END", "LAG", "LAG MS"], &rows.collect::<Vec<_>>())
}

fn role(quorum: &QuorumDescription, replica: &QuorumReplica) -> &'static str {
    if replica.id == quorum.leader_id { "leader" } else { "voter" }
}

fn leader(quorum: &QuorumDescription) -> Option<&QuorumReplica> {
    quorum.voters.iter().find(|voter| voter.id == quorum.leader_id)
}

fn lag(quorum: &QuorumDescription, replica: &QuorumReplica) -> i64 {
    leader(quorum).map_or(0, |leader| (leader.log_end_offset - replica.log_end_offset).max(0))
}

/// For how long it has not been where the leader is, by the leader's clock.
fn behind_ms(quorum: &QuorumDescription, replica: &QuorumReplica) -> Option<i64> {
    Some((leader(quorum)?.last_caught_up_ms? - replica.last_caught_up_ms?).max(0))
}

fn print_brokers(status: &Status) -> Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (id, load) in &status.health.brokers {
        let registered = status.brokers.iter().find(|registered| registered.broker.id == *id);
        let Load { leads, preferred, replicas, in_sync } = load;
        let mut row = vec![id.to_string(), state(status, *id).to_owned()];
        row.push(output::or_dash(registered.map(|registered| registered.broker.address())));
        row.push(output::or_dash(registered.and_then(|registered| registered.broker.rack.as_ref())));
        row.extend([leads, preferred, replicas, in_sync].map(usize::to_string));
        rows.push(row);
    }
    let headers = ["BROKER", "STATE", "ADDRESS", "RACK", "LEADS", "PREFERRED", "REPLICAS", "IN SYNC"];
    output::table(&headers, &rows)
}

/// `absent` is a broker that has replicas and is not registered.
fn state(status: &Status, id: i32) -> &'static str {
    match status.brokers.iter().find(|registered| registered.broker.id == id) {
        Some(registered) if registered.is_fenced => "fenced",
        Some(_) => "up",
        None => "absent",
    }
}

fn print_partitions(status: &Status) -> Result<()> {
    let health = &status.health;
    for (what, count) in counts(status) {
        output::line(&format!("{what:<28}{count}"))?;
    }
    if health.troubles.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let rows = health.troubles.iter().take(SHOWN_MAX).map(|trouble| {
        vec![
            trouble.topic.clone(),
            trouble.partition.index.to_string(),
            output::or_dash(trouble.partition.leader),
            output::joined(&trouble.partition.replicas),
            output::joined(&trouble.partition.isr),
            trouble.said(),
        ]
    });
    let headers = ["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "TROUBLE"];
    output::table(&headers, &rows.collect::<Vec<_>>())?;
    match health.troubles.len().saturating_sub(SHOWN_MAX) {
        0 => Ok(()),
        more => output::line(&format!("and {more} more")),
    }
}

fn counts(status: &Status) -> [(&'static str, usize); 7] {
    let health = &status.health;
    [
        ("topics", health.topics),
        ("partitions", health.partitions),
        ("without a leader", health.count(Trouble::has_no_leader)),
        ("under min ISR", health.count(|trouble| trouble.is_under_min_in_sync)),
        ("under-replicated", health.count(|trouble| trouble.is_under_replicated)),
        ("with replicas offline", health.count(Trouble::has_offline_replicas)),
        ("not led where preferred", health.led_by_others),
    ]
}

pub fn json(status: &Status) -> Result<()> {
    let health = &status.health;
    let brokers = health.brokers.iter().map(|(id, load)| {
        let registered = status.brokers.iter().find(|registered| registered.broker.id == *id);
        value!({
            "id": id,
            "state": state(status, *id),
            "address": registered.map(|registered| registered.broker.address()),
            "rack": registered.and_then(|registered| registered.broker.rack.as_ref()),
            "leads": load.leads,
            "preferred": load.preferred,
            "replicas": load.replicas,
            "in_sync": load.in_sync,
        })
    });
    let counts = counts(status).map(|(what, count)| (what.replace([' ', '-'], "_"), value!(count)));
    output::json(&value!({
        "cluster_id": status.cluster.cluster_id,
        "quorum": status.described().map(quorum_json),
        "quorum_trouble": status.quorum_trouble(),
        "brokers": brokers.collect::<Vec<_>>(),
        "counts": counts.into_iter().collect::<serde_json::Map<_, _>>(),
        "troubles": health.troubles.iter().map(trouble_json).collect::<Vec<_>>(),
    }))
}

fn quorum_json(quorum: &QuorumDescription) -> Value {
    let replica = |replica: &QuorumReplica| {
        value!({
            "id": replica.id,
            "log_end_offset": replica.log_end_offset,
            "lag": lag(quorum, replica),
            "last_fetch_ms": replica.last_fetch_ms,
            "last_caught_up_ms": replica.last_caught_up_ms,
        })
    };
    value!({
        "leader_id": quorum.leader_id,
        "leader_epoch": quorum.leader_epoch,
        "high_watermark": quorum.high_watermark,
        "voters": quorum.voters.iter().map(replica).collect::<Vec<_>>(),
        "observers": quorum.observers.iter().map(replica).collect::<Vec<_>>(),
    })
}

fn trouble_json(trouble: &Trouble) -> Value {
    let partition = &trouble.partition;
    value!({
        "topic": trouble.topic,
        "partition": partition.index,
        "leader": partition.leader,
        "replicas": partition.replicas,
        "isr": partition.isr,
        "offline_replicas": partition.offline_replicas,
        "under_replicated": trouble.is_under_replicated,
        "under_min_isr": trouble.is_under_min_in_sync,
    })
}
