//! Accepting connections: from TCP, with or without TLS, and from a Unix socket.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::connection::Connection;
use super::failure::Failure;
use super::gate::Seat;
use super::mailbox::Mailbox;
use super::peer::Peer;
use super::server::Inside;
use super::tls::Tls;
use crate::net::proto::{Code, Failure as Refusal, MAX_HELLO, Response};

/// Connections that may wait to be accepted: as many as come back at once after a restart. The
/// operating system may allow fewer.
const BACKLOG: u32 = 4096;
/// The longest pause after an `accept` that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listens on an address that is ours to listen on.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Connections of a server that has just ended are in nobody's way.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(Failure::io(format!("listen on {address}")))
}

/// Accepts from TCP for ever.
pub(super) async fn accept_tcp(listener: TcpListener, tls: Option<Tls>, inside: Arc<Inside>) {
    let mut trouble = Trouble::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                trouble.is_over();
                welcome_tcp(socket, peer, tls.clone(), &inside);
            }
            Err(error) => trouble.pause(&error).await,
        }
    }
}

fn welcome_tcp(socket: TcpStream, peer: SocketAddr, tls: Option<Tls>, inside: &Arc<Inside>) {
    prepare(&socket);
    let Some(seat) = admit(Some(peer.ip()), inside) else {
        if tls.is_none() {
            turn_away(socket, TcpStream::into_std, inside);
        }
        return;
    };
    let inside = Arc::clone(inside);
    let Some(tls) = tls else {
        tokio::spawn(serve(socket, seat, inside, Peer::Address(peer)));
        return;
    };
    tokio::spawn(async move {
        let handshake = async {
            if !speaks_tls(&socket).await? {
                return Ok(Err(socket));
            }
            tls.acceptor().accept(socket).await.map(Ok)
        };
        match timeout(inside.shared.limits.handshake, handshake).await {
            Ok(Ok(Ok(socket))) => serve(socket, seat, inside, Peer::Address(peer)).await,
            Ok(Ok(Err(socket))) => {
                inside.shared.metrics.ended(Code::BadHandshake);
                tell(socket, Code::BadHandshake, "TLS is spoken here").await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, "TLS: {error}"),
            Err(_) => {
                inside.shared.metrics.ended(Code::TooSlow);
                tracing::debug!(%peer, "TLS: the handshake took too long");
            }
        }
    });
}

/// Whether a client begins a TLS handshake, of which it has sent nothing yet that was read.
async fn speaks_tls(socket: &TcpStream) -> io::Result<bool> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    Ok(socket.peek(&mut first).await? == 0 || first == [HANDSHAKE])
}

/// Accepts from a Unix socket for ever.
#[cfg(unix)]
pub(super) async fn accept_unix(listener: tokio::net::UnixListener, inside: Arc<Inside>) {
    let mut trouble = Trouble::default();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                trouble.is_over();
                match admit(None, &inside) {
                    Some(seat) => {
                        let inside = Arc::clone(&inside);
                        drop(tokio::spawn(serve(socket, seat, inside, Peer::Local)));
                    }
                    None => turn_away(socket, tokio::net::UnixStream::into_std, &inside),
                }
            }
            Err(error) => trouble.pause(&error).await,
        }
    }
}

/// Accepting fails, for want of descriptors most likely: to try again at once would only burn the
/// processor. Said once, until it goes again.
#[derive(Default)]
pub(super) struct Trouble {
    pause: Option<Duration>,
}

impl Trouble {
    pub(super) async fn pause(&mut self, error: &io::Error) {
        let pause = match self.pause {
            None => {
                tracing::warn!("accept: {error}; no connection is accepted until that is over");
                Duration::from_millis(10)
            }
            Some(last) => (2 * last).min(LONGEST_PAUSE),
        };
        self.pause = Some(pause);
        tokio::time::sleep(pause).await;
    }

    pub(super) fn is_over(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("connections are accepted again");
        }
    }
}

fn admit(address: Option<IpAddr>, inside: &Arc<Inside>) -> Option<Seat> {
    let metrics = &inside.shared.metrics;
    metrics.accepted.inc();
    match inside.gate.enter(address) {
        Ok(seat) => Some(seat),
        Err(why) => {
            metrics.ended(Code::TooManyConnections);
            inside.shared.turned_away(address, why);
            None
        }
    }
}

/// Tells a client that there is no room. `into_std` makes its socket one that nobody waits for.
fn turn_away<S, T>(socket: S, into_std: fn(S) -> io::Result<T>, inside: &Inside)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Read + Write,
{
    let (code, message) = (Code::TooManyConnections, "there is no room for another connection");
    match Arc::clone(&inside.told).try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(async move {
            tell(socket, code, message).await;
            drop(place);
        })),
        // It is told all the same, but nobody waits until it has heard it.
        Err(_) => drop(into_std(socket).and_then(|mut socket| {
            let told = socket.write(&refusal(code, message))?;
            while socket.read(&mut [0; 1024])? > 0 {}
            Ok(told)
        })),
    }
}

/// Tells a client why it is not served. It has a second to hear it.
async fn tell(mut socket: impl AsyncRead + AsyncWrite + Unpin, code: Code, message: &str) {
    let _ = timeout(Duration::from_secs(1), async {
        socket.write_all(&refusal(code, message)).await?;
        socket.shutdown().await?;
        // With something unread the end would be a reset, which may overtake what was told.
        while socket.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// The packet that says why a connection ends.
fn refusal(code: Code, message: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let refusal = Response::Error(Refusal::new(code, message));
    refusal.encode(0, MAX_HELLO, &mut packet).expect("it is short");
    packet
}

/// Serves a connection to its end.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    seat: Seat,
    inside: Arc<Inside>,
    peer: Peer,
) {
    let mailbox = Arc::new(Mailbox::of(peer));
    let number = inside.enter(&mailbox);
    inside.shared.metrics.open.inc();
    let connection = Connection::new(socket, Arc::clone(&inside.shared), mailbox, seat);
    if let Err(error) = connection.await {
        tracing::debug!(%peer, "connection: {error}");
    }
    inside.shared.metrics.open.dec();
    inside.leave(number);
}

/// A peer that acknowledges nothing for so long has vanished.
#[cfg(target_os = "linux")]
const VANISHED_MS: u32 = 120_000;

/// Answers go out at once, and a peer that has vanished is noticed.
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
            // While there is something on its way to the peer, nobody asks whether it is alive.
            let _ = sockopt::set_tcp_user_timeout(socket, VANISHED_MS);
        }
    }
}
