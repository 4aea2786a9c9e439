//! Probes and metrics over raw HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::access::{TOKENS, certificate, tls_to};
use super::peer::{Hold, Peer, config, put, serve, store};
use crate::Options;
use crate::engine::disk::{Fault, FaultError, Op, Persistence, SimDisk};
use crate::net::proto::{Code, Mode, Put, Request, Response};
use crate::net::server::{Config, Failure, Server};

/// The default configuration with metrics, on free ports.
pub(super) fn probed() -> Config {
    let metrics = Some("127.0.0.1:0".parse().unwrap());
    Config { metrics, drain_notice_ms: 0, ..config() }
}

/// The answer to a request that is the last one of its connection.
pub(super) async fn ask(address: SocketAddr, request: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    ask_on(&mut socket, request, headers).await
}

async fn ask_on(
    socket: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    request: &str,
    headers: &str,
) -> String {
    let head = format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

/// Polls `/readyz` until it has the awaited status.
async fn await_ready(address: SocketAddr, awaited: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let answer = ask(address, "GET /readyz", "").await;
        if status(&answer) == awaited {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_block_probes() {
    let (server, _) = serve(store(), &probed()).await;
    let address = server.metrics_address().unwrap();
    // A client that is idle between two requests.
    let mut resting = TcpStream::connect(address).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n";
    let mut rest = async |first: &[u8]| {
        resting.write_all(first).await.unwrap();
        let mut answer = [0; 512];
        let bytes = resting.read(&mut answer).await.unwrap();
        assert_eq!(status(std::str::from_utf8(&answer[..bytes]).unwrap()), "200");
    };
    rest(request).await;
    // More than there are slots.
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            socket.write_all(b"GET /livez HT").await.unwrap();
        }
        silent.push(socket);
    }
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        assert_eq!(status(&ask(address, &format!("GET {path}"), "").await), "200", "{path}");
    }
    rest(request).await;
    // The first ones were evicted.
    let mut answer = String::new();
    silent[1].read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "");
    server.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_request_head_times_out() {
    let (server, _) = serve(store(), &probed()).await;
    let mut socket = TcpStream::connect(server.metrics_address().unwrap()).await.unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_methods_and_media_types_are_handled() {
    let (server, _) = serve(store(), &probed()).await;
    let address = server.metrics_address().unwrap();
    let page = ask(address, "GET /metrics?name[]=x&y", "").await;
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert!(page.contains("# TYPE syncline_connections_accepted_total counter\n"), "{page}");
    assert!(!page.contains("# EOF") && !page.contains("# UNIT"), "{page}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n";
    let page = ask(address, "GET /metrics", accept).await;
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
    assert!(
        page.contains("# TYPE syncline_connections_accepted counter\n")
            && page.ends_with("# EOF\n")
    );
    let head = ask(address, "HEAD /health", "").await;
    assert_eq!(status(&head), "200");
    assert!(head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let json = ask(address, "GET /health", "Accept: application/json\r\n").await;
    assert!(json.ends_with("\r\n\r\n{\"status\":\"ok\"}\n"), "{json}");
    let refused = ask(address, "POST /metrics", "Content-Length: 0\r\n").await;
    assert!(status(&refused) == "405" && refused.contains("allow: GET, HEAD\r\n"), "{refused}");
    let lost = ask(address, "GET /", "").await;
    assert!(status(&lost) == "404" && lost.contains("/readyz"), "{lost}");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_store_is_live_and_not_ready() {
    let disk = SimDisk::new();
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, native) = serve(store, &probed()).await;
    let address = server.metrics_address().unwrap();
    await_ready(address, "200").await;
    disk.fail_sync(0);
    let mut peer = Peer::greeted(native).await;
    assert_eq!(peer.ask(2, &put("k", "v", Mode::Sync)).await.code(), Code::Poisoned);
    let answer = await_ready(address, "503").await;
    assert!(answer.contains("poisoned"), "{answer}");
    let json = ask(address, "GET /health", "Accept: application/json\r\n").await;
    assert!(json.contains("\"reason\":\"poisoned\""), "{json}");
    assert_eq!(status(&ask(address, "GET /livez", "").await), "200");
    assert!(server.stop().await.is_err());
}

/// A server with probes, their address, and a client of the server.
async fn served_on(disk: &SimDisk) -> (Server, SocketAddr, Peer) {
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, native) = serve(store, &probed()).await;
    let address = server.metrics_address().unwrap();
    (server, address, Peer::greeted(native).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_not_ready_until_there_is_space() {
    let disk = SimDisk::new();
    let (server, address, mut peer) = served_on(&disk).await;
    disk.set_capacity(Some(disk.used_bytes()));
    // No client writes from then on, so only a probe can find out that there is space again.
    let answer = write_until_unready(&mut peer, address).await;
    assert!(answer.contains("disk_full"), "{answer}");
    disk.set_capacity(None);
    await_ready(address, "200").await;
    server.stop().await.unwrap();
}

/// Sends short writes until the server is not ready. Returns its answer.
async fn write_until_unready(peer: &mut Peer, address: SocketAddr) -> String {
    let mut number = 1;
    loop {
        let answer = ask(address, "GET /readyz", "").await;
        if status(&answer) != "200" {
            return answer;
        }
        for _ in 0..200 {
            number += 1;
            peer.add(number, &put(&number.to_string(), &"x".repeat(100), Mode::Async));
        }
        peer.flush().await;
        for _ in 0..200 {
            peer.answer().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_fails_while_the_device_refuses_new_files_and_space() {
    let disk = SimDisk::new();
    let (server, address, mut peer) = served_on(&disk).await;
    for op in [Op::Allocate, Op::Create] {
        let (error, persistence) = (FaultError::Io, Persistence::Forever);
        disk.fail(Fault { op, after: 0, error, persistence });
    }
    let answer = write_until_unready(&mut peer, address).await;
    assert!(answer.contains("not ready: failing: "), "{answer}");
    disk.clear_faults();
    await_ready(address, "200").await;
    server.stop().await.unwrap();
}

/// Short writes may be accepted where a long one is not: readiness is about the one that was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refused_a_long_write_is_unready_until_it_would_fit() {
    let disk = SimDisk::new();
    let (server, address, mut peer) = served_on(&disk).await;
    let long = "x".repeat(30_000);
    let mut number = 0;
    let mut write = async |value: &str| {
        number += 1;
        let (key, once) = (format!("{number}"), format!("once {number}"));
        let (keyspace, key, value) = ("rows", key.as_bytes(), value.as_bytes());
        let once = Some(once.as_bytes());
        let mode = Mode::Async;
        let answer = peer.ask(1, &Request::Put(Put { keyspace, key, value, mode, once })).await;
        match answer.response() {
            Response::Written(_) => true,
            Response::Error(failure) => {
                assert_eq!(failure.code, Code::DiskFull);
                assert!(failure.detail("file").is_some() && failure.detail("needed").is_some());
                false
            }
            other => panic!("{other:?}"),
        }
    };
    await_ready(address, "200").await;
    for _ in 0..3 {
        disk.set_capacity(Some(disk.used_bytes() + (3 << 20)));
        while write(&long).await {}
        let answer = ask(address, "GET /readyz", "").await;
        assert!(status(&answer) == "503" && answer.contains("disk_full"), "{answer}");
        write("short").await;
        assert_eq!(status(&ask(address, "GET /readyz", "").await), "503");
        disk.set_capacity(None);
        await_ready(address, "200").await;
        assert!(write(&long).await, "ready means that a write like this is accepted");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_does_not_end_is_reported_as_a_stall() {
    let (store, hold) = Hold::store();
    let (server, native) = serve(store, &Config { stall_ms: 1, ..probed() }).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    peer.send(3, &put("k", "w", Mode::Sync)).await;
    let answer = await_ready(address, "503").await;
    assert!(answer.contains("stalled"), "{answer}");
    hold.let_go();
    assert_eq!(peer.answer().await.id, 3);
    await_ready(address, "200").await;
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_shows_before_the_port_closes_and_probes_are_answered_to_the_end() {
    let (store, hold) = Hold::store();
    let patient = Config { drain_notice_ms: 600_000, ..probed() };
    let (server, native) = serve(store, &patient).await;
    let address = server.metrics_address().unwrap();
    await_ready(address, "200").await;
    let stopping = tokio::spawn(server.stop());
    let answer = await_ready(address, "503").await;
    assert!(answer.contains("draining"), "{answer}");
    Peer::greeted(native).await; // the port is open
    assert_eq!(status(&ask(address, "GET /livez", "").await), "200");
    stopping.abort();
    drop(hold);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_while_the_store_closes() {
    let (store, hold) = Hold::store();
    let (server, native) = serve(store, &probed()).await;
    let address = server.metrics_address().unwrap();
    let mut peer = Peer::greeted(native).await;
    peer.ask(2, &put("k", "v", Mode::Async)).await;
    drop(peer);
    hold.hold();
    let stopping = tokio::spawn(server.stop());
    // Once no client can connect, only the store is left to close.
    while TcpStream::connect(native).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(status(&ask(address, "GET /livez", "").await), "200");
    assert_eq!(status(&ask(address, "GET /readyz", "").await), "503");
    hold.let_go();
    stopping.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_on_a_public_address_need_tls_and_a_token() {
    let metrics = Some("0.0.0.0:0".parse().unwrap());
    let refused = Server::start(store(), &Config { metrics, ..config() }).await;
    let Err(Failure::Config(problem)) = refused else { panic!("the server started") };
    assert!(problem.contains("metrics_open") && problem.contains("tls_cert"), "{problem}");
    let open = Config { metrics, metrics_open: true, drain_notice_ms: 0, ..config() };
    let (server, _) = serve(store(), &open).await;
    let port = server.metrics_address().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(status(&ask(address, "GET /metrics", "").await), "200");
    server.stop().await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    let writer = "[[token]]\nname = 'writer'\nsecret = 'it can only write'\nscopes = ['write']\n";
    std::fs::write(&file, format!("{TOKENS}{writer}")).unwrap();
    let made = certificate(dir.path());
    let guarded = Config {
        metrics,
        drain_notice_ms: 0,
        tokens: Some(file),
        tls_cert: Some(made.cert),
        tls_key: Some(made.key),
        ..config()
    };
    let (server, _) = serve(store(), &guarded).await;
    let port = server.metrics_address().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for (path, headers, expected) in [
        ("/metrics", "", "401"),
        ("/metrics", "Authorization: Bearer nobody's\r\n", "401"),
        ("/metrics", "Authorization: Bearer it can only write\r\n", "403"),
        ("/metrics", "Authorization: bearer the reader has this\r\n", "200"),
        ("/readyz", "", "200"),
        ("/livez", "", "200"),
    ] {
        let mut socket = tls_to(address, &made.der).await;
        let answer = ask_on(&mut socket, &format!("GET {path}"), headers).await;
        assert_eq!(status(&answer), expected, "{path} {headers}");
        assert_eq!(answer.contains("www-authenticate: Bearer"), expected == "401");
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "nothing is served without TLS");
    server.stop().await.unwrap();
}
