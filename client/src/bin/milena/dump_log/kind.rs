//! What a file is, by its name.

use std::path::Path;

/// Kinds of files in a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Record batches.
    Segment(Values),
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    /// Producer state.
    Producers,
    /// A text file of offsets or leader epochs.
    Checkpoint,
    Properties,
}

/// Whose values the records of a segment have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Users'.
    Plain,
    /// Entries of Milena's metadata log.
    MetadataLog,
    /// Blocks of a snapshot of Milena's metadata.
    MetadataSnapshot,
}

const METADATA_FOLDER: &str = "__cluster_metadata-";

/// What a file is called additionally on its way in or out.
const PASSING: [&str; 3] = [".deleted", ".cleaned", ".swap"];

impl Kind {
    /// None for a name that no such file has.
    pub fn of(path: &Path) -> Option<Self> {
        let name = plain_name(path)?;
        let is_metadata = path
            .parent()
            .and_then(|folder| std::path::absolute(folder).ok())
            .and_then(|folder| Some(folder.file_name()?.to_str()?.starts_with(METADATA_FOLDER)))
            .unwrap_or(false);
        match name {
            "partition.metadata" | "meta.properties" => return Some(Kind::Properties),
            _ if name.ends_with("-checkpoint") => return Some(Kind::Checkpoint),
            _ => {}
        }
        Some(match name.rsplit_once('.')?.1 {
            "log" if is_metadata => Kind::Segment(Values::MetadataLog),
            "log" => Kind::Segment(Values::Plain),
            "checkpoint" => Kind::Segment(Values::MetadataSnapshot),
            "index" => Kind::OffsetIndex,
            "timeindex" => Kind::TimeIndex,
            "txnindex" => Kind::TransactionIndex,
            "snapshot" => Kind::Producers,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Segment(Values::Plain) => "segment",
            Kind::Segment(Values::MetadataLog) => "segment of the metadata log",
            Kind::Segment(Values::MetadataSnapshot) => "metadata snapshot",
            Kind::OffsetIndex => "offset index",
            Kind::TimeIndex => "time index",
            Kind::TransactionIndex => "transaction index",
            Kind::Producers => "producer snapshot",
            Kind::Checkpoint => "checkpoint",
            Kind::Properties => "properties",
        }
    }
}

/// The offset that a segment's file is named after; 0 when it is named otherwise.
pub fn base_offset(path: &Path) -> i64 {
    let digits = plain_name(path).and_then(|name| name.split('.').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn plain_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    Some(PASSING.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        let cases = [
            ("t-0/00000000000000000042.log", Some(Kind::Segment(Values::Plain))),
            ("/d/__cluster_metadata-0/00000000000000000000.log", Some(Kind::Segment(Values::MetadataLog))),
            ("/d/__cluster_metadata-0/7-1.checkpoint", Some(Kind::Segment(Values::MetadataSnapshot))),
            ("t-0/00000000000000000042.index.deleted", Some(Kind::OffsetIndex)),
            ("00000000000000000042.timeindex", Some(Kind::TimeIndex)),
            ("00000000000000000042.txnindex", Some(Kind::TransactionIndex)),
            ("00000000000000000042.snapshot", Some(Kind::Producers)),
            ("t-0/leader-epoch-checkpoint", Some(Kind::Checkpoint)),
            ("recovery-point-offset-checkpoint", Some(Kind::Checkpoint)),
            ("t-0/partition.metadata", Some(Kind::Properties)),
            ("meta.properties", Some(Kind::Properties)),
            ("README.md", None),
            ("log", None),
        ];
        for (name, expected) in cases {
            assert_eq!(Kind::of(Path::new(name)), expected, "{name}");
        }
        assert_eq!(base_offset(Path::new("t-0/00000000000000000042.index.deleted")), 42);
        assert_eq!(base_offset(Path::new("leader-epoch-checkpoint")), 0);
    }
}
