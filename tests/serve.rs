//! `syncline serve` as a process: it logs its address, takes writes, shuts down on a signal with everything
//! durable, and the next server knows the jobs of the first.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use syncline::proto::{
    CreateKeyspace, Existing, Job, JobState, JobStatus, Kind, MAX_BODY, Mode, Progress, Put,
    Request, Response, decode,
};

#[test]
fn a_server_shuts_down_on_a_signal_and_the_next_one_knows_its_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = serve(dir.path());
    let create = CreateKeyspace { name: "rows", existing: Existing::Refuse };
    ask(&mut client, &Request::CreateKeyspace(create), |response| {
        assert_eq!(response, &Response::Done);
    });
    let (keyspace, key, value) = ("rows", &b"k"[..], &b"v"[..]);
    let put = Request::Put(Put { keyspace, key, value, mode: Mode::Job, once: None });
    let mut job = String::new();
    ask(&mut client, &put, |response| {
        let Response::Job(Job { job: id, .. }) = response else { panic!("{response:?}") };
        job = id.to_string();
    });
    end(server);
    let (server, mut client) = serve(dir.path());
    ask(&mut client, &Request::JobStatus(JobStatus { job: &job }), |response| {
        let Response::Job(Job { state, .. }) = response else { panic!("{response:?}") };
        assert_eq!(state, &JobState::Durable);
    });
    end(server);
}

/// The reader of the log ends before the server. The server still shuts down on a signal as usual, and
/// says goodbye to its clients.
#[test]
fn a_server_with_a_closed_log_pipe_still_serves_and_drains() {
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let serve = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
            command.arg("serve").arg(dir.path().join("store"));
            command.args(["--log-format", format, "--log", "debug", "--listen", "127.0.0.1:0"]);
            command.arg("--unix").arg(&socket).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut server = serve();
        drop(server.stderr.take());
        let end = Instant::now() + Duration::from_secs(60);
        let mut client = loop {
            if let Ok(client) = UnixStream::connect(&socket) {
                break client;
            }
            assert_eq!(server.try_wait().unwrap(), None, "{format}: it ended");
            assert!(Instant::now() < end, "it listens soon");
            std::thread::sleep(Duration::from_millis(10));
        };
        ask(&mut client, &hello(), |response| assert!(matches!(response, Response::Welcome(_))));
        let create = CreateKeyspace { name: "rows", existing: Existing::Refuse };
        ask(&mut client, &Request::CreateKeyspace(create), |response| {
            assert_eq!(response, &Response::Done);
        });
        let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
        assert!(told.success());
        let mut goodbye = Vec::new();
        client.read_to_end(&mut goodbye).unwrap();
        let Ok(Progress::Packet(packet)) = decode(&goodbye, MAX_BODY) else { panic!("{format}") };
        assert!(matches!(Response::decode(&packet), Ok(Response::Goodbye(_))), "{format}");
        drop(client);
        assert_eq!(server.wait().unwrap().code(), Some(0), "{format}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("serve")
        .arg(dir.path())
        .args(["--set", "no_such_thing=1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no_such_thing"));
}

/// Starts a server, and connects a client that has said hello.
fn serve(dir: &Path) -> (Child, TcpStream) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("serve");
    let (server, client, _) = serve_by(command, dir);
    (server, client)
}

/// As `serve`, by a command to which the directory and the address are added. Returns the address too.
fn serve_by(mut command: Command, dir: &Path) -> (Child, TcpStream, String) {
    let mut server = command
        .arg(dir)
        .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map(|line| line.unwrap())
        .find_map(|line| {
            let (_, rest) = line.split_once("\"address\":\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        })
        .expect("the server logs its address");
    // The rest of the log must be read, or the pipe fills.
    std::thread::spawn(move || lines.for_each(drop));
    let mut client = TcpStream::connect(&address).unwrap();
    ask(&mut client, &hello(), |response| assert!(matches!(response, Response::Welcome(_))));
    (server, client, address)
}

fn end(mut server: Child) {
    let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

fn hello() -> Request<'static> {
    Request::Hello(syncline::proto::Hello {
        magic: syncline::proto::MAGIC,
        min_version: syncline::proto::VERSION,
        max_version: syncline::proto::VERSION,
        client: "tests",
        token: None,
        max_body: MAX_BODY,
        options: Vec::new(),
    })
}

/// Sends one request, and passes the answer to `look`.
fn ask<S: Read + Write>(client: &mut S, request: &Request<'_>, look: impl FnOnce(&Response<'_>)) {
    let mut bytes = Vec::new();
    request.encode(7, 0, MAX_BODY, &mut bytes).unwrap();
    client.write_all(&bytes).unwrap();
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Progress::Packet(packet) = decode(&input, MAX_BODY).unwrap() {
            return look(&Response::decode(&packet).unwrap());
        }
        let read = client.read(&mut chunk).unwrap();
        assert!(read > 0, "the server hung up");
        input.extend_from_slice(&chunk[..read]);
    }
}

/// More clients connect than the process may have descriptors. The accepted ones are served, the store
/// makes new files, and when the crowd has gone, new clients are accepted.
#[test]
#[cfg(target_os = "linux")]
fn a_crowd_takes_no_descriptor_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 128; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_syncline")]);
    command.args(["serve", "--set", "log_segment_mib=1", "--set", "checkpoint_log_mib=1"]);
    let (server, mut client, address) = serve_by(command, dir.path());
    let crowd: Vec<TcpStream> =
        (0..200).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    assert!(crowd.len() > 128);
    let create = CreateKeyspace { name: "rows", existing: Existing::Accept };
    ask(&mut client, &Request::CreateKeyspace(create), |response| {
        assert_eq!(response, &Response::Done);
    });
    let value = [7; 1000];
    for row in 0..4000_u32 {
        let (keyspace, key) = ("rows", row.to_be_bytes());
        let put = Put { keyspace, key: &key, value: &value, mode: Mode::Async, once: None };
        ask(&mut client, &Request::Put(put), |response| {
            assert!(matches!(response, Response::Written(_)), "{response:?}");
        });
    }
    drop(crowd);
    let mut later = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut later = TcpStream::connect(&address).ok()?;
        let mut packet = Vec::new();
        hello().encode(1, 0, MAX_BODY, &mut packet).unwrap();
        later.write_all(&packet).ok()?;
        let mut first = [0; 24];
        later.read_exact(&mut first).ok()?;
        (first[16] == syncline::proto::Kind::Welcome.number()).then_some(later)
    });
    assert!(later.take().is_some(), "there is room again");
    end(server);
}

/// With few descriptors few connections are accepted; each refused client gets an error.
#[test]
#[cfg(target_os = "linux")]
fn a_refused_client_gets_an_error_even_with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 80; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_syncline"),
        "serve",
    ]);
    let (server, mut client, address) = serve_by(command, dir.path());
    let (mut crowd, mut welcome) = (Vec::new(), 0);
    for _ in 0..100 {
        let mut socket = TcpStream::connect(&address).unwrap();
        let (mut packet, mut first) = (Vec::new(), [0; 24]);
        hello().encode(1, 0, MAX_BODY, &mut packet).unwrap();
        socket.write_all(&packet).unwrap();
        socket.read_exact(&mut first).expect("a refused client gets an error");
        match Kind::from_number(first[16]) {
            Some(Kind::Welcome) => welcome += 1,
            Some(Kind::Error) => {}
            other => panic!("{other:?}"),
        }
        crowd.push(socket);
    }
    assert!((1..80).contains(&welcome), "{welcome} clients were accepted");
    ask(&mut client, &Request::Ping, |response| assert_eq!(response, &Response::Pong));
    drop(crowd);
    end(server);
}
