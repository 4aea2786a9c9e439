//! What is in a directory before a store is opened or made there.
//!
//! | there is | then it is |
//! |---|---|
//! | `data` | a store, whatever else is there: that stays as it is |
//! | no `data`, but segments of a log | what is left of a store: refused |
//! | nothing, or a creation that was interrupted | a place for a new store |
//! | an empty `LOCK`, an empty directory `lost+found` | nothing: a kill, a file system left it |
//! | anything else, a directory too | somebody's: refused by its name, and left as it is |
//!
//! Looked at before the lock is taken as well. A lock that has to make its file removes it again if
//! no store comes to be open, so a directory that is refused is left as it was.

use crate::engine::base::error::{Error, Result};
use crate::engine::disk::Disk;
use crate::engine::log::{is_segment, segment_number};
use crate::engine::options::Options;
use crate::engine::space::{DATA_FILE, NEW_DATA_FILE, is_unfinished};

/// What may be done in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A store can be opened.
    Store,
    /// A store can be made.
    Free,
}

impl Place {
    /// Looks at the names in the directory. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if a store has lost its data file; [`Error::NotAStore`] if there is none,
    /// and none may be made.
    pub(super) fn look(disk: &dyn Disk, options: &Options) -> Result<Place> {
        let names = disk.list()?;
        if names.iter().any(|name| name == DATA_FILE) {
            return Ok(Place::Store);
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
        Ok(Place::Free)
    }
}
