//! Accepting connections: from TCP, with or without TLS, and from a Unix socket.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::admission::ConnectionPermit;
use super::connection::Connection;
use super::failure::Failure;
use super::mailbox::Mailbox;
use super::peer::Peer;
use super::server::ServerState;
use super::tls::Tls;
use crate::net::proto::{Code, Failure as Refusal, MAX_HELLO, Response};

/// Connections that may wait to be accepted: after a restart all clients reconnect at once. The
/// operating system may allow fewer.
const BACKLOG: u32 = 4096;
/// The longest pause after an `accept` that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Lingering connections of a server that has just stopped do not block the address.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(Failure::io(format!("listen on {address}")))
}

/// Accepts TCP connections until the task is aborted.
pub(super) async fn accept_tcp(listener: TcpListener, tls: Option<Tls>, state: Arc<ServerState>) {
    let mut backoff = AcceptBackoff::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                backoff.reset();
                welcome_tcp(socket, peer, tls.clone(), &state);
            }
            Err(error) => backoff.wait(&error).await,
        }
    }
}

fn welcome_tcp(socket: TcpStream, peer: SocketAddr, tls: Option<Tls>, state: &Arc<ServerState>) {
    prepare(&socket);
    let Some(permit) = admit(Some(peer.ip()), state) else {
        if tls.is_none() {
            turn_away(socket, TcpStream::into_std, state);
        }
        return;
    };
    let state = Arc::clone(state);
    let Some(tls) = tls else {
        tokio::spawn(serve(socket, permit, state, Peer::Address(peer)));
        return;
    };
    tokio::spawn(async move {
        let handshake = async {
            if !speaks_tls(&socket).await? {
                return Ok(Err(socket));
            }
            tls.acceptor().accept(socket).await.map(Ok)
        };
        match timeout(state.shared.limits.handshake, handshake).await {
            Ok(Ok(Ok(socket))) => serve(socket, permit, state, Peer::Address(peer)).await,
            Ok(Ok(Err(socket))) => {
                state.shared.metrics.ended(Code::BadHandshake);
                tell(socket, Code::BadHandshake, "this port expects TLS").await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, "TLS: {error}"),
            Err(_) => {
                state.shared.metrics.ended(Code::TooSlow);
                tracing::debug!(%peer, "TLS: the handshake took too long");
            }
        }
    });
}

/// Whether the first byte is that of a TLS handshake, or the client has closed. Consumes nothing.
async fn speaks_tls(socket: &TcpStream) -> io::Result<bool> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    Ok(socket.peek(&mut first).await? == 0 || first == [HANDSHAKE])
}

/// Accepts connections of a Unix socket until the task is aborted.
#[cfg(unix)]
pub(super) async fn accept_unix(listener: tokio::net::UnixListener, state: Arc<ServerState>) {
    let mut backoff = AcceptBackoff::default();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                backoff.reset();
                match admit(None, &state) {
                    Some(permit) => {
                        let state = Arc::clone(&state);
                        drop(tokio::spawn(serve(socket, permit, state, Peer::Local)));
                    }
                    None => turn_away(socket, tokio::net::UnixStream::into_std, &state),
                }
            }
            Err(error) => backoff.wait(&error).await,
        }
    }
}

/// Back-off after an `accept` that failed, most likely because the process is out of descriptors. Logs
/// the first failure, and the recovery.
#[derive(Default)]
pub(super) struct AcceptBackoff {
    pause: Option<Duration>,
}

impl AcceptBackoff {
    pub(super) async fn wait(&mut self, error: &io::Error) {
        let pause = match self.pause {
            None => {
                tracing::warn!("accept: {error}; no connection is accepted until this is resolved");
                Duration::from_millis(10)
            }
            Some(last) => (2 * last).min(LONGEST_PAUSE),
        };
        self.pause = Some(pause);
        tokio::time::sleep(pause).await;
    }

    pub(super) fn reset(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("connections are accepted again");
        }
    }
}

fn admit(address: Option<IpAddr>, state: &Arc<ServerState>) -> Option<ConnectionPermit> {
    let metrics = &state.shared.metrics;
    metrics.accepted.inc();
    match state.admission.admit(address) {
        Ok(permit) => Some(permit),
        Err(why) => {
            metrics.ended(Code::TooManyConnections);
            state.shared.turned_away(address, why);
            None
        }
    }
}

/// Tells a client that the server is full. `into_std` makes its socket a plain non-blocking one.
fn turn_away<S, T>(socket: S, into_std: fn(S) -> io::Result<T>, state: &ServerState)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Read + Write,
{
    let (code, message) = (Code::TooManyConnections, "there is no room for another connection");
    match Arc::clone(&state.refusals).try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(async move {
            tell(socket, code, message).await;
            drop(place);
        })),
        // Enough tasks do this already: send the refusal once, and wait for nothing.
        Err(_) => drop(into_std(socket).and_then(|mut socket| {
            let told = socket.write(&refusal(code, message))?;
            while socket.read(&mut [0; 1024])? > 0 {}
            Ok(told)
        })),
    }
}

/// Tells a client why it is not served. The client has a second to read it.
async fn tell(mut socket: impl AsyncRead + AsyncWrite + Unpin, code: Code, message: &str) {
    let _ = timeout(Duration::from_secs(1), async {
        socket.write_all(&refusal(code, message)).await?;
        socket.shutdown().await?;
        // Unread input would turn the close into a reset, which may overtake the refusal.
        while socket.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// The packet with the reason why a connection ends.
fn refusal(code: Code, message: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let refusal = Response::Error(Refusal::new(code, message));
    refusal.encode(0, MAX_HELLO, &mut packet).expect("it is short");
    packet
}

/// Serves a connection to its end.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    permit: ConnectionPermit,
    state: Arc<ServerState>,
    peer: Peer,
) {
    let mailbox = Arc::new(Mailbox::of(peer));
    let number = state.register(&mailbox);
    state.shared.metrics.open.inc();
    let connection = Connection::new(socket, Arc::clone(&state.shared), mailbox, permit);
    if let Err(error) = connection.await {
        tracing::debug!(%peer, "connection: {error}");
    }
    state.shared.metrics.open.dec();
    state.unregister(number);
}

/// A peer that acknowledges nothing for this time has vanished.
#[cfg(target_os = "linux")]
const VANISHED_MS: u32 = 120_000;

/// Sets socket options: answers go out at once, and a vanished peer is noticed.
pub(super) fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    #[cfg(unix)]
    {
        use rustix::net::sockopt;
        let _ = sockopt::set_socket_keepalive(socket, true);
        #[cfg(target_os = "linux")]
        {
            let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(60));
            let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(20));
            let _ = sockopt::set_tcp_keepcnt(socket, 3);
            // Keep-alive probes are not sent while data is unacknowledged.
            let _ = sockopt::set_tcp_user_timeout(socket, VANISHED_MS);
        }
    }
}
