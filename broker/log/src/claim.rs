//! A directory that is held and not opened: whose it is can be read and written, and nothing else is touched.
//!
//! A node may wait long for its cluster before it opens its directories. Until then the marker of the last clean stop must
//! stay where it is, or a start that comes to nothing would make that stop an unclean one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::types::Uuid;
use parking_lot::Mutex;

use crate::directory::{Options, PROPERTIES_SIZE_MAX, read_text};
use crate::disk::Disk;
use crate::error::Error;
use crate::files::{self, Files, Lock};
use crate::properties;

const LOCK: &str = ".lock";
const IDENTITY: &str = "meta.properties";

/// `meta.properties`: whose directory this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: Uuid,
}

impl Identity {
    /// Whose directory `path` is, without locking or opening it; `None` for one that is new or does not exist.
    pub fn at(files: &dyn Files, path: &Path) -> Result<Option<Identity>, Error> {
        let file = path.join(IDENTITY);
        let unreadable = |reason: String| Error::Unreadable { file: file.clone(), reason };
        let bytes = match files::read_file(files, &file, PROPERTIES_SIZE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        properties::parse_identity(&String::from_utf8_lossy(&bytes)).map(Some).map_err(unreadable)
    }
}

/// A directory whose lock this process has.
#[derive(Debug)]
pub struct Claim {
    pub(crate) disk: Arc<Disk>,
    pub(crate) identity: Mutex<Option<Identity>>,
    pub(crate) lock: Box<dyn Lock>,
}

impl Claim {
    /// Locks the directory, creating it if missing, and reads whose it is.
    ///
    /// Errors: as those of [`Directory::open`](crate::Directory::open).
    pub fn new(files: Arc<dyn Files>, path: &Path) -> Result<Self, Error> {
        Self::with(files, path, Options::default().open_files_max)
    }

    pub(crate) fn with(files: Arc<dyn Files>, path: &Path, open_files_max: usize) -> Result<Self, Error> {
        let disk = Arc::new(Disk::new(files, path, open_files_max));
        create(&disk, path)?;
        let lock = match disk.files.lock(&path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Locked { path: path.to_owned() });
            }
            Err(error) => return Err(disk.failed("lock", path, &error)),
        };
        let identity = Mutex::new(read_identity(&disk)?);
        Ok(Self { disk, identity, lock })
    }

    pub fn path(&self) -> &Path {
        &self.disk.path
    }

    /// Whose directory this is; `None` for a new one, until it is initialised.
    pub fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    /// Gives the directory its identity, durably.
    pub fn initialise(&self, identity: &Identity) -> Result<(), Error> {
        initialise(&self.disk, &self.identity, identity)
    }
}

pub(crate) fn initialise(
    disk: &Disk,
    known: &Mutex<Option<Identity>>,
    identity: &Identity,
) -> Result<(), Error> {
    disk.check()?;
    let path = disk.path.join(IDENTITY);
    let text = properties::identity_to_text(identity);
    disk.done("write", &path, files::replace_file(&*disk.files, &path, text.as_bytes()))?;
    *known.lock() = Some(identity.clone());
    Ok(())
}

/// Creates the directory and what is missing above it, durably.
fn create(disk: &Disk, path: &Path) -> Result<(), Error> {
    let is_missing = |path: &&Path| {
        !path.as_os_str().is_empty()
            && matches!(disk.files.list(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
    };
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    disk.done("create", path, disk.files.create_dir(path))?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        // The parent of a bare name is the current directory.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        disk.sync_dir(parent)?;
    }
    Ok(())
}

fn read_identity(disk: &Disk) -> Result<Option<Identity>, Error> {
    let path = disk.path.join(IDENTITY);
    let Some(text) = read_text(disk, &path)? else { return Ok(None) };
    match properties::parse_identity(&text) {
        Ok(identity) => Ok(Some(identity)),
        Err(reason) => Err(Error::Unreadable { file: path, reason }),
    }
}
