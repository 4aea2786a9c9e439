//! The state of a directory before a store is opened or created there.
//!
//! | contents | meaning |
//! |---|---|
//! | `data` | a store; other files beside it are left alone |
//! | no `data`, but segments of a log | the remains of a store: refused |
//! | nothing, or an interrupted creation | free for a new store |
//! | an empty `LOCK`, an empty directory `lost+found` | ignored: left by a kill, by a file system |
//! | anything else, even a directory | foreign: refused with its name, and left alone |
//!
//! The directory is looked at before the lock is taken too. A lock that had to create its file removes it
//! again if no store is opened, so a refused directory stays unchanged.

use crate::engine::base::error::{Error, Result};
use crate::engine::disk::Disk;
use crate::engine::log::{is_segment, segment_number};
use crate::engine::options::Options;
use crate::engine::space::{DATA_FILE, NEW_DATA_FILE, is_unfinished};

/// Whether a directory has a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectoryState {
    /// A store can be opened.
    Store,
    /// A store can be made.
    Vacant,
}

impl DirectoryState {
    /// Looks at the files in the directory. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if a store has lost its data file; [`Error::NotAStore`] if there is no store
    /// and none may be created.
    pub(super) fn look(disk: &dyn Disk, options: &Options) -> Result<DirectoryState> {
        let names = disk.list()?;
        if names.iter().any(|name| name == DATA_FILE) {
            return Ok(DirectoryState::Store);
        }
        let mut strangers = disk.strangers()?;
        for name in names {
            let is_plain = !strangers.contains(&name);
            if is_plain && segment_number(&name).is_some() && is_segment(disk, &name)? {
                let expected = "there are log segments beside it".to_owned();
                return Err(Error::Missing { file: disk.path(DATA_FILE), expected });
            }
            if name != NEW_DATA_FILE || is_plain && !is_unfinished(disk)? {
                strangers.push(name);
            }
        }
        if let Some(name) = strangers.iter().min() {
            return Err(Error::in_the_way(disk.path(""), name));
        }
        if !options.create {
            let (directory, reason) = (disk.path(""), "holds no store".to_owned());
            return Err(Error::NotAStore { directory, reason });
        }
        Ok(DirectoryState::Vacant)
    }
}
