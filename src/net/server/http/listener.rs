//! Connections that speak HTTP, from their beginning to their end.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::access::Access;
use super::figures::Turn;
use super::message::Message;
use super::probes;
use super::ready::Readiness;
use super::router::{Endpoint, route};
use super::seats::{Seat, Seats};
use super::socket::Patient;
use crate::net::server::config::Config;
use crate::net::server::failure::Failure;
use crate::net::server::listen::{Trouble, bind, prepare};
use crate::net::server::shared::Shared;
use crate::net::server::tls::Tls;

/// Time for the head of a request, which begins with the connection, or the end of the one before:
/// so it is also how long a connection may rest.
const HEAD: Duration = Duration::from_secs(20);
/// The longest head.
const HEAD_BYTES: usize = 16 << 10;
/// Time for what is being answered when the server ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// An address that HTTP is spoken on.
pub(in crate::net::server) struct Opening {
    socket: TcpListener,
    tls: Option<Tls>,
    access: Access,
}

impl Opening {
    /// Listens on `address`, as far as that is safe (HTTP-1).
    ///
    /// # Errors
    /// [`Failure::Config`] if it is not; [`Failure::Io`] if the address cannot be had.
    pub(in crate::net::server) fn bind(
        address: SocketAddr,
        config: &Config,
        tls: Option<&Tls>,
    ) -> Result<Opening, Failure> {
        let is_open = address.ip().is_loopback() || config.metrics_open;
        if !is_open {
            config.check_metrics_address(address)?;
        }
        Ok(Opening {
            socket: bind(address)?,
            tls: if is_open { None } else { tls.cloned() },
            access: if is_open { Access::Open } else { Access::Token },
        })
    }

    /// Where it listens.
    pub(in crate::net::server) fn address(&self) -> Result<SocketAddr, Failure> {
        self.socket.local_addr().map_err(Failure::io("find out where it listens"))
    }
}

/// What the connections of an address share.
struct Listener {
    shared: Arc<Shared>,
    access: Access,
    turn: Turn,
}

/// Serves an address until `end` says so, and then what is being answered. At most so many
/// `connections` at a time: probes and scrapes need a few.
pub(in crate::net::server) async fn run(
    opening: Opening,
    connections: usize,
    shared: Arc<Shared>,
    mut end: watch::Receiver<bool>,
) {
    let Opening { socket, tls, access } = opening;
    let listener = Arc::new(Listener { shared, access, turn: Turn::default() });
    let seats = Seats::new(connections);
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ended(&mut end) => break,
        };
        match accepted {
            Ok((socket, peer)) => match seats.take() {
                Some(seat) => {
                    trouble.is_over();
                    prepare(&socket);
                    let (listener, end) = (Arc::clone(&listener), end.clone());
                    tokio::spawn(listener.welcome(socket, peer, tls.clone(), seat, end));
                }
                None => turn_away(socket, tls.is_some()),
            },
            Err(error) => trouble.pause(&error).await,
        }
    }
    drop(socket);
    let _ = timeout(2 * GOODBYE, seats.emptied()).await;
}

/// Waits for the end, which has also come when nobody is left to say so.
async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

/// Says that there is no room, as far as that goes without waiting.
fn turn_away(socket: TcpStream, is_tls: bool) {
    tracing::warn!(
        "HTTP: as many connections as may be are being answered, another is turned away"
    );
    if !is_tls && let Ok(mut socket) = socket.into_std() {
        let _ = socket.write(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
              Content-Length: 0\r\n\r\n",
        );
    }
}

impl Listener {
    async fn welcome(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Option<Tls>,
        seat: Seat,
        end: watch::Receiver<bool>,
    ) {
        let seat = Arc::new(seat);
        tokio::select! {
            () = self.shake_hands(socket, peer, tls, Arc::clone(&seat), end) => {}
            () = seat.gives_way() => tracing::debug!(%peer, "HTTP: it said nothing, and gives way"),
        }
    }

    async fn shake_hands(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Option<Tls>,
        seat: Arc<Seat>,
        end: watch::Receiver<bool>,
    ) {
        let Some(tls) = tls else { return self.serve(socket, peer, seat, end).await };
        match timeout(self.shared.limits.handshake, tls.acceptor().accept(socket)).await {
            Ok(Ok(socket)) => self.serve(socket, peer, seat, end).await,
            Ok(Err(error)) => tracing::debug!(%peer, "HTTP: TLS: {error}"),
            Err(_) => tracing::debug!(%peer, "HTTP: TLS: the handshake took too long"),
        }
    }

    /// Serves a connection to its end.
    async fn serve<S>(
        self: Arc<Self>,
        socket: S,
        peer: SocketAddr,
        seat: Arc<Seat>,
        mut end: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + AsyncWriteExt + Unpin + Send + 'static,
    {
        let socket = TokioIo::new(Patient::new(socket, self.shared.limits.write));
        let service = service_fn(move |request| {
            let (this, seat) = (Arc::clone(&self), Arc::clone(&seat));
            async move {
                seat.asks();
                let answer = this.answer(request, peer).await;
                seat.is_answered();
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            // Who says no more may still wait for an answer.
            .half_close(true)
            .serve_connection(socket, service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = ended(&mut end) => {
                connection.as_mut().graceful_shutdown();
                match timeout(GOODBYE, connection).await {
                    Ok(served) => served,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, "HTTP: {error}");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Message {
        let endpoint = match route(request.method(), request.uri().path()) {
            Ok(endpoint) => endpoint,
            Err(refusal) => return *refusal,
        };
        let allowed = self.access.check(request.headers(), peer, &self.shared);
        match (endpoint, allowed) {
            (Endpoint::Live, _) => probes::live(),
            (Endpoint::Ready, allowed) => {
                probes::ready(Readiness::judge(&self.shared).await, allowed.is_ok())
            }
            (Endpoint::Health, allowed) => {
                let judged = Readiness::judge(&self.shared).await;
                probes::health(judged, allowed.is_ok(), request.headers())
            }
            (Endpoint::Metrics, Err(refusal)) => *refusal,
            (Endpoint::Metrics, Ok(())) => self.turn.figures(request.headers(), &self.shared).await,
        }
    }
}
