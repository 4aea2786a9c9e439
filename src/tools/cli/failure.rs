//! The end of a command, and its exit status.
//!
//! | status | means |
//! |---|---|
//! | 0 | done; also if the reader of our output closed it |
//! | 1 | key or keyspace not found, or store not clean; `torture`: the store broke a promise |
//! | 2 | a wrong call, or a failure |
//! | 3 | `torture`: the store got stuck |
//! | 4 | `torture`: the suite itself failed |

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::Error;
use crate::net::client::{self, Code};

/// The end of a command.
pub(super) type CommandResult = Result<Status, Failure>;

/// A command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done,
    /// Not found, or not clean: a negative answer.
    No,
    /// `torture`: the store got stuck.
    Stuck,
    /// `torture`: the suite itself failed.
    Undone,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        match status {
            Status::Done => ExitCode::SUCCESS,
            Status::No => ExitCode::from(1),
            Status::Stuck => ExitCode::from(3),
            Status::Undone => ExitCode::from(4),
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// An error of the store.
    Store(Error),
    /// An error of the client or of its server.
    Client(client::Error),
    /// An error of the operating system, outside the store.
    Io {
        /// As in "read rows.tsv".
        action: String,
        source: io::Error,
    },
    /// An import stopped in the middle.
    Import {
        /// The file, and the line or lines.
        place: String,
        problem: String,
        /// The rows imported before, which stay.
        rows: u64,
    },
    /// The server did not start, or ended with an error.
    Server(crate::net::server::Failure),
    /// Standard output is closed. Not reported.
    BrokenPipe,
}

impl From<crate::net::server::Failure> for Failure {
    fn from(failure: crate::net::server::Failure) -> Failure {
        Failure::Server(failure)
    }
}

impl Failure {
    /// Whether the store's files are damaged.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Failure::Store(error) => matches!(
                error,
                Error::Corrupt { .. } | Error::Missing { .. } | Error::WrongStore { .. }
            ),
            Failure::Client(error) => {
                matches!(error.code(), Some(Code::Corrupt | Code::Missing | Code::WrongStore))
            }
            _ => false,
        }
    }

    /// A failure to write to standard output.
    pub(super) fn output(source: io::Error) -> Failure {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Io { action: "write to standard output".into(), source },
        }
    }

    /// A failure at something other than standard output.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        let action = action.into();
        move |source| Failure::Io { action, source }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        Failure::Client(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Store(error) => error.fmt(f),
            Failure::Client(error) => error.fmt(f),
            Failure::Io { action, source } => write!(f, "cannot {action}: {source}"),
            Failure::Import { place, problem, rows } => {
                write!(f, "{place}: {problem} (rows imported before, which stay: {rows})")
            }
            Failure::Server(failure) => failure.fmt(f),
            Failure::BrokenPipe => f.write_str("standard output is closed"),
        }
    }
}
