//! [`Options::open`]: opening a store in a directory or on any disk.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::handle::Store;
use super::open_store::OpenStore;
use crate::engine::base::error::{Error, Result};
use crate::engine::disk::{Disk, RealDisk};
use crate::engine::options::Options;

impl Options {
    /// Opens the store in `directory`. A store that was not closed is recovered.
    ///
    /// If there is no store, one is created, but only in a directory that is absent or empty. An empty
    /// file `LOCK` and an empty directory `lost+found` count as nothing. Other files beside a store stay
    /// as they are, and so does a directory in which no store can be created.
    ///
    /// # Errors
    /// - [`Error::Locked`] if the store is open already.
    /// - [`Error::Corrupt`], [`Error::Missing`], [`Error::Version`] or [`Error::WrongStore`] if a file of
    ///   the store is damaged, missing, of an unknown version, or of another store.
    /// - [`Error::NotAStore`] if there is no store and none can be created. The error names the file that
    ///   is in the way.
    /// - [`Error::ReadOnly`], [`Error::DiskFull`], [`Error::InvalidOption`].
    ///
    /// After an error nothing is lost.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Store> {
        self.validate()?;
        let directory = directory.as_ref();
        let name = || directory.display().to_string();
        let not_a_store =
            |reason: &str| Err(Error::NotAStore { directory: name(), reason: reason.to_owned() });
        let disk = match std::fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() && self.read_only => {
                RealDisk::open_read_only(directory)?
            }
            Ok(metadata) if metadata.is_dir() => RealDisk::open(directory)?,
            Ok(_) => return not_a_store("not a directory"),
            // Also if a parent is not a directory: creating it reports that.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                if !self.create {
                    return not_a_store("does not exist");
                }
                RealDisk::create_dir(directory)?
            }
            // There may be a store that cannot be looked at: create nothing.
            Err(error) => return Err(Error::io("look at the directory", &name(), 0, error)),
        };
        self.open_on(Arc::new(disk))
    }

    /// Opens the store on any disk, for example a [`SimDisk`](crate::disk::SimDisk).
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Store> {
        self.validate()?;
        Ok(Store::new(OpenStore::open(disk, self)?))
    }
}
