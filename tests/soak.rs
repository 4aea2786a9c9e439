//! The claims of the client's errors, compared with the store, while connections are cut at any byte and
//! the server is killed, stopped, continued and restarted.
//!
//! - A write that an error calls undone is not in the store, and an answered write is.
//! - A retryable call succeeds later: each write is sent until it is answered.
//! - A job that an error names has the outcome that the store shows.
//! - At the end no socket, no task and no memory is left.
//!
//! `SYNCLINE_SECONDS=600 cargo test --features cli --release --test soak` runs for 600 seconds;
//! `SYNCLINE_SEED=n` repeats the random choices.

#![cfg(target_os = "linux")]

#[path = "support/served.rs"]
mod served;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use served::{Server, free_address};
use support::random::SplitMix64;
use syncline::CommitMode;
use syncline::client::{Client, Error, JobState, Keyspace, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

const WRITERS: u64 = 12;
/// The default of `SYNCLINE_SECONDS`.
const SECONDS: u64 = 12;
/// A connection is cut within this many bytes of one direction.
const LONGEST: u64 = 40_000;

/// The state that all writers share.
struct Soak {
    is_over: AtomicBool,
    writes: AtomicU64,
    errors: AtomicU64,
    undone: AtomicU64,
    jobs: AtomicU64,
}

/// Forwards `left` bytes.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut left: u64) {
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = left.min(buffer.len() as u64) as usize;
        let Ok(count @ 1..) = from.read(&mut buffer[..most]).await else { return };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        left -= count as u64;
    }
}

/// A proxy between clients and the server, which cuts every connection at some byte.
async fn cut(listener: TcpListener, server: String, mut rng: SplitMix64) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let longest = if rng.below(4) == 0 { 400 } else { LONGEST };
        let (there, back) = (rng.below(longest), rng.below(longest));
        let server = server.clone();
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, there) => {}
                () = pass(from_server, to_client, back) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One of many writers, each with its own key.
struct Writer {
    soak: Arc<Soak>,
    /// Over connections that may be cut.
    client: Client,
    /// Over connections that are never cut.
    sure: Keyspace,
    sure_client: Client,
    number: u64,
    rng: SplitMix64,
    settled: u64,
}

impl Writer {
    async fn run(mut self) -> u64 {
        for version in 1.. {
            if self.soak.is_over.load(Relaxed) {
                break;
            }
            self.write(version).await;
        }
        self.settled
    }

    fn how(&mut self, version: u64) -> Write {
        let how = match self.rng.below(4) {
            0 => CommitMode::Sync.into(),
            1 => Write::job(),
            _ => CommitMode::Async.into(),
        };
        how.once(format!("{} {version}", self.number))
    }

    /// Sends a write until it is answered, and checks the error of each try against the store.
    async fn write(&mut self, version: u64) {
        let mut value = version.to_be_bytes().to_vec();
        value.resize(8 + self.rng.below(3000) as usize, 7);
        let how = self.how(version);
        let mut may_be_done = false;
        loop {
            let deadline = Duration::from_millis([3, 30, 500, 20_000][self.rng.below(4) as usize]);
            let rows = self.client.within(deadline).existing_keyspace("rows");
            let error = match rows.put_with(self.number.to_be_bytes(), &value, how.clone()).await {
                Ok(_) => break,
                Err(error) => error,
            };
            self.soak.errors.fetch_add(1, Relaxed);
            let told = format!("writer {}, version {version}: {error:?}", self.number);
            assert!(error.is_retryable(), "every error here is temporary, {told}");
            assert!(!matches!(error, Error::Protocol(_) | Error::OtherStore { .. }), "{told}");
            may_be_done |= !error.is_undone();
            if let Some(job) = error.job() {
                self.soak.jobs.fetch_add(1, Relaxed);
                self.ask(job, version, &told).await;
            } else if !may_be_done && self.rng.below(4) == 0 {
                self.soak.undone.fetch_add(1, Relaxed);
                let found = self.read().await;
                assert_eq!(found, self.settled, "it is called undone, {told}");
            }
        }
        self.settled = version;
        self.soak.writes.fetch_add(1, Relaxed);
        if self.rng.below(8) == 0 {
            assert_eq!(self.read().await, version, "writer {}: it was answered", self.number);
        }
    }

    /// The version in the store; asks until there is an answer.
    async fn read(&self) -> u64 {
        loop {
            match self.sure.get(self.number.to_be_bytes()).await {
                Ok(None) => return 0,
                Ok(Some(value)) => return u64::from_be_bytes(value[..8].try_into().unwrap()),
                Err(error) => assert!(error.is_retryable(), "a get: {error:?}"),
            }
        }
    }

    /// Asks for the outcome of a job that an error named, and checks it.
    async fn ask(&self, job: &str, version: u64, told: &str) {
        let state = loop {
            match self.sure_client.job(job).wait(Duration::from_secs(5)).await {
                Ok(JobState::Appended) => {}
                Ok(state) => break state,
                Err(error) => assert!(error.is_retryable(), "asking after {job}: {error:?}"),
            }
        };
        let found = self.read().await;
        match state {
            JobState::Durable => assert_eq!(found, version, "{job} is durable, {told}"),
            JobState::Lost => assert_eq!(found, self.settled, "{job} is lost, {told}"),
            state => panic!("{job} is {state}, {told}"),
        }
    }
}

/// Kills, restarts and stops the server until `end`.
async fn disturb(
    mut server: Server,
    dir: &std::path::Path,
    address: &str,
    mut rng: SplitMix64,
    end: Instant,
) -> Server {
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50 + rng.below(700))).await;
        match rng.below(4) {
            0 => {
                server.signal(Signal::KILL);
                drop(server);
                server = Server::start(dir, address);
            }
            1 => {
                tokio::task::block_in_place(|| server.end());
                server = Server::start(dir, address);
            }
            2 => {
                server.signal(Signal::STOP);
                tokio::time::sleep(Duration::from_millis(rng.below(1500))).await;
                server.signal(Signal::CONT);
            }
            _ => {}
        }
    }
    server
}

async fn connect(address: &str) -> Client {
    let ms = Duration::from_millis;
    loop {
        let options = Client::options().backoff(ms(2), ms(50)).keep_alive(ms(500));
        match options.connect(address).await {
            Ok(client) => return client,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        tokio::time::sleep(ms(5)).await;
    }
}

/// Sockets that this process has open, and its memory in bytes.
fn held() -> (usize, u64) {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let sockets = links.filter(|to| to.to_string_lossy().starts_with("socket:")).count();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    (sockets, pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096)
}

/// Waits until the clients' tasks have ended and their sockets are closed.
async fn nothing_is_left(sockets: usize) {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let (now, tasks) = (held().0, Handle::current().metrics().num_alive_tasks());
        if now <= sockets + 1 && tasks == 0 {
            return;
        }
        assert!(Instant::now() < patience, "{now} sockets, not {sockets}; {tasks} tasks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |n| n.parse().expect("a number"))
}

#[test]
fn every_claim_of_every_error_is_true() {
    let seed = support::seed();
    println!("SYNCLINE_SEED={seed}");
    let mut rng = SplitMix64::new(seed);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let server = Server::start(dir.path(), &address);
    let end = Instant::now() + Duration::from_secs(number("SYNCLINE_SECONDS", SECONDS));
    let (sockets, _) = held();
    let last = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cut_address = listener.local_addr().unwrap().to_string();
        let cutter = tokio::spawn(cut(listener, address.clone(), SplitMix64::new(rng.next())));
        let sure_client = connect(&address).await;
        let sure = sure_client.keyspace("rows").await.unwrap();
        let clients = [connect(&address).await, connect(&cut_address).await, connect(&cut_address).await];
        let soak = Arc::new(Soak {
            is_over: false.into(),
            writes: 0.into(),
            errors: 0.into(),
            undone: 0.into(),
            jobs: 0.into(),
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let client = clients[number as usize % clients.len()].clone();
                let (sure, sure_client) = (sure.clone(), sure_client.clone());
                let (soak, rng) = (Arc::clone(&soak), SplitMix64::new(rng.next()));
                let settled = 0;
                let writer = Writer { soak, client, sure, sure_client, number, rng, settled };
                tokio::spawn(writer.run())
            })
            .collect();
        let server = disturb(server, dir.path(), &address, SplitMix64::new(rng.next()), end).await;
        soak.is_over.store(true, Relaxed);
        let mut last = Vec::new();
        for writer in writers {
            last.push(writer.await.expect("the writer's checks pass"));
        }
        let [writes, errors, undone, jobs] =
            [&soak.writes, &soak.errors, &soak.undone, &soak.jobs].map(|count| count.load(Relaxed));
        println!("{writes} writes, {errors} errors: {undone} called undone and looked at, {jobs} with a job");
        assert!(writes > WRITERS && errors > 0);
        drop((clients, sure));
        sure_client.close().await;
        cutter.abort();
        let _ = cutter.await;
        nothing_is_left(sockets).await;
        drop(server);
        last
    });
    drop(runtime);
    let (_, memory) = held();
    assert!(memory < 200 << 20, "{memory} bytes of memory are left");
    let store = syncline::Options::new().must_exist().open(dir.path()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for (writer, version) in (0..WRITERS).zip(last) {
        let found = rows.get(writer.to_be_bytes()).unwrap().map(|value| value[..8].to_vec());
        assert_eq!(found.unwrap_or_default(), version.to_be_bytes(), "{writer}");
    }
    support::assert_sound(&store);
}
