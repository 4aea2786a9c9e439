//! Cuts connections at any byte, in either direction, while the server lives.
//!
//! ```text
//!   client <--> cutter <--> server
//!                 after a drawn number of bytes both ends are closed
//! ```

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::engine::disk::sim::rng::SplitMix64;

/// Most bytes of one direction before a cut. One connection in four is cut early: in the handshake,
/// or soon after it.
const LONGEST: u64 = 60_000;
const EARLY: u64 = 400;

/// A proxy that cuts its clients off from a server.
pub(super) struct Cutter {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Cutter {
    /// A proxy in front of the server that listens on `server`.
    pub(super) fn before(server: &Path, seed: u64) -> io::Result<Cutter> {
        let socket = server.with_extension("cut");
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&socket)?;
        let task = tokio::spawn(stand_between(listener, server.to_owned(), SplitMix64::new(seed)));
        Ok(Cutter { socket, task })
    }

    pub(super) fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn stand_between(listener: UnixListener, server: PathBuf, mut rng: SplitMix64) {
    // Dropped with this, so that no connection outlives the cutter.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let longest = if rng.below(4) == 0 { EARLY } else { LONGEST };
        let (there, back) = (rng.below(longest), rng.below(longest));
        let server = server.clone();
        connections.spawn(async move {
            let Ok(server) = UnixStream::connect(&server).await else { return };
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            // The direction that is cut first ends both.
            tokio::select! {
                _ = pass(client_reads, server_writes, there) => {}
                _ = pass(server_reads, client_writes, back) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on at most `bytes`.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: u64,
) -> io::Result<()> {
    let (mut left, mut buffer) = (bytes, [0; 4096]);
    while left > 0 {
        let most = left.min(buffer.len() as u64) as usize;
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        left -= read as u64;
    }
    Ok(())
}
