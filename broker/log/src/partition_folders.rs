//! The folders of a directory's partitions: which there are, whose they are, and those of deleted partitions.

use milena_protocol::types::Uuid;

use crate::directory::{Directory, read_text};
use crate::error::Error;
use crate::folder::Folder;
use crate::{files, names, properties};

/// The file in a partition's folder that tells the id of its topic.
pub const TOPIC_ID: &str = "partition.metadata";

/// A partition's folder in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub topic: String,
    pub partition: i32,
    /// From `partition.metadata`.
    pub topic_id: Option<Uuid>,
}

impl Directory {
    /// Folders of partitions, without those being deleted, by name.
    pub fn list(&self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for entry in self.entries()? {
            let Some((topic, partition)) = names::parse_folder(&entry) else { continue };
            let topic_id = match self.read_topic_id(&entry) {
                // Too large to be an identity, which concerns this partition alone.
                Err(Error::Unreadable { .. }) => None,
                read => read?,
            };
            found.push(Found { topic: topic.to_owned(), partition, topic_id, name: entry });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Notes the topic id of a partition whose folder exists.
    pub fn write_topic_id(&self, name: &str, topic_id: Uuid) -> Result<(), Error> {
        self.disk().check()?;
        let path = self.disk().path.join(name).join(TOPIC_ID);
        let text = properties::topic_id_to_text(topic_id);
        self.disk().done("write", &path, files::replace_file(&*self.disk().files, &path, text.as_bytes()))
    }

    pub fn read_topic_id(&self, name: &str) -> Result<Option<Uuid>, Error> {
        let text = read_text(self.disk(), &self.disk().path.join(name).join(TOPIC_ID))?;
        Ok(text.and_then(|text| properties::parse_topic_id(&text)))
    }

    /// Whether a partition's folder has a segment with anything in it.
    pub fn has_records(&self, name: &str) -> Result<bool, Error> {
        let folder = Folder::read(self.disk(), &self.disk().path.join(name))?;
        Ok(folder.is_some_and(|folder| folder.segments.iter().any(|segment| segment.size > 0)))
    }

    /// Names of the folders of deleted partitions.
    pub fn deleted_folders(&self) -> Result<Vec<String>, Error> {
        let mut names = self.entries()?;
        names.retain(|name| names::is_deleted_folder(name));
        Ok(names)
    }

    /// Removes the folder of a deleted partition with all that is in it; one that is gone already is no error.
    /// Blocks on the disk.
    pub fn remove_deleted(&self, name: &str) -> Result<(), Error> {
        debug_assert!(names::is_deleted_folder(name), "{name} is not deleted");
        self.disk().check()?;
        let path = self.disk().path.join(name);
        match self.disk().files.remove_dir_all(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => self.disk().done("remove", &path, outcome),
        }
    }
}
