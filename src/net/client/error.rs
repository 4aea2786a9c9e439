//! What can go wrong between a client and a server, by what can be done about it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::base::lsn::StoreId;
use crate::net::proto::{Code, Failure};

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
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The server was reached, but TLS does not trust it or cannot talk to it: its certificate has
    /// expired, has another name or an unknown issuer, or it speaks no TLS. Nothing was sent.
    Tls {
        /// The server's address.
        address: String,
        /// What TLS said.
        source: Arc<io::Error>,
    },
    /// Another store is served where the client's was. Nothing was sent to it: see
    /// [`ClientOptions::any_store`](super::ClientOptions::any_store).
    OtherStore {
        /// The server's address.
        address: String,
        /// The store that was met first.
        expected: StoreId,
        /// The store that is served now.
        found: StoreId,
    },
    /// The client was closed, or the runtime that it was made in has ended. Nothing was sent.
    Closed {
        /// Which of these.
        reason: String,
    },
    /// The request did not go out: its connection ended first, or there was no room for it in time.
    /// Nothing was done.
    NotSent {
        /// Why it did not.
        reason: String,
    },
    /// The connection ended while the request was under way. A write may have been done or not:
    /// one with an idempotency key can be tried again.
    Lost {
        /// Why it ended.
        reason: String,
    },
    /// The request was sent more than once, which was safe, and no try came to an answer that
    /// settles it. A write may have been done by the earlier try.
    Unsettled {
        /// How the earlier try ended: it may have been done.
        earlier: Box<Error>,
        /// How the last one ended.
        last: Box<Error>,
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
            Error::Unsettled { last, .. } => last.code(),
            _ => None,
        }
    }

    /// The job that tells what becomes of a write that is in the log although it was answered with
    /// this error: it was given up, or a flush has failed. Then the server's next life tells. Without
    /// one the server has done nothing, as far as it can say ([`Error::is_undone`]).
    pub fn job(&self) -> Option<&str> {
        match self {
            Error::Server(failure) => failure.job(),
            Error::Unsettled { earlier, last } => last.job().or(earlier.job()),
            _ => None,
        }
    }

    /// Whether the same request may succeed later with nobody's help: false for what somebody has
    /// to mend first, such as a certificate. Not whether it is safe to send it again: see
    /// [`Error::is_undone`].
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

    /// Whether the time was up: the server's ([`Code::DeadlineExceeded`]), which says of a write
    /// whether it is in the log, or the client's, which cannot.
    pub fn is_timeout(&self) -> bool {
        match self {
            Error::Server(failure) => failure.code == Code::DeadlineExceeded,
            Error::Unsettled { last, .. } => last.is_timeout(),
            Error::TimedOut { .. } => true,
            _ => false,
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

    /// What a call came to whose last try ended with this, after a try that ended with `earlier`,
    /// if one did, and may have been done. The most uncertain try counts.
    pub(super) fn after(self, earlier: Option<Error>) -> Error {
        let Some(earlier) = earlier else { return self };
        let knows_less = self.is_undone() || earlier.job().is_some() && self.job().is_none();
        match knows_less {
            true => Error::Unsettled { earlier: Box::new(earlier), last: Box::new(self) },
            false => self,
        }
    }

    /// No connection, since the operating system or TLS refused.
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

/// What to do about a certificate that is its own authority: a frequent way to make one, of which TLS
/// says no more than a name of its own.
fn advice(source: &io::Error) -> &'static str {
    // The type is that of a crate that only rustls sees.
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
    fn most_uncertain_try_decides_what_a_call_came_to() {
        let lost = || Error::Lost { reason: "cut".into() };
        let refused = || Error::connect(&"here", io::ErrorKind::ConnectionRefused.into());
        assert!(refused().after(None).is_undone(), "a single try speaks for itself");
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
        assert_eq!(known.job(), Some("a job"), "what is known of the earlier try is not forgotten");
        assert!(matches!(lost().after(Some(lost())), Error::Lost { .. }));
    }

    #[test]
    fn what_cannot_heal_by_itself_is_not_retryable() {
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
