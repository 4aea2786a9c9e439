//! The commands over a connection, as a shell runs them.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server with its store; the server is killed on drop.
struct Server {
    dir: TempDir,
    child: Child,
    address: String,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        let dir = TempDir::new().unwrap();
        let address = format!("unix:{}", dir.path().join("socket").display());
        Server { child: serve(dir.path(), options), dir, address }
    }

    fn store(&self) -> String {
        self.dir.path().join("store").to_str().unwrap().to_owned()
    }

    /// Shuts it down by a signal, which closes its store.
    fn end(&mut self) {
        let server = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(server, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Serves the same store again.
    fn again(&mut self) {
        self.child = serve(self.dir.path(), &[]);
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_syncline"));
        program.arg(command).args(["--connect", &self.address]).args(args);
        program.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must exit with `status`; returns what it printed, and its complaint.
    #[track_caller]
    fn expect(&self, status: i32, command: &str, args: &[&str]) -> (String, String) {
        let output = self.run(command, args);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{command} {args:?}: {complaint}");
        (String::from_utf8(output.stdout).unwrap(), complaint)
    }
}

/// Starts a server of the store below `dir`, and waits until it listens.
fn serve(dir: &Path, options: &[&str]) -> Child {
    let socket = dir.join("socket");
    let child = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("serve")
        .arg(dir.join("store"))
        .args(["--listen", "127.0.0.1:0", "--log", "error", "--unix"])
        .arg(&socket)
        .args(options)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !socket.exists() {
        assert!(Instant::now() < end, "no server");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_stands_for_the_directory() {
    let server = Server::start(&[]);
    assert!(server.expect(1, "get", &["key", "--keyspace", "none"]).1.contains("no keyspace"));
    server.expect(0, "put", &["key", "value"]);
    assert_eq!(server.expect(0, "get", &["key"]).0, "value\n");
    assert_eq!(server.expect(0, "get", &["key", "--raw"]).0, "value");
    server.expect(0, "put", &["b", "2", "--mode", "async"]);
    server.expect(0, "put", &["c", "3", "--keyspace", "other"]);
    assert_eq!(server.expect(0, "scan", &[]).0, "b\t2\nkey\tvalue\n");
    assert_eq!(server.expect(0, "scan", &["--reverse", "--limit", "1"]).0, "key\tvalue\n");
    assert_eq!(server.expect(0, "scan", &["--prefix", "k"]).0, "key\tvalue\n");
    assert_eq!(server.expect(0, "scan", &["--from", "c", "--to", "a"]).0, "");
    server.expect(0, "del", &["key"]);
    assert!(server.expect(1, "del", &["key"]).1.contains("not found"));
    assert!(server.expect(1, "get", &["key"]).1.contains("not found"));
    assert!(server.expect(0, "verify", &[]).0.starts_with("clean: 2 keys"));
    let info = server.expect(0, "info", &["--json"]).0;
    for field in ["\"server\"", "\"durable\"", "\"figures\""] {
        assert!(info.contains(field), "{info}");
    }
}

#[test]
fn keyspaces_are_listed_and_dropped_and_checkpoints_made() {
    let server = Server::start(&[]);
    server.expect(0, "put", &["key", "value"]);
    server.expect(0, "put", &["key", "value", "--keyspace", "other"]);
    assert_eq!(server.expect(0, "keyspaces", &[]).0, "default\nother\n");
    server.expect(0, "drop", &["other"]);
    assert!(server.expect(1, "drop", &["other"]).1.contains("no keyspace"));
    assert_eq!(server.expect(0, "keyspaces", &[]).0, "default\n");
    assert!(server.expect(0, "checkpoint", &[]).1.contains("is in the data file"));
}

#[test]
fn a_job_is_followed_from_the_shell() {
    let server = Server::start(&[]);
    let id = server.expect(0, "put", &["--job", "key", "value"]).0;
    let id = id.trim_end();
    assert_eq!(server.expect(0, "job", &[id, "--wait", "20"]).0, "durable\n");
    assert_eq!(server.expect(0, "job", &[id]).0, "durable\n");
    server.expect(2, "job", &["no job"]);
    server.expect(2, "job", &[id, "--wait", "-1"]);
}

/// Another copy of the store gave out the job id: this store does not know the outcome, which is an
/// answer and not an error.
#[test]
fn a_job_of_another_copys_life_is_unknown_with_status_1() {
    let server = Server::start(&[]);
    let id = server.expect(0, "put", &["--job", "key", "value"]).0;
    let (life, rest) = id.trim_end().split_once('.').unwrap();
    let (_, position) = rest.split_once('-').unwrap();
    let (position, _) = position.split_once('-').unwrap();
    let other = format!("{life}.{:016x}-{position}", 0x1234_5678_u64);
    let other = format!("{other}-{:08x}", crc32fast::hash(other.as_bytes()));
    for args in [&[other.as_str()][..], &[&other, "--wait", "1"]] {
        let (said, complaint) = server.expect(1, "job", args);
        assert!(said.is_empty() && complaint.contains(&other), "{said} {complaint}");
    }
}

#[test]
fn a_put_with_an_idempotency_key_says_whether_it_was_applied_now_or_before() {
    let server = Server::start(&[]);
    let put = |value, more: &[&str]| {
        let args = [&["key", value, "--once", "order 17"], more].concat();
        server.expect(0, "put", &args).1
    };
    assert_eq!(put("1", &[]), "applied now\n");
    assert_eq!(put("1", &[]), "not applied: the idempotency key was applied before\n");
    let said = put("2", &["--mode", "async"]);
    assert!(said.contains("was applied before; the value that is there is another one"), "{said}");
    // A job is answered before the outcome is known.
    let said = put("2", &["--job"]);
    assert!(said.contains("applied, now or before: it is not known which; the value"), "{said}");
    assert_eq!(server.expect(0, "get", &["key"]).0, "1\n");
}

#[test]
fn keyspaces_of_the_server_are_neither_shown_nor_touched_in_its_directory() {
    let mut server = Server::start(&[]);
    server.expect(0, "put", &["key", "1", "--once", "order 17"]);
    let counted = server.expect(0, "verify", &[]).0;
    for command in ["get", "drop"] {
        let args: &[&str] =
            if command == "get" { &["key", "--keyspace", "$once"] } else { &["$once"] };
        assert!(server.expect(2, command, args).1.contains("server's own"));
    }
    server.end();
    let store = server.store();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(run(&["keyspaces", &store]), (Some(0), "default\n".into(), String::new()));
    let (status, info, _) = run(&["info", &store]);
    assert!(status == Some(0) && info.contains("default") && !info.contains('$'), "{info}");
    let (_, now, _) = run(&["verify", &store]);
    let head = "clean: 1 keys in 1 keyspaces";
    assert!(now.starts_with(head) && counted.starts_with(head), "{now}, {counted}");
    for args in [
        &["drop", &store, "$once"][..],
        &["get", &store, "order 17", "--keyspace", "$once"],
        &["put", &store, "key", "value", "--keyspace", "$once by time"],
        &["scan", &store, "--keyspace", "$once"],
        &["del", &store, "key", "--keyspace", "$once"],
        &["import", &store, "-", "--keyspace", "$once"],
    ] {
        let (status, _, said) = run(args);
        assert!(status == Some(2) && said.contains("server's own"), "{args:?}: {said}");
    }
}

/// Damage is an answer, over a connection as for a directory.
#[test]
fn a_check_of_a_damaged_store_over_a_connection_exits_with_1() {
    let mut server = Server::start(&[]);
    server.expect(0, "put", &["key", &"v".repeat(3000)]);
    server.end();
    let data = std::path::PathBuf::from(server.store()).join("data");
    let whole = std::fs::read(&data).unwrap();
    let value = whole.windows(100).rposition(|bytes| bytes == [b'v'; 100]).unwrap();
    let flip = || {
        let mut bytes = std::fs::read(&data).unwrap();
        bytes[value] ^= 1;
        std::fs::write(&data, bytes).unwrap();
    };
    flip();
    server.again();
    let (told, complaint) = server.expect(1, "verify", &[]);
    assert!(told.contains("NOT CLEAN, 1 problem"), "{told}{complaint}");
    server.end();
    flip();
    server.again();
    assert!(server.expect(0, "verify", &[]).0.starts_with("clean"));
}

#[test]
fn wrong_calls_and_missing_servers_exit_with_2() {
    let server = Server::start(&[]);
    server.expect(2, "put", &["key"]);
    server.expect(2, "get", &["directory", "key"]);
    server.expect(2, "put", &["key", "value", "--job", "--mode", "sync"]);
    let store = server.dir.path().join("nobody");
    let nobody = format!("unix:{}", store.display());
    let run = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_syncline"));
        program.args(args).output().unwrap()
    };
    let output = run(&["get", "--connect", &nobody, "key"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot connect"));
    assert_eq!(run(&["get", "--connect", "nowhere", "key"]).status.code(), Some(2));
    assert_eq!(run(&["job", "an-id"]).status.code(), Some(2));
    assert_eq!(run(&["import", "file", "--connect", &nobody]).status.code(), Some(2));
}

#[test]
fn a_file_is_imported_line_by_line() {
    let server = Server::start(&[]);
    let file = server.dir.path().join("rows");
    let rows: String = (0..2500).map(|row| format!("{row:05}\tvalue {row}\n")).collect();
    std::fs::write(&file, &rows).unwrap();
    let path = file.to_str().unwrap();
    let said = server.expect(0, "import", &[path, "--batch", "400", "--keyspace", "new"]).1;
    assert!(said.contains("imported 2500 rows") && said.contains("durable up to LSN"), "{said}");
    assert_eq!(server.expect(0, "scan", &["--keyspace", "new"]).0, rows);
    std::fs::write(&file, "a\t1\nb\t2\nno value\nc\t3\n").unwrap();
    let said = server.expect(2, "import", &[path, "--mode", "async"]).1;
    assert!(said.contains("line 3") && said.contains("which stay: 2"), "{said}");
    assert_eq!(server.expect(0, "scan", &[]).0, "a\t1\nb\t2\n", "the lines before it stay");
    server.expect(2, "import", &["no such file"]);
}

/// Certificates and keys, as files: of the server, and of a client with its authority.
struct Certificates {
    server: [String; 2],
    authority: String,
    client: [String; 2],
}

impl Certificates {
    fn make(dir: &Path) -> Certificates {
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let made = rcgen::generate_simple_self_signed(vec!["store.test".to_owned()]).unwrap();
        let server =
            [file("cert", &made.cert.pem()), file("key", &made.signing_key.serialize_pem())];
        let key = || rcgen::KeyPair::generate().unwrap();
        let (of_authority, of_client) = (key(), key());
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = file("ca", &params.self_signed(&of_authority).unwrap().pem());
        let issuer = rcgen::Issuer::new(params, of_authority);
        let params = rcgen::CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        let chain = params.signed_by(&of_client, &issuer).unwrap().pem();
        let client = [file("client", &chain), file("client-key", &of_client.serialize_pem())];
        Certificates { server, authority, client }
    }
}

/// A server may require a client certificate, and the client may trust the roots of its system.
#[test]
fn system_roots_are_trusted_and_a_client_certificate_is_required() {
    let dir = TempDir::new().unwrap();
    let made = Certificates::make(dir.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let [cert, key] = &made.server;
    let server = Server::start(&[
        "--listen",
        &address,
        "--tls-cert",
        cert,
        "--tls-key",
        key,
        "--tls-client-ca",
        &made.authority,
    ]);
    let run = |roots: &str, more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_syncline"));
        program.args(["put", "--connect", &address, "key", "value", "--tls-system-roots"]);
        program.args(["--tls-name", "store.test"]).args(more).env("SSL_CERT_FILE", roots);
        let output = program.env_remove("SSL_CERT_DIR").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let [chain, private] = &made.client;
    let known = ["--tls-client-cert", chain, "--tls-client-key", private];
    assert_eq!(run(cert, &known), (Some(0), String::new()));
    assert_eq!(server.expect(0, "get", &["key"]).0, "value\n", "a Unix socket requires none");
    // No client certificate, or one that no authority has signed.
    assert_eq!(run(cert, &[]).0, Some(2));
    assert_eq!(run(cert, &["--tls-client-cert", cert, "--tls-client-key", key]).0, Some(2));
    // A system that does not trust the server, and one without roots.
    let (status, said) = run(&made.authority, &known);
    assert!(status == Some(2) && said.contains("certificate"), "{said}");
    let (status, said) = run(private, &known);
    assert!(status == Some(2) && said.contains("the system trusts no certificate"), "{said}");
    // A certificate without a key, and system roots together with given roots.
    assert_eq!(run(cert, &known[..2]).0, Some(2));
    assert_eq!(run(cert, &["--tls-roots", cert]).0, Some(2));
}

#[test]
fn a_token_allows_only_its_scopes() {
    let secrets = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let tokens = file(
        "tokens.toml",
        "[[token]]\nname = \"reader\"\nsecret = \"a secret for reading\"\nscopes = [\"read\"]\n",
    );
    let (right, wrong) = (file("right", "a secret for reading\n"), file("wrong", "guessed"));
    let server = Server::start(&["--tokens", &tokens]);
    server.expect(2, "info", &[]);
    server.expect(2, "info", &["--token-file", &wrong]);
    server.expect(0, "info", &["--token-file", &right]);
    server.expect(2, "put", &["key", "value", "--token-file", &right]);
}
