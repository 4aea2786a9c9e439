//! `syncline serve` as an operator runs it: refused starts, log lines, SIGHUP, and the service manager.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use syncline::client::Client;

/// Long enough for any machine; only a test that hangs takes it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server and its log.
struct Server {
    process: Child,
    lines: Receiver<String>,
    address: String,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("serve").arg(dir).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
    command.env_remove("NOTIFY_SOCKET");
    command
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut process = command.spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut server = Server { process, lines, address: String::new() };
        let line = server.await_line("listening address=");
        server.address = line.rsplit_once("address=").unwrap().1.to_owned();
        server
    }

    /// Waits for a log line that contains `part`.
    #[track_caller]
    fn await_line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it never says {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Whether the server accepts this token.
    fn lets_in(&self, token: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = Client::options().token(token).tries(1);
            options.connect(&self.address).await.is_ok()
        })
    }

    fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

/// A failed test leaves no process either.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn token(name: &str, secret: &str) -> String {
    format!("[[token]]\nname = '{name}'\nsecret = '{secret}'\nscopes = ['read', 'write']\n")
}

/// The error of a server that does not start.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_refused_start_names_its_reason_and_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(command(&store).args(["--listen", &address]));
    assert!(said.contains(&address), "{said}");
    let said = refused(command(&store).env("SYNCLINE_MAX_CONECTIONS", "9"));
    assert!(said.contains("the variable SYNCLINE_MAX_CONECTIONS: "), "{said}");
    let config = dir.path().join("server.toml");
    std::fs::write(&config, "threads = 1\nlog = 'verbose'\n").unwrap();
    let said = refused(command(&store).arg("--config").arg(&config));
    assert!(said.contains("server.toml, line 2: log = \"verbose\": "), "{said}");
    let tokens = dir.path().join("tokens.toml");
    let twice = token("one", "the very same secret") + &token("two", "the very same secret");
    std::fs::write(&tokens, twice).unwrap();
    let said = refused(command(&store).arg("--tokens").arg(&tokens));
    assert!(said.contains("\"one\" and \"two\" have the same secret"), "{said}");
    assert!(!store.exists(), "nothing was made");
}

#[test]
fn the_log_names_the_store_its_settings_and_refused_logins() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens.toml");
    std::fs::write(&tokens, token("one", "the first secret")).unwrap();
    let mut command = command(&dir.path().join("store"));
    command.arg("--tokens").arg(&tokens).args(["--set", "once_hours=7"]);
    let mut process = command.spawn().unwrap();
    let stderr = BufReader::new(process.stderr.take().unwrap());
    let mut begun = Vec::new();
    let mut lines = stderr.lines().map_while(Result::ok);
    let address = lines.by_ref().find_map(|line| {
        begun.push(line.clone());
        line.split_once("listening address=").map(|(_, address)| address.to_owned())
    });
    let begun = begun.join("\n");
    for part in ["store=", "incarnation=", "nothing was recovered", "once_hours=7", "version="] {
        assert!(begun.contains(part), "{part}: {begun}");
    }
    let (_, receiver) = channel();
    let server = Server { process, lines: receiver, address: address.unwrap() };
    assert!(!server.lets_in("not this one, it is not"));
    let line = lines.find(|line| line.contains("login failed")).unwrap();
    assert!(line.contains("peer=127.0.0.1:") && line.contains("the token is wrong"), "{line}");
    std::thread::spawn(move || lines.for_each(drop));
    server.end();
}

#[test]
fn sighup_reloads_tokens_and_log_level_and_keeps_them_if_a_file_is_bad() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, config) = (dir.path().join("tokens.toml"), dir.path().join("server.toml"));
    std::fs::write(&tokens, token("one", "the first secret")).unwrap();
    std::fs::write(&config, "log = 'info'\nidle_ms = 1000000\n").unwrap();
    let mut command = command(&dir.path().join("store"));
    let server = Server::start(command.arg("--tokens").arg(&tokens).arg("--config").arg(&config));
    assert!(server.lets_in("the first secret") && !server.lets_in("the second secret"));

    std::fs::write(&tokens, token("two", "the second secret")).unwrap();
    std::fs::write(&config, "log = 'debug'\nidle_ms = 2000000\n").unwrap();
    server.signal("-HUP");
    let line = server.await_line("takes effect at the next start");
    assert!(line.contains("idle_ms"), "{line}");
    server.await_line("settings reloaded: tokens, log level");
    assert!(!server.lets_in("the first secret") && server.lets_in("the second secret"));
    server.await_line("DEBUG"); // about the accepted connection

    std::fs::write(&tokens, "[[token]]\nname = 'three'\n").unwrap();
    server.signal("-HUP");
    let line = server.await_line("tokens not reloaded");
    assert!(line.contains("tokens.toml"), "{line}");
    let line = server.await_line("settings reloaded");
    assert!(line.ends_with("reloaded: log level"), "only the changed settings are named: {line}");
    assert!(server.lets_in("the second secret"));

    std::fs::write(&config, "log = 'loud'\n").unwrap();
    server.signal("-HUP");
    let line = server.await_line("all settings stay as they were");
    assert!(line.contains("server.toml, line 1: log"), "{line}");
    assert!(server.lets_in("the second secret"));
    server.end();
}

#[test]
fn the_service_manager_is_notified_of_ready_reloading_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).expect("it says something");
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    let mut command = command(&dir.path().join("store"));
    let server = Server::start(command.env("NOTIFY_SOCKET", &path));
    assert!(heard().starts_with("READY=1"));
    server.signal("-HUP");
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(heard().starts_with("READY=1"));
    server.signal("-TERM");
    assert!(heard().starts_with("STOPPING=1"));
    server.end();
}

#[test]
fn the_json_log_has_one_object_per_line_and_reports_refused_connections() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir.path().join("store"));
    command.args(["--log-format", "json", "--set", "max_connections=1"]);
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut next = |part: &str| {
        let line = lines.by_ref().find(|line| line.contains(part)).expect(part);
        serde_json::from_str::<serde_json::Value>(&line).expect("an object")
    };
    let address = next("listening")["address"].as_str().unwrap().to_owned();
    let crowd: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let told = next("turned away");
    assert_eq!(told["address"], "127.0.0.1", "{told}");
    assert_eq!((&told["level"], &told["kept_back"]), (&"WARN".into(), &0.into()), "{told}");
    drop(crowd);
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    next("the store is closed");
    assert!(process.wait().unwrap().success());
}
