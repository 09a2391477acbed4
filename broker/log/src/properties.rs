//! The small `key=value` files of a directory: `meta.properties`, `partition.metadata` and the clean-stop marker.

use milena_protocol::types::Uuid;

use crate::directory::Identity;

/// The file's text as Kafka writes it (version 1).
pub(crate) fn identity_to_text(identity: &Identity) -> String {
    let Identity { cluster_id, node_id, directory_id } = identity;
    format!("#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n")
}

/// Reads `meta.properties`. Says what is wrong in words.
pub(crate) fn parse_identity(text: &str) -> Result<Identity, String> {
    let get = |key: &str| {
        entries(text, '=')
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .ok_or_else(|| format!("{key} is missing"))
    };
    let version = get("version")?;
    if version != "1" {
        return Err(format!("version {version} is not 1"));
    }
    let node_id = get("node.id")?;
    let directory_id = get("directory.id")?;
    Ok(Identity {
        cluster_id: get("cluster.id")?.to_owned(),
        node_id: node_id.parse().map_err(|_| format!("node.id {node_id} is not a number"))?,
        directory_id: directory_id
            .parse()
            .map_err(|_| format!("directory.id {directory_id} is not a uuid"))?,
    })
}

pub(crate) fn topic_id_to_text(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

pub(crate) fn parse_topic_id(text: &str) -> Option<Uuid> {
    let get = |key: &str| entries(text, ':').find(|(name, _)| *name == key).map(|(_, value)| value);
    if get("version")? != "0" {
        return None;
    }
    get("topic_id")?.parse().ok().filter(|id: &Uuid| !id.is_zero())
}

/// Kafka's text and an end of line, by which we know our own.
pub(crate) fn clean_stop_to_text(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}\n")
}

/// Whether Milena wrote the clean-stop marker: only then does what it wrote beside it belong to this stop.
pub(crate) fn is_our_clean_stop(text: &str) -> bool {
    text.ends_with('\n')
}

/// The broker epoch in a clean-stop marker; -1 when it holds none, as those of older Kafkas.
pub(crate) fn parse_clean_stop(text: &str) -> i64 {
    let epoch = text.split_once("\"brokerEpoch\":").map(|(_, rest)| rest.trim_start());
    let digits = epoch.and_then(|rest| rest.split([',', '}']).next());
    digits.and_then(|digits| digits.trim().parse().ok()).unwrap_or(-1)
}

fn entries(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    lines.filter_map(move |line| line.split_once(separator)).map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_properties_of_kafka_are_read() {
        let text = "#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
                    directory.id=Zm9vYmFyYmF6cXV4eHl6Zw\nnode.id=3\nversion=1\n";
        let identity = parse_identity(text).unwrap();
        assert_eq!((identity.cluster_id.as_str(), identity.node_id), ("MkU3OEVBNTcwNTJENDM2Qg", 3));
        assert_eq!(parse_identity(&identity_to_text(&identity)), Ok(identity));
    }

    #[test]
    fn meta_properties_that_cannot_be_ours_say_why() {
        for (text, reason) in [
            ("version=0\nbroker.id=1\n", "version 0 is not 1"),
            ("version=1\ncluster.id=x\nnode.id=1\n", "directory.id is missing"),
            ("version=1\ncluster.id=x\nnode.id=y\ndirectory.id=z\n", "node.id y is not a number"),
        ] {
            assert_eq!(parse_identity(text), Err(reason.to_owned()));
        }
    }

    #[test]
    fn partition_metadata_round_trips() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(parse_topic_id(&topic_id_to_text(id)), Some(id));
        assert_eq!(parse_topic_id("version: 1\ntopic_id: x"), None);
        assert_eq!(parse_topic_id(""), None);
    }

    #[test]
    fn clean_stop_marker_of_kafka_is_read() {
        assert_eq!(parse_clean_stop("{\"version\":0,\"brokerEpoch\":42}"), 42);
        assert!(!is_our_clean_stop("{\"version\":0,\"brokerEpoch\":42}"));
        assert_eq!(parse_clean_stop(&clean_stop_to_text(7)), 7);
        assert!(is_our_clean_stop(&clean_stop_to_text(7)));
        assert_eq!(parse_clean_stop(""), -1);
    }
}
