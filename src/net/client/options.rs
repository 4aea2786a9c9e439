//! Options of a client: token, TLS, time limits, limits of memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::Secret;
use crate::net::proto::{MAX_BODY, MAX_HELLO};

/// How to connect, and how requests are sent.
///
/// Defaults: no token, no TLS, 5 s for a connection, 30 s for a request, four tries of what is safe to
/// repeat, 1024 requests in flight.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(super) token: Secret,
    pub(super) tls_roots: Option<PathBuf>,
    pub(super) tls_system_roots: bool,
    pub(super) tls_name: Option<String>,
    /// The files of the certificate chain and of its key.
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Option<Duration>,
    pub(super) tries: u32,
    pub(super) backoff_min: Duration,
    pub(super) backoff_max: Duration,
    pub(super) keep_alive: Duration,
    pub(super) max_in_flight: u32,
    pub(super) max_queued_bytes: usize,
    pub(super) max_body: u32,
    pub(super) any_store: bool,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            token: Secret::default(),
            tls_roots: None,
            tls_system_roots: false,
            tls_name: None,
            client_certificate: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Some(Duration::from_secs(30)),
            tries: 4,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(2),
            keep_alive: Duration::from_secs(15),
            max_in_flight: 1024,
            max_queued_bytes: 4 << 20,
            max_body: MAX_BODY,
            any_store: false,
        }
    }
}

impl ClientOptions {
    /// The secret that identifies the client.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Secret::fixed(token.into());
        self
    }

    /// As [`ClientOptions::token`], with a token that is fetched for each connection, so that one that
    /// expires can be renewed. `token` is called from the client's task and must not block for long.
    #[must_use]
    pub fn token_from(mut self, token: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.token = Secret::renewed(token);
        self
    }

    /// Turns TLS on, and trusts the certificates in this file (PEM). It trusts no others unless
    /// [`ClientOptions::tls_system_roots`] is set too.
    #[must_use]
    pub fn tls_roots(mut self, file: impl AsRef<Path>) -> Self {
        self.tls_roots = Some(file.as_ref().to_owned());
        self
    }

    /// Turns TLS on, and trusts the authorities of the operating system. If the environment sets
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR`, it trusts those in that file or directory instead. They are
    /// read when the client is made.
    #[must_use]
    pub fn tls_system_roots(mut self) -> Self {
        self.tls_system_roots = true;
        self
    }

    /// The client's own certificate chain, for a server that asks for one, and its private key. Both
    /// are files in PEM. Needs roots, as [`ClientOptions::tls_name`]. The certificate lets the client
    /// in; its rights come from the token.
    #[must_use]
    pub fn client_certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.client_certificate = Some((chain.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }

    /// The name in the server's certificate, if it differs from that in the address. Needs
    /// [`ClientOptions::tls_roots`] or [`ClientOptions::tls_system_roots`].
    #[must_use]
    pub fn tls_name(mut self, name: impl Into<String>) -> Self {
        self.tls_name = Some(name.into());
        self
    }

    /// The time to connect to an address, with the handshake. All targets of the address share it. A
    /// request waits this long for a connection that is down.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// The deadline of each request, retries included. `None` for none. The server gets the time that
    /// is left.
    ///
    /// At the deadline the server answers whether a write is in the log
    /// ([`Error::job`](super::Error::job)). The client waits a little longer for that answer: an
    /// eighth of the time, at least 50 ms and at most 1 s.
    #[must_use]
    pub fn request_timeout(mut self, time: Option<Duration>) -> Self {
        self.request_timeout = time;
        self
    }

    /// The most tries of a request that is safe to repeat, the first included.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// The shortest and the longest pause between two tries. It doubles from one to the other, with jitter.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.backoff_min, self.backoff_max) = (min, max.max(min));
        self
    }

    /// After this time of silence the client sends a ping, and ends the connection if no answer comes.
    /// Zero for never: the client then does not notice that a server has vanished.
    #[must_use]
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// The most requests in flight on one connection. The server may allow fewer. Further ones wait.
    #[must_use]
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.max_in_flight = requests.max(1);
        self
    }

    /// The most bytes of requests that are queued to be written. Further requests wait.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.max_queued_bytes = bytes.max(1);
        self
    }

    /// The longest body of an answer, at least 4096 bytes.
    #[must_use]
    pub fn max_body(mut self, bytes: u32) -> Self {
        self.max_body = bytes.max(MAX_HELLO);
        self
    }

    /// Accepts another store at the address of the first one. By default that is
    /// [`Error::OtherStore`](super::Error::OtherStore): receipts, jobs and idempotency keys of one store
    /// mean nothing to another. A retry never goes to another store.
    #[must_use]
    pub fn any_store(mut self) -> Self {
        self.any_store = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::proto::{Hello, MAGIC};

    #[test]
    fn no_debug_output_shows_a_token() {
        let secret = "the reader has this";
        for options in [
            ClientOptions::default().token(secret),
            ClientOptions::default().token_from(move || secret.to_owned()),
        ] {
            for shown in [format!("{options:?}"), format!("{options:#?}")] {
                assert!(shown.contains("token: hidden") && !shown.contains(secret), "{shown}");
            }
        }
        let hello = Hello {
            magic: MAGIC,
            min_version: 1,
            max_version: 1,
            client: "a test",
            token: Some(secret),
            max_body: 1,
            options: Vec::new(),
        };
        let shown = format!("{hello:?}");
        assert!(shown.contains("a test") && !shown.contains(secret), "{shown}");
    }
}
