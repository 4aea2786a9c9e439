//! How a command ends, and what the shell is told about it.
//!
//! | status | means |
//! |---|---|
//! | 0 | done; also when whoever read our output had enough |
//! | 1 | key or keyspace not found, or store not clean; `torture`: the store broke a promise |
//! | 2 | a wrong call, or a failure |
//! | 3 | `torture`: the store did not go on although it could |
//! | 4 | `torture`: the suite could not do its work |

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::Error;
use crate::net::client::{self, Code};

/// The end of a command.
pub(super) type Outcome = Result<Status, Failure>;

/// A command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done,
    /// Not found, or not clean: an answer, but not the hoped-for one.
    No,
    /// `torture`: the store did not go on although it could.
    Stuck,
    /// `torture`: the suite could not do its work.
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

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call makes no sense.
    Usage(String),
    /// The store refused.
    Store(Error),
    /// A server refused, or could not be asked.
    Client(client::Error),
    /// The operating system refused, outside the store.
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
        /// What was imported before and stays.
        rows: u64,
    },
    /// The server did not start, or did not end well.
    Server(crate::net::server::Failure),
    /// Nobody reads our output any more. Not reported.
    BrokenPipe,
}

impl From<crate::net::server::Failure> for Failure {
    fn from(failure: crate::net::server::Failure) -> Failure {
        Failure::Server(failure)
    }
}

impl Failure {
    /// Whether it says that the store's files are not what was written.
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
            Failure::BrokenPipe => f.write_str("nobody reads the output"),
        }
    }
}
