//! What can go wrong between a client and a server, by what can be done about it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::{Code, Failure};

/// The result of a client's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request came to nothing. Errors can be cloned: one lost connection answers many requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server says no: [`Error::code`] says why.
    Server(Failure<'static>),
    /// No connection could be made. Nothing was sent.
    Connect {
        /// The server's address.
        address: String,
        /// What the operating system, or TLS, said.
        source: Arc<io::Error>,
    },
    /// The connection ended before the request went out. Nothing was done.
    NotSent {
        /// Why it ended.
        reason: String,
    },
    /// The connection ended while the request was under way. A write may have been done or not:
    /// one with an idempotency key can be tried again.
    Lost {
        /// Why it ended.
        reason: String,
    },
    /// There was no answer in time. A write may have been done or not.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The request is longer than the server takes. Nothing was sent.
    TooLarge {
        /// The length of its body, in bytes.
        len: usize,
        /// The longest that the server takes.
        max: u32,
    },
    /// The server sent what the protocol does not allow.
    Protocol(String),
    /// An option, or an address, that cannot work.
    Option(String),
}

impl Error {
    /// What the server said, as a code.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Server(failure) => Some(failure.code),
            _ => None,
        }
    }

    /// The job that tells what becomes of a write that is in the log although it was answered with
    /// this error: it was given up, or a flush has failed. Then the server's next life tells. Without
    /// one the server has done nothing, as far as it can say ([`Error::is_undone`]).
    pub fn job(&self) -> Option<&str> {
        match self {
            Error::Server(failure) => failure.job(),
            _ => None,
        }
    }

    /// Whether the same request may succeed later. Not whether it is safe to send it again: see
    /// [`Error::is_undone`].
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Server(failure) => failure.code.is_retryable(),
            Error::Connect { .. }
            | Error::NotSent { .. }
            | Error::Lost { .. }
            | Error::TimedOut { .. } => true,
            Error::TooLarge { .. } | Error::Protocol(_) | Error::Option(_) => false,
        }
    }

    /// Whether it is certain that the request changed nothing.
    pub fn is_undone(&self) -> bool {
        match self {
            Error::Server(failure) => match failure.code {
                Code::Internal | Code::Io | Code::Corrupt | Code::Other(_) => false,
                _ => failure.job().is_none(),
            },
            Error::Connect { .. }
            | Error::NotSent { .. }
            | Error::TooLarge { .. }
            | Error::Option(_) => true,
            Error::Lost { .. } | Error::TimedOut { .. } | Error::Protocol(_) => false,
        }
    }

    pub(super) fn connect(address: &impl fmt::Display, source: io::Error) -> Error {
        Error::Connect { address: address.to_string(), source: Arc::new(source) }
    }

    pub(super) fn protocol(what: impl Into<String>) -> Error {
        Error::Protocol(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Server(failure) => failure.fmt(f),
            Error::Connect { address, source } => {
                write!(f, "cannot connect to {address}: {source}")
            }
            Error::NotSent { reason } => {
                write!(f, "the connection ended before the request was sent: {reason}")
            }
            Error::Lost { reason } => {
                write!(f, "the connection ended while the request was under way: {reason}")
            }
            Error::TimedOut { after } => write!(f, "no answer within {after:?}"),
            Error::TooLarge { len, max } => {
                write!(f, "a request of {len} bytes is longer than the {max} that the server takes")
            }
            Error::Protocol(what) => write!(f, "the server breaks the protocol: {what}"),
            Error::Option(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Server(failure) => Some(failure),
            Error::Connect { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl From<Failure<'_>> for Error {
    fn from(failure: Failure<'_>) -> Error {
        Error::Server(failure.into_owned())
    }
}
