//! A fake server, whose answers the test writes, over sockets in memory. Without real sockets the clock
//! can stand still: it advances only when no task can run.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::super::address::Address;
use super::super::{Client, ClientOptions, Result};
use crate::net::proto::{
    Failure, Kind, MAX_BODY, Part, Progress, Request, Response, VERSION, Welcome, decode,
};

/// The store that the fake serves by default.
pub(super) const STORE: [u8; 16] = [7; 16];

/// The fake server. Once it is dropped, connections are refused.
pub(super) struct Fake {
    pub(super) address: Address,
    arrivals: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Fake {
    pub(super) fn new() -> Fake {
        let (sender, arrivals) = mpsc::unbounded_channel();
        Fake { address: Address::Memory(vec![sender]), arrivals }
    }

    /// Two servers, and one address for both.
    pub(super) fn two() -> (Fake, Fake, Address) {
        let (one, two) = (Fake::new(), Fake::new());
        let (Address::Memory(first), Address::Memory(second)) = (&one.address, &two.address) else {
            unreachable!()
        };
        let both = Address::Memory([&first[..], &second[..]].concat());
        (one, two, both)
    }

    /// A client, and the server's end of its connection.
    pub(super) async fn client(&mut self, options: ClientOptions) -> (Client, Peer) {
        let connecting = Client::start(vec![self.address.clone()], options);
        let (client, peer) = tokio::join!(connecting, self.greeted());
        (client.unwrap(), peer)
    }

    /// The next connection.
    pub(super) async fn arrival(&mut self) -> Peer {
        let socket = self.arrivals.recv().await.expect("the test holds the address");
        Peer { socket, input: Vec::new() }
    }

    /// The next connection, after its handshake.
    pub(super) async fn greeted(&mut self) -> Peer {
        self.greeted_as(welcome()).await
    }

    pub(super) async fn greeted_as(&mut self, welcome: Welcome<'static>) -> Peer {
        let mut peer = self.arrival().await;
        let hello = peer.asked().await;
        assert_eq!(hello.kind, Kind::Hello);
        peer.say(hello.id, Response::Welcome(welcome)).await;
        peer
    }
}

/// The server's end of a connection.
pub(super) struct Peer {
    socket: DuplexStream,
    input: Vec<u8>,
}

/// The parts of a request that tests look at.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) deadline_ms: u32,
    /// The jobs of a watch.
    pub(super) jobs: Vec<String>,
    /// The token of a `Hello`.
    pub(super) token: Option<String>,
    /// The request that a `Cancel` names.
    pub(super) cancelled: Option<u64>,
}

impl Peer {
    /// The next request; `None` when the client has hung up.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        loop {
            if let Progress::Packet(packet) = decode(&self.input, MAX_BODY).unwrap() {
                let request = Request::decode(&packet).unwrap();
                let jobs = match &request {
                    Request::JobWatch(watch) => watch.jobs.iter().map(|&job| job.into()).collect(),
                    _ => Vec::new(),
                };
                let token = match &request {
                    Request::Hello(hello) => hello.token.map(str::to_owned),
                    _ => None,
                };
                let cancelled = match &request {
                    Request::Cancel(cancel) => Some(cancel.id),
                    _ => None,
                };
                let (id, deadline_ms) = (packet.head.id, packet.head.deadline_ms);
                let asked = Asked { id, kind: request.kind(), deadline_ms, jobs, token, cancelled };
                let used = packet.len_in_buffer();
                self.input.drain(..used);
                return Some(asked);
            }
            if self.socket.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Answers pings and nothing else, until the client has hung up.
    pub(super) async fn answer_pings(mut self) {
        while let Some(asked) = self.next().await {
            if asked.kind == Kind::Ping {
                self.say(asked.id, Response::Pong).await;
            }
        }
    }

    pub(super) async fn asked(&mut self) -> Asked {
        self.next().await.expect("a request")
    }

    /// Answers a request.
    pub(super) async fn say(&mut self, id: u64, response: Response<'_>) {
        self.say_part(id, Part::Last, response).await;
    }

    pub(super) async fn say_part(&mut self, id: u64, part: Part, response: Response<'_>) {
        let mut output = Vec::new();
        response.encode_part(id, part, MAX_BODY, &mut output).unwrap();
        self.write(&output).await;
    }

    pub(super) async fn refuse(&mut self, id: u64, failure: Failure<'_>) {
        self.say(id, Response::Error(failure)).await;
    }

    /// Sends any bytes. The client may be gone.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }
}

pub(super) fn welcome() -> Welcome<'static> {
    Welcome {
        version: VERSION,
        store: STORE,
        incarnation: 1,
        server: "a test".into(),
        max_body: 1 << 20,
        max_in_flight: 100,
        max_subscriptions: 100,
        idle_timeout_ms: 0,
        options: Vec::new(),
    }
}

/// Runs a call while the test plays the server.
pub(super) fn begin<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> tokio::task::JoinHandle<Result<T>> {
    tokio::spawn(call)
}
