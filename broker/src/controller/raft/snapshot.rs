//! Snapshots of the image on disk: `<index>-<term>.checkpoint`, written beside the metadata log.
//!
//! A snapshot is a file of record batches, as the log is, so the same tools read it: a header (the last entry and
//! the membership), blocks of at most [`BLOCK_RECORDS`] metadata records, and a footer that counts them. Each batch
//! has one record without key; its value starts with a version and a kind byte. Written to a temporary name, synced,
//! renamed, directory synced; the newest [`KEEP`] are kept. A file without its footer, or with a checksum that does
//! not match, is not a snapshot.
//!
//! A broker that is no voter keeps its image in the same format ([`crate::metadata::checkpoint`]), under a header of its
//! own: it knows of no membership, and no voter may take its file for a snapshot.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use milena_log::files::{self, Files};
use milena_protocol::records::{Batch, Builder};
use milena_state::metadata::{self, Image};

use super::entry::{EntryError, Reader, put_log_id, put_membership};
use super::types::{LogId, SnapshotMeta, StoredMembership};

/// Snapshots that stay when a newer one was written.
pub const KEEP: usize = 2;
/// Metadata records in one batch of a snapshot.
const BLOCK_RECORDS: usize = 1_000;
/// Memory that reading one snapshot may cost; a million partitions are about a tenth of it.
pub const SIZE_MAX: u64 = 2 << 30;
/// A snapshot on its way from the leader; begun anew with each.
const INCOMING: &str = "incoming-snapshot";

const SUFFIX: &str = ".checkpoint";
const VERSION: u8 = 1;
const HEADER: u8 = 0;
const RECORDS: u8 = 1;
const FOOTER: u8 = 2;
const OBSERVED: u8 = 3;

/// A snapshot file; what openraft passes between the state machine and the network.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub files: Arc<dyn Files>,
    pub path: PathBuf,
}

/// What a snapshot file says.
#[derive(Debug)]
pub struct Contents {
    pub meta: SnapshotMeta,
    pub image: Image,
}

/// What an observer's file says.
#[derive(Debug)]
pub struct Observed {
    pub cluster_id: String,
    pub image: Image,
}

/// The snapshots of one directory.
#[derive(Debug, Clone)]
pub struct Snapshots {
    files: Arc<dyn Files>,
    directory: PathBuf,
}

impl Snapshots {
    pub fn new(files: Arc<dyn Files>, directory: PathBuf) -> Self {
        Self { files, directory }
    }

    /// The newest complete snapshot with its contents. An incomplete or damaged one is skipped with a warning: the
    /// one before it and the log may still rebuild the image, and openraft refuses to start when they do not.
    pub fn newest(&self) -> io::Result<Option<(SnapshotFile, Contents)>> {
        for name in self.names()? {
            let file = SnapshotFile { files: Arc::clone(&self.files), path: self.directory.join(name) };
            match file.read() {
                Ok(contents) => return Ok(Some((file, contents))),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(path = %file.path.display(), %error, "metadata snapshot is not usable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes a snapshot, durable when it returns, and removes the oldest beyond [`KEEP`].
    pub fn write(&self, meta: &SnapshotMeta, image: &Image) -> io::Result<SnapshotFile> {
        let (index, term) = meta.last_log_id.map_or((0, 0), |last| (last.index, last.leader_id.term));
        let path = self.directory.join(format!("{index:020}-{term:010}{SUFFIX}"));
        let encoded = encode(HEADER, &encode_header(meta), term, image)?;
        files::replace_file(&*self.files, &path, &encoded)?;
        self.remove_old()?;
        Ok(SnapshotFile { files: Arc::clone(&self.files), path })
    }

    /// Where a snapshot that comes from the leader is put together.
    pub fn incoming(&self) -> SnapshotFile {
        SnapshotFile { files: Arc::clone(&self.files), path: self.directory.join(INCOMING) }
    }

    /// Whether the file is one of ours already, and need not be copied.
    pub fn owns(&self, snapshot: &SnapshotFile) -> bool {
        snapshot.path.parent() == Some(&*self.directory)
            && snapshot.path.extension().is_some_and(|extension| extension == &SUFFIX[1..])
    }

    fn remove_old(&self) -> io::Result<()> {
        let old: Vec<_> = self.names()?.into_iter().skip(KEEP).collect();
        for name in &old {
            self.files.remove_file(&self.directory.join(name))?;
        }
        if old.is_empty() { Ok(()) } else { self.files.sync_dir(&self.directory) }
    }

    /// Names of the snapshot files, newest first: index and term have fixed widths.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.files.list(&self.directory)?.into_iter();
        let mut names: Vec<_> =
            entries.map(|entry| entry.name).filter(|name| name.ends_with(SUFFIX)).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

impl SnapshotFile {
    /// The size of the file and up to `bytes_max` of its bytes from `position`.
    pub fn read_chunk(&self, position: u64, bytes_max: usize) -> io::Result<(u64, Vec<u8>)> {
        let file = self.files.open(&self.path)?;
        let size = file.size()?;
        let left = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(bytes_max)];
        files::read_exact_at(&*file, &mut chunk, position)?;
        Ok((size, chunk))
    }

    /// Reads and checks the whole file. `InvalidData` when it is not a complete snapshot.
    pub fn read(&self) -> io::Result<Contents> {
        let bytes = files::read_file(&*self.files, &self.path, SIZE_MAX)?;
        decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }
}

/// Why a file is not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("batch at byte {position}: {reason}")]
    Batch { position: usize, reason: String },
    #[error("header is missing")]
    NoHeader,
    #[error("footer is missing: the file is cut short")]
    NoFooter,
    #[error("footer counts {footer} records, the file has {found}")]
    Count { footer: u64, found: u64 },
    #[error("version {0} is not known to this version of Milena")]
    Version(u8),
    #[error("block of kind {0} is not expected here")]
    Kind(u8),
    #[error("cluster id is not text")]
    ClusterId,
    #[error(transparent)]
    Bytes(#[from] EntryError),
    #[error(transparent)]
    Records(#[from] metadata::DecodeError),
    #[error(transparent)]
    Misfit(#[from] metadata::image::Misfit),
}

/// The image of an observer of a cluster, and where it stands.
pub fn encode_observed(cluster_id: &str, image: &Image) -> io::Result<Vec<u8>> {
    let metadata::Applied { index, term } = image.applied();
    let header = [&index.to_be_bytes()[..], &term.to_be_bytes(), cluster_id.as_bytes()].concat();
    encode(OBSERVED, &header, term as u64, image)
}

/// Errors: the bytes are not all of what [`encode_observed`] made.
pub fn decode_observed(bytes: &[u8]) -> Result<Observed, SnapshotError> {
    let mut blocks = Blocks { bytes, rest: bytes };
    let Some((OBSERVED, header)) = blocks.next()? else { return Err(SnapshotError::NoHeader) };
    let mut reader = Reader { rest: &header };
    let applied = metadata::Applied { index: reader.u64()? as i64, term: reader.u64()? as i64 };
    let cluster_id = String::from_utf8(reader.rest.to_vec()).map_err(|_| SnapshotError::ClusterId)?;
    Ok(Observed { cluster_id, image: decode_image(&mut blocks, applied)? })
}

fn encode(header_kind: u8, header: &[u8], term: u64, image: &Image) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut sequence = 0;
    let mut block = |kind: u8, body: &[u8], out: &mut Vec<u8>| -> io::Result<()> {
        let value = [&[VERSION, kind], body].concat();
        let mut batch = Builder::new().base_offset(sequence).leader_epoch(term as i32);
        batch.append(0, None, Some(&value), &[]).map_err(io::Error::other)?;
        out.extend_from_slice(&batch.finish().map_err(io::Error::other)?);
        sequence += 1;
        Ok(())
    };
    block(header_kind, header, &mut out)?;
    let mut count = 0_u64;
    let mut records = image.snapshot().peekable();
    while records.peek().is_some() {
        let chunk: Vec<_> = records.by_ref().take(BLOCK_RECORDS).collect();
        count += chunk.len() as u64;
        block(RECORDS, &metadata::encode_batch(&chunk), &mut out)?;
    }
    block(FOOTER, &count.to_be_bytes(), &mut out)?;
    Ok(out)
}

fn encode_header(meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = Vec::new();
    for log_id in [&meta.last_log_id, meta.last_membership.log_id()] {
        out.push(u8::from(log_id.is_some()));
        if let Some(log_id) = log_id {
            put_log_id(log_id, &mut out);
        }
    }
    put_membership(meta.last_membership.membership(), &mut out);
    out
}

fn decode(bytes: &[u8]) -> Result<Contents, SnapshotError> {
    let mut blocks = Blocks { bytes, rest: bytes };
    let Some((HEADER, header)) = blocks.next()? else { return Err(SnapshotError::NoHeader) };
    let meta = decode_header(&header)?;
    let applied = meta.last_log_id.as_ref().map(applied_of).unwrap_or_default();
    Ok(Contents { meta, image: decode_image(&mut blocks, applied)? })
}

/// What comes after the header.
fn decode_image(blocks: &mut Blocks<'_>, applied: metadata::Applied) -> Result<Image, SnapshotError> {
    let mut image = Image::from_snapshot(applied, [])?;
    let mut found = 0;
    loop {
        match blocks.next()? {
            Some((RECORDS, body)) => {
                for record in metadata::decode_batch(&body)? {
                    image.apply(&record)?;
                    found += 1;
                }
            }
            Some((FOOTER, body)) => {
                let footer = Reader { rest: &body }.u64()?;
                if footer != found {
                    return Err(SnapshotError::Count { footer, found });
                }
                return Ok(image);
            }
            Some((kind, _)) => return Err(SnapshotError::Kind(kind)),
            None => return Err(SnapshotError::NoFooter),
        }
    }
}

fn decode_header(header: &[u8]) -> Result<SnapshotMeta, SnapshotError> {
    let mut reader = Reader { rest: header };
    let mut optional = || -> Result<Option<LogId>, EntryError> {
        Ok(if reader.u8()? == 0 { None } else { Some(reader.log_id()?) })
    };
    let (last_log_id, membership_id) = (optional()?, optional()?);
    let membership = reader.membership()?;
    reader.finish()?;
    Ok(SnapshotMeta { last_log_id, last_membership: StoredMembership::new(membership_id, membership) })
}

/// The place of an entry as the image counts it.
pub fn applied_of(log_id: &LogId) -> metadata::Applied {
    metadata::Applied { index: log_id.index as i64, term: log_id.leader_id.term as i64 }
}

/// Walks the blocks of a snapshot, each checked against its CRC.
struct Blocks<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl Blocks<'_> {
    fn next(&mut self) -> Result<Option<(u8, Bytes)>, SnapshotError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let position = self.bytes.len() - self.rest.len();
        let broken = |reason: String| SnapshotError::Batch { position, reason };
        let (batch, rest) = Batch::parse(self.rest).map_err(|error| broken(error.to_string()))?;
        self.rest = rest;
        let value = only_value(&batch).map_err(broken)?;
        let (head, body) = value.split_first_chunk::<2>().ok_or(EntryError::Truncated)?;
        match head {
            [VERSION, kind] => Ok(Some((*kind, Bytes::copy_from_slice(body)))),
            [version, _] => Err(SnapshotError::Version(*version)),
        }
    }
}

/// The value of a batch's only record, after checking the CRC.
pub fn only_value<'a>(batch: &Batch<'a>) -> Result<&'a [u8], String> {
    batch.verify_crc().map_err(|error| error.to_string())?;
    let mut records = batch.records().ok_or("batch is compressed")?;
    let first = records.next().ok_or("batch is empty")?.map_err(|error| error.to_string())?;
    if records.next().is_some() {
        return Err("batch has more than one record".to_owned());
    }
    first.value.ok_or_else(|| "record has no value".to_owned())
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
