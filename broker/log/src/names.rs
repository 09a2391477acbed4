//! Names of folders and files, as Kafka gives them.

use std::path::{Path, PathBuf};

/// Files of one segment, named by its base offset in 20 digits; snapshots by the offset they stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    Snapshot,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Log, Kind::OffsetIndex, Kind::TimeIndex, Kind::TransactionIndex, Kind::Snapshot];
    pub const INDEXES: [Kind; 3] = [Kind::OffsetIndex, Kind::TimeIndex, Kind::TransactionIndex];

    fn extension(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::OffsetIndex => "index",
            Kind::TimeIndex => "timeindex",
            Kind::TransactionIndex => "txnindex",
            Kind::Snapshot => "snapshot",
        }
    }

    pub fn file_name(self, base_offset: i64) -> String {
        format!("{base_offset:020}.{}", self.extension())
    }

    pub fn path(self, folder: &Path, base_offset: i64) -> PathBuf {
        folder.join(self.file_name(base_offset))
    }

    /// The file a name stands for; `None` when it is no plain segment file.
    pub fn parse(name: &str) -> Option<(i64, Kind)> {
        let (digits, extension) = name.split_once('.')?;
        if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        Some((digits.parse().ok()?, kind))
    }
}

/// Ending of a file that waits for its removal.
pub(crate) const DELETED: &str = ".deleted";
/// Ending of a file that was to replace another when the process died.
pub(crate) const TEMPORARY: &str = ".tmp";
/// Endings that Kafka's log cleaner leaves when it dies: before, and after, the point of no return.
pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";
/// Ending of a file that compaction replaced. It tells of no deletion, as [`DELETED`] alone does.
pub(crate) const REPLACED: &str = ".replaced.deleted";

/// Topic and partition of a folder's name; `None` for anything else, deleted partitions included.
pub(crate) fn parse_folder(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let plain = !partition.is_empty() && partition.bytes().all(|digit| digit.is_ascii_digit());
    if !plain || topic.is_empty() {
        return None;
    }
    Some((topic, partition.parse().ok()?))
}

pub(crate) fn is_deleted_folder(name: &str) -> bool {
    name.strip_suffix("-delete").is_some_and(|rest| rest.contains('.'))
}

/// The name a partition's folder gets when the partition is deleted, within the file system's bound.
pub(crate) fn deleted_folder(name: &str, unique: &str) -> String {
    let (topic, partition) = name.rsplit_once('-').unwrap_or((name, "0"));
    let suffix = format!("-{partition}.{unique}-delete");
    let kept = topic.len().min(NAME_LENGTH_MAX.saturating_sub(suffix.len()));
    // Topic names are ASCII; a cut inside a character would be someone else's folder.
    let topic = topic.get(..kept).unwrap_or_default();
    format!("{topic}{suffix}")
}

/// The name of the folder in which a copy of a partition comes to be in another directory; longer than a file system
/// takes for the longest topic names.
pub(crate) fn future_folder(name: &str, unique: &str) -> String {
    format!("{name}.{unique}{FUTURE}")
}

/// The partition's folder, topic and partition of a future folder's name; `None` for anything else.
pub(crate) fn parse_future_folder(name: &str) -> Option<(&str, &str, i32)> {
    let (folder, unique) = name.strip_suffix(FUTURE)?.rsplit_once('.')?;
    let (topic, partition) = parse_folder(folder).filter(|_| !unique.is_empty())?;
    Some((folder, topic, partition))
}

const FUTURE: &str = "-future";

pub(crate) const NAME_LENGTH_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_files_have_kafkas_names() {
        assert_eq!(Kind::Log.file_name(0), "00000000000000000000.log");
        assert_eq!(Kind::TimeIndex.file_name(1234), "00000000000000001234.timeindex");
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.file_name(77)), Some((77, kind)));
        }
        for other in ["0.log", "00000000000000000000.log.deleted", "leader-epoch-checkpoint", ".lock"] {
            assert_eq!(Kind::parse(other), None, "{other}");
        }
        // More than an i64.
        assert_eq!(Kind::parse("99999999999999999999.log"), None);
    }

    #[test]
    fn folders_are_topic_and_partition() {
        assert_eq!(parse_folder("my-topic-12"), Some(("my-topic", 12)));
        for other in ["topic", "topic-", "-1", "topic-x", "topic-1.abc-delete", "topic-99999999999"] {
            assert_eq!(parse_folder(other), None, "{other}");
        }
    }

    #[test]
    fn future_folders_tell_their_partition_and_are_no_partitions_folders() {
        let name = future_folder("my.topic-12", "0f");
        assert_eq!(name, "my.topic-12.0f-future");
        assert_eq!(parse_future_folder(&name), Some(("my.topic-12", "my.topic", 12)));
        assert_eq!(parse_folder(&name), None);
        for other in ["t-0", "t-0.0f-delete", "t-0-future", "t.0f-future", "t-0.-future", "-future"] {
            assert_eq!(parse_future_folder(other), None, "{other}");
        }
    }

    #[test]
    fn deleted_folder_keeps_within_the_name_bound() {
        assert_eq!(deleted_folder("t-3", "0f"), "t-3.0f-delete");
        let name = deleted_folder(&format!("{}-3", "x".repeat(249)), &"f".repeat(32));
        assert_eq!(name.len(), 255);
        assert!(is_deleted_folder(&name));
        assert!(!is_deleted_folder("topic-delete"));
    }
}
