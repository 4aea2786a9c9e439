//! The errors of the store.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::engine::base::lsn::{Incarnation, Lsn, StoreId};

/// The result of an operation of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of an operation. Errors can be cloned, since one failure may answer many waiters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    Io {
        /// The operation, for example "write at offset 4096".
        action: String,
        /// The file or directory.
        file: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// There is no space left: on the device, in a quota, or within the limit on the size of files
    /// (`ulimit -f`). Nothing was changed; try again once there is space.
    DiskFull {
        /// The file that could not grow.
        file: String,
        /// The bytes that were asked for.
        needed: u64,
    },
    /// A file's bytes are not those that were written there. Nothing was changed.
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A file that should be there is not.
    Missing {
        /// The missing file.
        file: String,
        /// Why it must exist.
        expected: String,
    },
    /// The file was written in a format that this version does not read.
    Version {
        /// The file.
        file: String,
        /// The newest format version that this software reads.
        supported: u32,
        /// The version that the file says it has.
        found: u32,
    },
    /// The file belongs to another store.
    WrongStore {
        /// The file.
        file: String,
        /// The store that was opened.
        expected: StoreId,
        /// The store that the file belongs to.
        found: StoreId,
    },
    /// Another process, or another handle in this one, has the store open.
    Locked {
        /// The directory.
        directory: String,
    },
    /// The directory or a file in it cannot be written, or the store was opened read-only
    /// ([`Options::read_only`](crate::Options::read_only)).
    ReadOnly {
        /// What cannot be written.
        file: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The directory holds no store, and none may be created there.
    NotAStore {
        /// The directory.
        directory: String,
        /// Why it is not a store, or cannot become one.
        reason: String,
    },
    /// The key is too long for the store's page size.
    KeyTooLong {
        /// The length of the key, in bytes.
        len: usize,
        /// The longest key that the store takes, in bytes.
        max: usize,
    },
    /// The value is longer than the store takes.
    ValueTooLong {
        /// The length of the value, in bytes.
        len: u64,
        /// The longest value that the store takes, in bytes.
        max: u64,
    },
    /// A name that no keyspace may have: empty, over 255 bytes, or with control characters. Over a
    /// connection and on the command line, names that begin with `$` are reserved for the server.
    InvalidName {
        /// The name.
        name: String,
    },
    /// There is no keyspace of this name, or it has been dropped.
    NoSuchKeyspace {
        /// The name.
        name: String,
    },
    /// There is a keyspace of this name already.
    KeyspaceExists {
        /// The name.
        name: String,
    },
    /// The store has created 2^32 - 2 keyspaces, and has no id for another.
    TooManyKeyspaces,
    /// A batch holds a keyspace of another store.
    ForeignKeyspace {
        /// The name of the keyspace.
        name: String,
    },
    /// An option has a value that cannot work.
    InvalidOption {
        /// The option.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// The text is not a receipt's token, or the token is of another store.
    InvalidToken {
        /// The text.
        token: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A token of this store, but of an incarnation that this copy of the store never had. It is from
    /// another copy that was used on its own, such as the one before a backup was restored. Only that
    /// copy can tell what became of the commit.
    UnknownLife {
        /// The token.
        token: String,
        /// The incarnation that it names.
        incarnation: Incarnation,
    },
    /// A flush failed earlier. The device may have lost data written before, so nothing can be
    /// committed until the store is reopened; reads still work.
    Poisoned {
        /// The failure that poisoned the log.
        source: Arc<Error>,
        /// For a commit whose record was appended before the failure: its position in the log.
        /// Whether it is durable is unknown until the store is reopened; the commit's token tells it
        /// then ([`Store::receipt_of`](crate::Store::receipt_of)). `None`: the commit changed nothing.
        appended: Option<Lsn>,
    },
    /// Every frame of the cache is in use by running calls, or has a page that cannot be written. Held
    /// values, iterators and snapshots are not the cause. Try again, or raise `cache_bytes`.
    CacheExhausted {
        /// How many pages the cache holds.
        frames: u64,
    },
    /// The store has been closed.
    Closed,
    /// The store was opened by the process that forked this one, and only that process may use it.
    /// Nothing was done. Open stores after the fork: a process that is forked while a store is open can
    /// use no store until it executes another program.
    Forked,
}

impl Error {
    /// Whether the same call may succeed later without reopening the store.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::DiskFull { .. } | Error::Locked { .. } | Error::CacheExhausted { .. } => true,
            Error::Io { source, .. } => source.kind() == io::ErrorKind::Interrupted,
            Error::Corrupt { .. }
            | Error::Missing { .. }
            | Error::Version { .. }
            | Error::WrongStore { .. }
            | Error::ReadOnly { .. }
            | Error::NotAStore { .. }
            | Error::KeyTooLong { .. }
            | Error::ValueTooLong { .. }
            | Error::InvalidName { .. }
            | Error::NoSuchKeyspace { .. }
            | Error::KeyspaceExists { .. }
            | Error::TooManyKeyspaces
            | Error::ForeignKeyspace { .. }
            | Error::InvalidOption { .. }
            | Error::InvalidToken { .. }
            | Error::UnknownLife { .. }
            | Error::Poisoned { .. }
            | Error::Closed
            | Error::Forked => false,
        }
    }

    /// This error, for a commit whose record is in the log at `lsn`. The error may have been another
    /// commit's: one failed flush is told to all that wait for it.
    pub(crate) fn after_append(mut self, lsn: Lsn) -> Self {
        if let Error::Poisoned { appended, .. } = &mut self {
            *appended = Some(lsn);
        }
        self
    }

    /// This error, for a call that has appended nothing.
    pub(crate) fn before_append(mut self) -> Self {
        if let Error::Poisoned { appended, .. } = &mut self {
            *appended = None;
        }
        self
    }

    /// The error for a directory that cannot become a store because the file `name` is there.
    pub(crate) fn in_the_way(directory: String, name: &str) -> Self {
        let reason = format!("holds {name:?}, but no store; a new store needs an empty directory");
        Error::NotAStore { directory, reason }
    }

    /// The error for an operation that would change a store opened read-only.
    pub(crate) fn opened_read_only(file: String) -> Self {
        let source = io::Error::new(io::ErrorKind::Unsupported, "the store was opened read-only");
        Error::ReadOnly { file, source: Arc::new(source) }
    }

    /// The error for the operating system's error `source` on `file` during `action`. `needed` is the
    /// number of bytes asked for, where the operation may need space.
    pub(crate) fn io(
        action: impl Into<String>,
        file: &str,
        needed: u64,
        source: io::Error,
    ) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Error::DiskFull { file, needed },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Error::ReadOnly { file, source: Arc::new(source) }
            }
            _ => Error::Io { action: action.into(), file, source: Arc::new(source) },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, file, source } => write!(f, "{file}: {action}: {source}"),
            Error::DiskFull { file, needed } => {
                write!(
                    f,
                    "{file}: no space left on the device, or the file may not be longer \
                     ({needed} bytes needed)"
                )
            }
            Error::Corrupt { file, offset, expected, found } => {
                write!(f, "{file}: corrupt at offset {offset}: expected {expected}, found {found}")
            }
            Error::Missing { file, expected } => write!(f, "{file}: missing: {expected}"),
            Error::Version { file, supported, found } => write!(
                f,
                "{file}: format version {found}, but this software reads up to {supported}"
            ),
            Error::WrongStore { file, expected, found } => {
                write!(f, "{file}: belongs to store {found}, not to {expected}")
            }
            Error::Locked { directory } => write!(f, "{directory}: the store is already open"),
            Error::ReadOnly { file, source } => write!(f, "{file}: cannot be written: {source}"),
            Error::NotAStore { directory, reason } => write!(f, "{directory}: {reason}"),
            Error::KeyTooLong { len, max } => {
                write!(f, "a key of {len} bytes is longer than the {max} that the store takes")
            }
            Error::ValueTooLong { len, max } => {
                write!(f, "a value of {len} bytes is longer than the {max} that the store takes")
            }
            Error::InvalidName { name } => {
                let what = match name.starts_with('$') && name.len() <= 255 {
                    true => "names that begin with $ are the server's own",
                    false => "1 to 255 bytes, no control characters",
                };
                write!(f, "{name:?} cannot name a keyspace: {what}")
            }
            Error::NoSuchKeyspace { name } => write!(f, "there is no keyspace {name:?}"),
            Error::KeyspaceExists { name } => write!(f, "there is a keyspace {name:?} already"),
            Error::TooManyKeyspaces => write!(f, "the store has no number for another keyspace"),
            Error::ForeignKeyspace { name } => {
                write!(
                    f,
                    "keyspace {name:?} is of another store, or of this one before it was reopened"
                )
            }
            Error::InvalidOption { option, reason } => write!(f, "option {option}: {reason}"),
            Error::InvalidToken { token, reason } => write!(f, "token {token:?}: {reason}"),
            Error::UnknownLife { token, incarnation } => write!(
                f,
                "token {token:?}: another copy of this store gave it out, in its incarnation \
                 {incarnation}, which this copy never had (as after a backup was restored): only \
                 that copy can tell what became of the commit"
            ),
            Error::Poisoned { source, .. } => write!(
                f,
                "an earlier flush failed, so nothing can be committed until the store is reopened: {source}"
            ),
            Error::CacheExhausted { frames } => {
                write!(f, "all {frames} pages of the cache are in use or cannot be written")
            }
            Error::Closed => write!(f, "the store has been closed"),
            Error::Forked => write!(f, "the store belongs to the process that forked this one"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::ReadOnly { source, .. } => Some(&**source),
            Error::Poisoned { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// One error of each kind, and whether the same call may succeed later.
    fn kinds() -> Vec<(Error, bool)> {
        let text = String::new;
        let io = |kind| Arc::new(io::Error::from(kind));
        let of_io = |kind| Error::Io { action: text(), file: text(), source: io(kind) };
        let store = StoreId([7; 16]);
        vec![
            // Space can be freed, another handle closed, a call can end; an interrupted call did nothing.
            (Error::DiskFull { file: text(), needed: 1 }, true),
            (Error::Locked { directory: text() }, true),
            (Error::CacheExhausted { frames: 1 }, true),
            (of_io(io::ErrorKind::Interrupted), true),
            (of_io(io::ErrorKind::TimedOut), false),
            (of_io(io::ErrorKind::Other), false),
            // The files stay as they are.
            (Error::Corrupt { file: text(), offset: 1, expected: text(), found: text() }, false),
            (Error::Missing { file: text(), expected: text() }, false),
            (Error::Version { file: text(), supported: 1, found: 2 }, false),
            (Error::WrongStore { file: text(), expected: store, found: store }, false),
            (Error::ReadOnly { file: text(), source: io(io::ErrorKind::PermissionDenied) }, false),
            (Error::NotAStore { directory: text(), reason: text() }, false),
            // The call itself is wrong.
            (Error::KeyTooLong { len: 2, max: 1 }, false),
            (Error::ValueTooLong { len: 2, max: 1 }, false),
            (Error::InvalidName { name: text() }, false),
            (Error::NoSuchKeyspace { name: text() }, false),
            (Error::KeyspaceExists { name: text() }, false),
            (Error::TooManyKeyspaces, false),
            (Error::ForeignKeyspace { name: text() }, false),
            (Error::InvalidOption { option: "", reason: text() }, false),
            (Error::InvalidToken { token: text(), reason: text() }, false),
            (Error::UnknownLife { token: text(), incarnation: Incarnation::new(1) }, false),
            // The store must be reopened, for any reason.
            (
                Error::Poisoned {
                    source: Arc::new(Error::DiskFull { file: text(), needed: 1 }),
                    appended: None,
                },
                false,
            ),
            (Error::Closed, false),
            (Error::Forked, false),
        ]
    }

    /// The kinds that this file declares.
    fn declared() -> BTreeSet<&'static str> {
        let text = include_str!("error.rs");
        let (_, rest) = text.split_once("pub enum Error {").unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
        let named = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
        named.filter_map(|line| line.split([' ', ',']).next()).collect()
    }

    #[test]
    fn each_kind_of_error_says_whether_the_same_call_may_succeed_later() {
        for (error, is_retryable) in kinds() {
            assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        }
        let debug: Vec<String> = kinds().iter().map(|(error, _)| format!("{error:?}")).collect();
        let tried = debug.iter().filter_map(|text| text.split([' ', '{']).next()).collect();
        assert_eq!(declared(), tried);
    }
}
