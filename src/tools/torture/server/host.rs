//! A `syncline serve` process on a directory, from its start to its end by SIGKILL.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::sim::Violation;
use super::super::{Clause, FailureKind};
use super::cutter::Cutter;
use crate::net::client::{Client, ClientOptions, Error};

/// A server that has not opened its store after this time hangs. The stores are small: recovery takes
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The timeout of a request. No request takes a hundredth of it.
const ANSWER: Duration = Duration::from_secs(10);
/// Every system allows socket addresses of this length.
const LONGEST_SOCKET: usize = 96;

/// Settings that cause checkpoints, evictions and recycled segments.
const SMALL: [&str; 5] =
    ["checkpoint_log_mib=1", "log_segment_mib=1", "cache_mib=4", "threads=2", "pool_threads=4"];

/// A store, and the process that serves it.
pub(super) struct Host<'a> {
    program: &'a Path,
    /// The mutant that is switched on in the server.
    mutant: Option<&'a str>,
    directory: PathBuf,
    socket: PathBuf,
    child: Option<Child>,
}

impl<'a> Host<'a> {
    /// A host whose store and log are in `directory`.
    pub(super) fn new(
        program: &'a Path,
        mutant: Option<&'a str>,
        directory: PathBuf,
    ) -> io::Result<Host<'a>> {
        fs::create_dir_all(&directory)?;
        let mut socket = directory.join("socket");
        if socket.as_os_str().len() > LONGEST_SOCKET {
            let name = crc32fast::hash(directory.as_os_str().as_encoded_bytes());
            let name = format!("syncline-{}-{name:08x}", std::process::id());
            socket = std::env::temp_dir().join(name);
        }
        Ok(Host { program, mutant, directory, socket, child: None })
    }

    /// Starts a process. The store is not open yet.
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        assert!(self.child.is_none(), "the one before was killed");
        let start = || -> io::Result<Child> {
            let mut server = Command::new(self.program);
            server.arg("serve").arg(self.store());
            server.args(["--listen", "127.0.0.1:0", "--log", "warn", "--unix"]).arg(&self.socket);
            for option in SMALL {
                server.args(["--set", option]);
            }
            if let Some(mutant) = self.mutant {
                server.env(crate::engine::mutants::VARIABLE, mutant);
            }
            // Ctrl-C is meant for the suite, which then reports its results so far.
            server.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
            server.stderr(File::create(self.log())?).spawn()
        };
        let child = start().map_err(|error| harness(format!("cannot start a server: {error}")))?;
        self.child = Some(child);
        Ok(())
    }

    /// Connects as soon as the server listens.
    pub(super) async fn client(&mut self) -> Result<Client, Violation> {
        let address = format!("unix:{}", self.socket.display());
        let options = Client::options().tries(1).request_timeout(Some(ANSWER));
        self.client_at(&address, options).await
    }

    /// A cutter in front of the server, and a client behind it that retries what is safe.
    pub(super) async fn cut_client(&mut self, seed: u64) -> Result<(Cutter, Client), Violation> {
        let cutter = Cutter::before(&self.socket, seed);
        let cutter = cutter.map_err(|error| harness(format!("cutting connections: {error}")))?;
        let ms = Duration::from_millis;
        let options = Client::options().backoff(ms(1), ms(4)).request_timeout(Some(ANSWER));
        let client = self.client_at(&cutter.address(), options).await?;
        Ok((cutter, client))
    }

    async fn client_at(
        &mut self,
        address: &str,
        options: ClientOptions,
    ) -> Result<Client, Violation> {
        let begun = Instant::now();
        loop {
            let error = match options.clone().connect(address).await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let child = self.child.as_mut().expect("started before");
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Violation::liveness(format!("the server does not start: {status}")));
            }
            if begun.elapsed() > PATIENCE {
                let what = format!("the server does not listen after {PATIENCE:?}: {error}");
                return Err(Violation::liveness(what));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Kills the process. It is a violation if the process had ended by itself or panicked.
    pub(super) fn kill(&mut self) -> Result<(), Violation> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let ended = child.try_wait();
        // The process may be gone already.
        let _ = child.kill();
        let _ = child.wait();
        match ended {
            Ok(Some(status)) => Err(Violation::safety(format!("the server has ended: {status}"))),
            _ if self.last_words().iter().any(|line| line.contains("panicked at")) => {
                Err(Violation::safety("a thread of the server panicked"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The last lines of the server's log.
    pub(super) fn last_words(&self) -> Vec<String> {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_file(&self.socket);
    }
}

/// The violation of an error to a request that a living server must answer.
pub(super) fn unanswered(what: &str, error: &Error) -> Violation {
    match error {
        Error::TimedOut { .. } | Error::Connect { .. } => {
            Violation::liveness(format!("{what}: {error}"))
        }
        _ => Violation::safety(format!("{what}: {error}")),
    }
}

/// A failure of the suite itself.
pub(super) fn harness(what: String) -> Violation {
    Violation { kind: FailureKind::Harness, clause: Clause::Answers, what }
}
