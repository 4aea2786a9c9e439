//! Errors of a client, by what its caller can do about them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::base::lsn::StoreId;
use crate::net::proto::{Code, Failure};

/// The result of a client's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed. Errors can be cloned: one lost connection ends many requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error: see [`Error::code`].
    Server(Failure<'static>),
    /// No connection could be made. Nothing was sent.
    Connect {
        /// The server's address.
        address: String,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The server was reached, but the TLS handshake failed. Its certificate may have expired, or have
    /// another name or an unknown issuer, or the server speaks no TLS. Nothing was sent.
    Tls {
        /// The server's address.
        address: String,
        /// The error of TLS.
        source: Arc<io::Error>,
    },
    /// Another store is served at the client's address. Nothing was sent to it: see
    /// [`ClientOptions::any_store`](super::ClientOptions::any_store).
    OtherStore {
        /// The server's address.
        address: String,
        /// The store of the first connection.
        expected: StoreId,
        /// The store that is served there now.
        found: StoreId,
    },
    /// The client was closed, or the runtime that it was made in has ended. Nothing was sent.
    Closed {
        /// Which of these.
        reason: String,
    },
    /// The request was not sent: its connection ended first, or there was no room for it in time.
    /// Nothing was done.
    NotSent {
        /// Why it was not.
        reason: String,
    },
    /// The connection ended while the request was in flight. A write may have been done or not; with
    /// an idempotency key it can be sent again.
    Lost {
        /// Why it ended.
        reason: String,
    },
    /// The request was sent more than once, which was safe, and no try got an answer that settles it.
    /// An earlier try may have done the write.
    Unsettled {
        /// The error of the earlier try, which may have been done.
        earlier: Box<Error>,
        /// The error of the last try.
        last: Box<Error>,
    },
    /// No answer came in time. A write may have been done or not.
    TimedOut {
        /// The time limit of the request.
        after: Duration,
    },
    /// The request is longer than the server takes. Nothing was sent.
    TooLarge {
        /// The length of its body, in bytes.
        len: usize,
        /// The longest body that the server takes.
        max: u32,
    },
    /// The server broke the protocol.
    Protocol(String),
    /// An option, or an address, that cannot work.
    Option(String),
}

impl Error {
    /// The code of the server's error.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Server(failure) => Some(failure.code),
            Error::Unsettled { last, .. } => last.code(),
            _ => None,
        }
    }

    /// The job of a write that is in the log although it was answered with this error: it was
    /// cancelled, or a flush has failed (then the server's next incarnation knows its state). Without a
    /// job the server has done nothing, as far as it can tell ([`Error::is_undone`]).
    pub fn job(&self) -> Option<&str> {
        match self {
            Error::Server(failure) => failure.job(),
            Error::Unsettled { earlier, last } => last.job().or(earlier.job()),
            _ => None,
        }
    }

    /// Whether the same request may succeed later by itself: false if something has to be repaired
    /// first, such as a certificate. [`Error::is_undone`] says whether it is safe to send it again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Server(failure) => failure.code.is_retryable(),
            Error::Unsettled { last, .. } => last.is_retryable(),
            Error::Connect { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
            ),
            Error::NotSent { .. } | Error::Lost { .. } | Error::TimedOut { .. } => true,
            Error::Tls { .. }
            | Error::OtherStore { .. }
            | Error::Closed { .. }
            | Error::TooLarge { .. }
            | Error::Protocol(_)
            | Error::Option(_) => false,
        }
    }

    /// Whether the deadline passed: at the server ([`Code::DeadlineExceeded`]), which tells whether a
    /// write is in the log, or at the client, which cannot tell.
    pub fn is_timeout(&self) -> bool {
        match self {
            Error::Server(failure) => failure.code == Code::DeadlineExceeded,
            Error::Unsettled { last, .. } => last.is_timeout(),
            Error::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// Whether the request certainly changed nothing.
    pub fn is_undone(&self) -> bool {
        match self {
            Error::Server(failure) => match failure.code {
                Code::Internal | Code::Io | Code::Corrupt | Code::Other(_) => false,
                _ => failure.job().is_none(),
            },
            Error::Connect { .. }
            | Error::Tls { .. }
            | Error::OtherStore { .. }
            | Error::Closed { .. }
            | Error::NotSent { .. }
            | Error::TooLarge { .. }
            | Error::Option(_) => true,
            Error::Lost { .. }
            | Error::Unsettled { .. }
            | Error::TimedOut { .. }
            | Error::Protocol(_) => false,
        }
    }

    /// The outcome of a call whose last try ended with this. `earlier` is the error of an earlier try
    /// that may have been done. The most uncertain try counts.
    pub(super) fn after(self, earlier: Option<Error>) -> Error {
        let Some(earlier) = earlier else { return self };
        let knows_less = self.is_undone() || earlier.job().is_some() && self.job().is_none();
        match knows_less {
            true => Error::Unsettled { earlier: Box::new(earlier), last: Box::new(self) },
            false => self,
        }
    }

    /// No connection: an error of TLS or of the operating system.
    pub(super) fn connect(address: &impl fmt::Display, source: io::Error) -> Error {
        let is_tls = source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let (address, source) = (address.to_string(), Arc::new(source));
        match is_tls {
            true => Error::Tls { address, source },
            false => Error::Connect { address, source },
        }
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
            Error::Tls { address, source } => {
                write!(f, "cannot speak TLS with {address}: {source}{}", advice(source))
            }
            Error::OtherStore { address, expected, found } => {
                write!(f, "{address} serves store {found}, and not {expected} as before")
            }
            Error::Closed { reason } => f.write_str(reason),
            Error::NotSent { reason } => write!(f, "the request was not sent: {reason}"),
            Error::Unsettled { earlier, last } => write!(
                f,
                "it is not known whether the request was done: {earlier}; tried again: {last}"
            ),
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
            Error::Connect { source, .. } | Error::Tls { source, .. } => Some(&**source),
            Error::Unsettled { last, .. } => Some(&**last),
            _ => None,
        }
    }
}

/// Advice for a server certificate that is its own authority. It is a frequent mistake, and the message
/// of TLS does not explain it.
fn advice(source: &io::Error) -> &'static str {
    // The type belongs to a crate that only rustls depends on.
    match format!("{source:?}").contains("CaUsedAsEndEntity") {
        true => {
            " (the certificate is an authority's, CA:TRUE, which no server may show as its own: make \
             one with CA:FALSE, or one that the authority has signed)"
        }
        false => "",
    }
}

impl From<Failure<'_>> for Error {
    fn from(failure: Failure<'_>) -> Error {
        Error::Server(failure.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: Code) -> Error {
        Error::Server(Failure::new(code, "no"))
    }

    #[test]
    fn most_uncertain_try_is_the_outcome_of_a_call() {
        let lost = || Error::Lost { reason: "cut".into() };
        let refused = || Error::connect(&"here", io::ErrorKind::ConnectionRefused.into());
        assert!(refused().after(None).is_undone(), "a single try is its own outcome");
        for last in [refused(), server(Code::Denied), Error::NotSent { reason: String::new() }] {
            let retryable = last.is_retryable();
            let code = last.code();
            let unsettled = last.after(Some(lost()));
            assert!(matches!(unsettled, Error::Unsettled { .. }), "{unsettled}");
            assert!(!unsettled.is_undone(), "{unsettled}");
            assert_eq!((unsettled.is_retryable(), unsettled.code()), (retryable, code));
        }
        let given_up = Failure::new(Code::ShuttingDown, "no").with("job", "a job");
        let known = lost().after(Some(Error::Server(given_up)));
        assert_eq!(known.job(), Some("a job"), "the job of the earlier try is kept");
        assert!(matches!(lost().after(Some(lost())), Error::Lost { .. }));
    }

    #[test]
    fn error_that_needs_repair_is_not_retryable() {
        let expired = rustls::CertificateError::Expired;
        let tls = io::Error::other(rustls::Error::InvalidCertificate(expired));
        let tls = Error::connect(&"here", tls);
        assert!(matches!(tls, Error::Tls { .. }) && tls.is_undone(), "{tls}");
        assert!(!tls.is_retryable() && !server(Code::Unauthenticated).is_retryable());
        for (kind, heals) in [
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::NotFound, true),
            (io::ErrorKind::TimedOut, true),
            (io::ErrorKind::PermissionDenied, false),
            (io::ErrorKind::InvalidInput, false),
        ] {
            assert_eq!(Error::connect(&"here", kind.into()).is_retryable(), heals, "{kind}");
        }
    }
}
