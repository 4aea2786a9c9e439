//! `--connect ADDR` in place of the directory, and the connection to that server.
//!
//! The directory comes first on the command line. With `--connect` a marker is inserted in its place
//! before clap parses the words, so that keys and values keep their positions.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::net::client::{Client, ClientOptions};
use crate::tools::bench::Target;

/// The word in the place of the directory.
const MARKER: &str = "(a server)";

/// Inserts the marker in the place of the directory if the words name a server.
pub(super) fn mark(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let is_connect =
        |word: &OsString| word == "--connect" || word.as_encoded_bytes().starts_with(b"--connect=");
    let options = words.iter().take_while(|word| *word != "--");
    const COMMANDS: [&str; 10] = [
        "put",
        "get",
        "del",
        "scan",
        "import",
        "info",
        "verify",
        "keyspaces",
        "drop",
        "checkpoint",
    ];
    let takes_one = words.get(1).is_some_and(|word| COMMANDS.iter().any(|name| word == name));
    // `job` without arguments is left to clap, which says what is missing.
    let is_job = words.get(1).is_some_and(|word| word == "job") && words.len() > 2;
    if is_job || takes_one && options.skip(2).any(is_connect) {
        words.insert(2, MARKER.into());
    }
    words
}

/// A server, in place of a directory.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server to ask, in place of DIR: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR")]
    pub(super) connect: Option<String>,
    /// The file that holds the token for the server
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub(super) token_file: Option<PathBuf>,
    /// Speak TLS, and trust the certificates in this file, in PEM
    #[arg(long, value_name = "FILE", requires = "connect", group = "roots")]
    pub(super) tls_roots: Option<PathBuf>,
    /// Speak TLS, and trust the authorities of the system
    #[arg(long, requires = "connect", group = "roots")]
    pub(super) tls_system_roots: bool,
    /// The name in the server's certificate [default: that in ADDR]
    #[arg(long, value_name = "NAME", requires = "roots")]
    pub(super) tls_name: Option<String>,
    /// Our own certificate, for the server, in PEM
    #[arg(long, value_name = "FILE", requires = "roots", requires = "tls_client_key")]
    pub(super) tls_client_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_client_cert")]
    pub(super) tls_client_key: Option<PathBuf>,
}

/// A server to connect to.
pub(super) struct Asked<'a> {
    address: &'a str,
    remote: &'a Remote,
}

impl Remote {
    /// The server, if one is named.
    pub(super) fn is_asked(&self) -> Option<Asked<'_>> {
        self.connect.as_deref().map(|address| Asked { address, remote: self })
    }

    /// The same, for a benchmark.
    pub(super) fn target(&self) -> Result<Option<Target>, Failure> {
        let Some(asked) = self.is_asked() else { return Ok(None) };
        Ok(Some(Target { address: asked.address.to_owned(), options: asked.options()? }))
    }
}

impl Asked<'_> {
    fn options(&self) -> Result<ClientOptions, Failure> {
        let mut options = Client::options();
        if let Some(file) = &self.remote.token_file {
            let token = fs::read_to_string(file);
            let token = token.map_err(Failure::io(format!("read {}", file.display())))?;
            options = options.token(token.trim());
        }
        if let Some(file) = &self.remote.tls_roots {
            options = options.tls_roots(file);
        }
        if self.remote.tls_system_roots {
            options = options.tls_system_roots();
        }
        if let (Some(chain), Some(key)) =
            (&self.remote.tls_client_cert, &self.remote.tls_client_key)
        {
            options = options.client_certificate(chain, key);
        }
        if let Some(name) = &self.remote.tls_name {
            options = options.tls_name(name);
        }
        Ok(options)
    }

    /// Connects, and does the work.
    pub(super) fn with<T>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let options = self.options()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::io("start a runtime"))?;
        runtime.block_on(async { work(options.connect(self.address).await?).await })
    }

    /// Connects, for many requests.
    pub(super) fn session(&self) -> Result<Session, Failure> {
        let options = self.options()?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Failure::io("start a runtime"))?;
        let client = runtime.block_on(options.connect(self.address))?;
        Ok(Session { runtime, client })
    }
}

/// A connection for many requests.
pub(super) struct Session {
    runtime: tokio::runtime::Runtime,
    pub(super) client: Client,
}

impl Session {
    /// Waits for an answer.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(words: &str) -> String {
        let words = mark(words.split(' ').map(OsString::from));
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn marker_takes_the_place_of_the_directory() {
        assert_eq!(marked("s get DIR KEY"), "s get DIR KEY");
        assert_eq!(marked("s get --connect A KEY"), "s get (a server) --connect A KEY");
        assert_eq!(marked("s get KEY --connect=A"), "s get (a server) KEY --connect=A");
        assert_eq!(marked("s job ID"), "s job (a server) ID");
        assert_eq!(marked("s job"), "s job");
        assert_eq!(marked("s drop --connect A NAME"), "s drop (a server) --connect A NAME");
        assert_eq!(marked("s put DIR -- --connect V"), "s put DIR -- --connect V");
        assert_eq!(marked("s bench server --connect A"), "s bench server --connect A");
    }
}
