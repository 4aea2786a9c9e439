//! Errors of starting and stopping a server.

use std::fmt;
use std::io;

use crate::Error;

/// Why a server did not start, or did not stop cleanly.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration is invalid or unsafe.
    Config(String),
    /// The store refused.
    Store(Error),
    /// The operating system refused.
    Io {
        /// As in "listen on 127.0.0.1:7411".
        action: String,
        /// Its error.
        source: io::Error,
    },
}

impl Failure {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        let action = action.into();
        move |source| Failure::Io { action, source }
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
            Failure::Config(problem) => f.write_str(problem),
            Failure::Store(error) => error.fmt(f),
            Failure::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Config(_) => None,
            Failure::Store(error) => Some(error),
            Failure::Io { source, .. } => Some(source),
        }
    }
}
