//! A client that sends raw packets, and servers for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::engine::disk::{Op, SimDisk};
use crate::net::proto::{
    Code, Failure, Get, Hello, JobState, MAGIC, MAX_BODY, Mode, Packet, Part, Progress, Put,
    Request, Response, VERSION, decode,
};
use crate::net::server::{Config, Server};
use crate::{Options, Store};

/// Long enough for any machine: only a test that hangs takes it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store on a simulated disk, with a keyspace `rows`.
pub(super) fn store() -> Store {
    let store = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
    store.keyspace("rows").unwrap();
    store
}

/// Holds back the device's flushes, or its reads.
#[derive(Clone, Default)]
pub(super) struct Hold(Arc<(Mutex<Held>, Condvar)>);

#[derive(Default)]
struct Held {
    is_held: bool,
    waiting: usize,
}

impl Hold {
    /// A store whose flushes can be held back.
    pub(super) fn store() -> (Store, Hold) {
        Hold::store_on(&SimDisk::new())
    }

    /// Two holds on a disk: for its flushes, and for its reads.
    pub(super) fn of(disk: &SimDisk) -> (Hold, Hold) {
        let holds = (Hold::default(), Hold::default());
        let (flushes, reads) = holds.clone();
        disk.watch(move |_, call| match call.op {
            Op::MapSync | Op::Sync => flushes.pass(),
            Op::Read => reads.pass(),
            _ => {}
        });
        holds
    }

    pub(super) fn store_on(disk: &SimDisk) -> (Store, Hold) {
        let (hold, _) = Hold::of(disk);
        let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
        store.keyspace("rows").unwrap();
        (store, hold)
    }

    pub(super) fn hold(&self) {
        self.0.0.lock().is_held = true;
    }

    pub(super) fn let_go(&self) {
        self.0.0.lock().is_held = false;
        self.0.1.notify_all();
    }

    /// Whether a call waits to be let go.
    pub(super) fn has_somebody(&self) -> bool {
        self.0.0.lock().waiting > 0
    }

    fn pass(&self) {
        let mut held = self.0.0.lock();
        held.waiting += 1;
        self.0.1.wait_while(&mut held, |held| held.is_held);
        held.waiting -= 1;
    }
}

/// Releases waiting threads, also when a test fails.
impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The default configuration, on a free port.
pub(super) fn config() -> Config {
    Config { listen: vec!["127.0.0.1:0".into()], pool_threads: 2, ..Config::default() }
}

pub(super) async fn serve(store: Store, config: &Config) -> (Server, SocketAddr) {
    let server = Server::start(store, config).await.unwrap();
    let address = server.addresses()[0];
    (server, address)
}

/// An answer, with a copy of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) part: Part,
    kind: u8,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn response(&self) -> Response<'_> {
        let head = crate::net::proto::Head {
            id: self.id,
            kind: self.kind,
            part: self.part,
            deadline_ms: 0,
        };
        Response::decode(&Packet { head, body: &self.body }).expect("the server speaks properly")
    }

    pub(super) fn failure(&self) -> Failure<'_> {
        match self.response() {
            Response::Error(failure) => failure,
            other => panic!("{other:?} where an error was expected"),
        }
    }

    pub(super) fn code(&self) -> Code {
        self.failure().code
    }

    pub(super) fn value(&self) -> Option<Vec<u8>> {
        match self.response() {
            Response::Value(value) => value.map(<[u8]>::to_vec),
            other => panic!("{other:?} where a value was expected"),
        }
    }

    pub(super) fn job(&self) -> (String, JobState<'static>) {
        match self.response() {
            Response::Job(job) => (job.job.to_string(), job.state.into_owned()),
            Response::JobEvent(event) => (event.job.to_string(), event.state.into_owned()),
            other => panic!("{other:?} where a job was expected"),
        }
    }
}

/// The client.
pub(super) struct Peer {
    pub(super) socket: TcpStream,
    pub(super) patience: Duration,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Peer {
    /// Connects without a hello.
    pub(super) async fn silent(address: SocketAddr) -> Peer {
        let socket = TcpStream::connect(address).await.unwrap();
        Peer { socket, patience: PATIENCE, input: Vec::new(), output: Vec::new() }
    }

    /// Connects and says hello.
    pub(super) async fn greeted(address: SocketAddr) -> Peer {
        let mut peer = Peer::silent(address).await;
        peer.send(1, &hello(None)).await;
        assert!(matches!(peer.answer().await.response(), Response::Welcome(_)));
        peer
    }

    /// Puts a request into the output.
    pub(super) fn add(&mut self, id: u64, request: &Request<'_>) {
        request.encode(id, 0, MAX_BODY, &mut self.output).unwrap();
    }

    /// Sends what has been put into the output.
    pub(super) async fn flush(&mut self) {
        self.socket.write_all(&self.output).await.unwrap();
        self.output.clear();
    }

    pub(super) async fn send(&mut self, id: u64, request: &Request<'_>) {
        self.add(id, request);
        self.flush().await;
    }

    pub(super) async fn send_within(&mut self, id: u64, deadline_ms: u32, request: &Request<'_>) {
        request.encode(id, deadline_ms, MAX_BODY, &mut self.output).unwrap();
        self.flush().await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Shuts the sending side.
    pub(super) async fn end_output(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    pub(super) async fn try_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next packet, or `None` at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Progress::Packet(packet) = decode(&self.input, MAX_BODY).expect("sound packets")
            {
                let answer = Answer {
                    id: packet.head.id,
                    part: packet.head.part,
                    kind: packet.head.kind,
                    body: packet.body.to_vec(),
                };
                let used = packet.len_in_buffer();
                self.input.drain(..used);
                return Some(answer);
            }
            let read = timeout(self.patience, self.socket.read_buf(&mut self.input)).await;
            match read.expect("the server answers") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn answer(&mut self) -> Answer {
        self.next().await.expect("the connection goes on")
    }

    pub(super) async fn ask(&mut self, id: u64, request: &Request<'_>) -> Answer {
        self.send(id, request).await;
        let answer = self.answer().await;
        assert_eq!(answer.id, id);
        answer
    }
}

pub(super) fn hello(token: Option<&str>) -> Request<'_> {
    Request::Hello(Hello {
        magic: MAGIC,
        min_version: VERSION,
        max_version: VERSION,
        client: "tests",
        token,
        max_body: MAX_BODY,
        options: Vec::new(),
    })
}

pub(super) fn get(key: &str) -> Request<'_> {
    Request::Get(Get { keyspace: "rows", key: key.as_bytes() })
}

pub(super) fn put<'a>(key: &'a str, value: &'a str, mode: Mode) -> Request<'a> {
    let (key, value) = (key.as_bytes(), value.as_bytes());
    Request::Put(Put { keyspace: "rows", key, value, mode, once: None })
}
