//! Folders that belong to no topic: they are renamed, so that they are neither served nor in the way.

use std::sync::Arc;

use milena_log::partition_folders::Found;
use milena_log::{Directory, Error};

use super::directories::Directories;

impl Directories {
    /// Renames what was found at start and belongs to no topic of the image, so that it is neither served nor in the
    /// way. It is kept: only a person can know that nobody wants it.
    pub fn set_strays_aside(&self) {
        let kept = self.kept.lock().clone();
        let is_stray = |folder: &str| !kept.contains(folder);
        let mut strays: Vec<(String, Arc<Directory>)> = Vec::new();
        strays.extend(self.nameless.lock().extract_if(|folder, _| is_stray(folder)));
        let found = self.found.lock().extract_if(|_, (_, found)| is_stray(&found.name)).collect::<Vec<_>>();
        strays.extend(found.into_iter().map(|(_, (directory, found))| (found.name, directory)));
        let again =
            self.found_again.lock().extract_if(.., |(_, _, found)| is_stray(&found.name)).collect::<Vec<_>>();
        strays.extend(again.into_iter().map(|(_, directory, found)| (found.name, directory)));
        strays.extend(self.unwanted_copies(&kept));
        for (folder, directory) in strays {
            if let Err(error) = self.rename_stray(&directory, &folder) {
                tracing::error!(partition = %folder, %error, "stray partition cannot be renamed");
            }
        }
    }

    /// Makes way for a new partition where a folder of its name is left over from another topic.
    pub(super) fn move_aside(&self, directory: &Directory, folder: &str) -> Result<(), Error> {
        let path = directory.path().join(folder);
        match self.files.list(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if milena_log::is_descriptor_shortage(&error) => return Err(Error::TooManyOpenFiles),
            // It may be there: nothing of another topic's may be opened as this one's.
            Err(error) => return Err(Error::Unreadable { file: path, reason: error.to_string() }),
        }
        // It is no other's from here on, and must not be set aside by its name.
        let at = directory.path();
        let is_other = |place: &Directory, found: &Found| place.path() != at || found.name != folder;
        self.found.lock().retain(|_, (place, found)| is_other(place, found));
        self.found_again.lock().retain(|(_, place, found)| is_other(place, found));
        self.rename_stray(directory, folder).map_err(|error| {
            match milena_log::is_descriptor_shortage(&error) {
                true => Error::TooManyOpenFiles,
                false => Error::Unreadable {
                    file: path,
                    reason: format!("folder of another topic cannot be renamed: {error}"),
                },
            }
        })
    }

    pub(super) fn rename_stray(&self, directory: &Directory, folder: &str) -> std::io::Result<()> {
        let stray = stray_folder(folder, &uuid::Uuid::new_v4().simple().to_string());
        self.files.rename(&directory.path().join(folder), &directory.path().join(&stray))?;
        self.files.sync_dir(directory.path())?;
        tracing::warn!(partition = %folder, renamed = %stray, "partition belongs to no topic and was set aside");
        Ok(())
    }
}

/// The name that the folder of a stray partition gets: Kafka's, with the topic cut where the whole would be longer
/// than a file system allows.
fn stray_folder(folder: &str, unique: &str) -> String {
    const NAME_BYTES_MAX: usize = 255;
    let (topic, partition) = folder.rsplit_once('-').unwrap_or((folder, "0"));
    let suffix = format!("-{partition}.{unique}-stray");
    let kept = topic.len().min(NAME_BYTES_MAX.saturating_sub(suffix.len()));
    // Topic names are ASCII, so the cut is between characters.
    format!("{}{suffix}", topic.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_folder_has_a_name_that_the_file_system_takes() {
        let unique = "0".repeat(32);
        assert_eq!(stray_folder("events-7", &unique), format!("events-7.{unique}-stray"));
        let longest = stray_folder(&format!("{}-10000", "t".repeat(249)), &unique);
        assert_eq!(longest.len(), 255);
        assert!(longest.ends_with(&format!("t-10000.{unique}-stray")), "{longest}");
    }
}
