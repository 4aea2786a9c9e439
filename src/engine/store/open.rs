//! Opening a store: from a directory or a disk, and options.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::handle::Store;
use super::open_store::OpenStore;
use crate::engine::base::error::{Error, Result};
use crate::engine::disk::{Disk, RealDisk};
use crate::engine::options::Options;

impl Options {
    /// Opens the store in `directory`, recovering it if it was not closed, and creating it if
    /// there is none: in a directory that is absent or empty. An empty file `LOCK` and an empty
    /// directory `lost+found` count as nothing. Files of others beside a store stay as they are, and
    /// so does a directory that is refused.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Corrupt`], [`Error::Missing`],
    /// [`Error::Version`] or [`Error::WrongStore`] if its files are not what they should be,
    /// [`Error::NotAStore`] if there is no store, and none may be made because the directory has
    /// something else in it, which is named; [`Error::ReadOnly`], [`Error::DiskFull`],
    /// [`Error::InvalidOption`], before anything was done. After an error nothing is lost.
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
            // Also below what is no directory, which making it will say.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                if !self.create {
                    return not_a_store("does not exist");
                }
                RealDisk::create_dir(directory)?
            }
            // What cannot be looked at may well be a store.
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
