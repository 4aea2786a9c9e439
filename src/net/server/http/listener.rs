//! The HTTP listener and its connections.

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
use super::figures::ScrapePermit;
use super::message::Message;
use super::probes;
use super::ready::Readiness;
use super::router::{Endpoint, route};
use super::slots::{ConnectionSlot, ConnectionSlots};
use super::socket::WriteTimeout;
use crate::net::server::config::Config;
use crate::net::server::failure::Failure;
use crate::net::server::listen::{AcceptBackoff, bind, prepare};
use crate::net::server::shared::Shared;
use crate::net::server::tls::Tls;

/// Time for the head of a request, from the start of the connection or the end of the last request:
/// so it is also the idle timeout.
const HEAD: Duration = Duration::from_secs(20);
/// The longest head, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// Time for requests in flight when the server stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// A bound address for HTTP.
pub(in crate::net::server) struct HttpListener {
    socket: TcpListener,
    tls: Option<Tls>,
    access: Access,
}

impl HttpListener {
    /// Listens on `address`, if that is safe (HTTP-1).
    ///
    /// # Errors
    /// [`Failure::Config`] if it is unsafe; [`Failure::Io`] if the address cannot be bound.
    pub(in crate::net::server) fn bind(
        address: SocketAddr,
        config: &Config,
        tls: Option<&Tls>,
    ) -> Result<HttpListener, Failure> {
        let is_open = address.ip().is_loopback() || config.metrics_open;
        if !is_open {
            config.check_metrics_address(address)?;
        }
        Ok(HttpListener {
            socket: bind(address)?,
            tls: if is_open { None } else { tls.cloned() },
            access: if is_open { Access::Open } else { Access::Token },
        })
    }

    pub(in crate::net::server) fn address(&self) -> Result<SocketAddr, Failure> {
        self.socket.local_addr().map_err(Failure::io("get the address of a listening socket"))
    }
}

/// The state that the connections share.
struct HttpService {
    shared: Arc<Shared>,
    access: Access,
    scrape: ScrapePermit,
}

/// Serves at most `connections` at a time until `end` is true; then finishes the requests in flight.
pub(in crate::net::server) async fn run(
    listener: HttpListener,
    connections: usize,
    shared: Arc<Shared>,
    mut end: watch::Receiver<bool>,
) {
    let HttpListener { socket, tls, access } = listener;
    let http = Arc::new(HttpService { shared, access, scrape: ScrapePermit::default() });
    let slots = ConnectionSlots::new(connections);
    let mut backoff = AcceptBackoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ended(&mut end) => break,
        };
        match accepted {
            Ok((socket, peer)) => match slots.take() {
                Some(slot) => {
                    backoff.reset();
                    prepare(&socket);
                    let (http, end) = (Arc::clone(&http), end.clone());
                    tokio::spawn(http.welcome(socket, peer, tls.clone(), slot, end));
                }
                None => turn_away(socket, tls.is_some()),
            },
            Err(error) => backoff.wait(&error).await,
        }
    }
    drop(socket);
    let _ = timeout(2 * GOODBYE, slots.emptied()).await;
}

/// Waits for the end: the value true, or a dropped sender.
async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

/// Refuses a connection, without waiting for its socket.
fn turn_away(socket: TcpStream, is_tls: bool) {
    tracing::warn!("HTTP: too many connections are being answered: another one is turned away");
    if !is_tls && let Ok(mut socket) = socket.into_std() {
        let _ = socket.write(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
              Content-Length: 0\r\n\r\n",
        );
    }
}

impl HttpService {
    async fn welcome(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Option<Tls>,
        slot: ConnectionSlot,
        end: watch::Receiver<bool>,
    ) {
        let slot = Arc::new(slot);
        tokio::select! {
            () = self.shake_hands(socket, peer, tls, Arc::clone(&slot), end) => {}
            () = slot.evicted() => tracing::debug!(%peer, "HTTP: idle connection evicted"),
        }
    }

    async fn shake_hands(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Option<Tls>,
        slot: Arc<ConnectionSlot>,
        end: watch::Receiver<bool>,
    ) {
        let Some(tls) = tls else { return self.serve(socket, peer, slot, end).await };
        match timeout(self.shared.limits.handshake, tls.acceptor().accept(socket)).await {
            Ok(Ok(socket)) => self.serve(socket, peer, slot, end).await,
            Ok(Err(error)) => tracing::debug!(%peer, "HTTP: TLS: {error}"),
            Err(_) => tracing::debug!(%peer, "HTTP: TLS: the handshake took too long"),
        }
    }

    /// Serves a connection to its end.
    async fn serve<S>(
        self: Arc<Self>,
        socket: S,
        peer: SocketAddr,
        slot: Arc<ConnectionSlot>,
        mut end: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + AsyncWriteExt + Unpin + Send + 'static,
    {
        let socket = TokioIo::new(WriteTimeout::new(socket, self.shared.limits.write));
        let service = service_fn(move |request| {
            let (this, slot) = (Arc::clone(&self), Arc::clone(&slot));
            async move {
                slot.begin_request();
                let answer = this.answer(request, peer).await;
                slot.end_request();
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            // A client that has shut its sending side may still wait for an answer.
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
            (Endpoint::Metrics, Ok(())) => {
                self.scrape.figures(request.headers(), &self.shared).await
            }
        }
    }
}
