//! The Python client, `examples/client.py`, which was written from `PROTOCOL.md` alone, with only Python's
//! standard library: so these tests check the specification too.
//!
//! Without `python3` they print a message and check nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("no python3: nothing is checked");
    }
    found
}

fn text(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn the_client_makes_and_reads_the_pinned_packets() {
    if !has_python() {
        return;
    }
    let output = Command::new("python3")
        .arg(path("tests/python/golden.py"))
        .arg(path("examples/client.py"))
        .arg(path("tests/golden/proto/packets.txt"))
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("are right"), "{}", text(&output));
}

/// A server process, which is killed on drop.
#[cfg(all(unix, feature = "cli"))]
struct Served {
    process: std::process::Child,
    directory: tempfile::TempDir,
}

#[cfg(all(unix, feature = "cli"))]
impl Served {
    fn start() -> Served {
        Served::start_with(&[])
    }

    /// Starts a server with files beside the store, each given as option, name and contents.
    fn start_with(files: &[(&str, &str, &str)]) -> Served {
        let directory = tempfile::tempdir().expect("a directory");
        let options = files.iter().flat_map(|(option, name, text)| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            [(*option).into(), path.into_os_string()]
        });
        let options = options.collect();
        Served::start_in(directory, options)
    }

    fn start_in(directory: tempfile::TempDir, options: Vec<std::ffi::OsString>) -> Served {
        let process = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .arg("serve")
            .arg(directory.path().join("store"))
            .args(["--listen", "127.0.0.1:0", "--unix"])
            .arg(directory.path().join("socket"))
            .args(options)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the server starts");
        let served = Served { process, directory };
        for _ in 0..600 {
            if std::os::unix::net::UnixStream::connect(served.socket()).is_ok() {
                return served;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server does not listen");
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The client's output and exit status.
    fn ask(&self, arguments: &str) -> (String, i32) {
        let output = Command::new("python3")
            .arg(path("examples/client.py"))
            .arg(format!("unix:{}", self.socket().display()))
            .args(arguments.split(' '))
            .output()
            .expect("python3 runs");
        (text(&output).trim_end().to_owned(), output.status.code().unwrap_or(-1))
    }

    /// The client's output, which must succeed.
    fn said(&self, arguments: &str) -> String {
        let (said, status) = self.ask(arguments);
        assert_eq!(status, 0, "{arguments}: {said}");
        said
    }
}

#[cfg(all(unix, feature = "cli"))]
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[cfg(all(unix, feature = "cli"))]
fn the_client_talks_to_a_server() {
    if !has_python() {
        return;
    }
    let served = Served::start();
    assert_eq!(served.said("ping"), "ok");
    assert_eq!(served.ask("get ada").1, 1, "there is no such key yet");
    served.said("create default");
    assert!(served.said("put ada 1815").ends_with(" durable now"));
    assert!(served.said("put alan 1912 --mode async").ends_with(" now"));
    let job = served.said("put grace 1906 --mode job --once retry-1");
    let job = job.split(' ').next().expect("a job id");
    assert!(served.said("put grace 0 --mode sync --once retry-1").ends_with(" durable before"));
    assert_eq!(served.said("get grace"), "1906");
    for how in ["status", "wait", "watch"] {
        assert_eq!(served.said(&format!("job {how} {job}")), format!("{job} durable"));
    }
    assert_eq!(served.ask("get nobody"), (String::new(), 1));
    served.said("batch put:a=1 put:b=2 delete:alan");
    let rows = "a\t1\nada\t1815\nb\t2\ngrace\t1906";
    assert_eq!(served.said("range"), rows);
    assert_eq!(served.said("range --stream"), rows);
    assert_eq!(served.said("range --from ada --to c --reverse --limit 1"), "b\t2");
    served.said("delete a");
    assert_eq!(served.ask("get a").1, 1);
    assert_eq!(served.said("keyspaces"), "['default']");
    assert!(served.said("verify").contains("'problems': []"));
    let (said, status) = served.ask("job status nonsense");
    assert!(status == 2 && said.starts_with("error 80: "), "{said}");
}

/// PROTOCOL.md's promise about the order of writes, with a store larger than its cache.
#[test]
#[cfg(all(unix, feature = "cli"))]
fn a_client_that_sends_many_writes_at_once_finds_them_in_order() {
    if !has_python() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start_in(directory, vec!["--set".into(), "cache_mib=1".into()]);
    let output = Command::new("python3")
        .arg(path("tests/python/order.py"))
        .arg(path("examples/client.py"))
        .arg(format!("unix:{}", served.socket().display()))
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("are in order"), "{}", text(&output));
}

#[test]
#[cfg(all(unix, feature = "cli"))]
fn a_token_of_the_client_allows_only_its_scopes() {
    if !has_python() {
        return;
    }
    let tokens = "[[token]]\nname = 'reader'\nsecret = 'open-sesame-please'\nscopes = ['read']\n";
    let served = Served::start_with(&[("--tokens", "tokens.toml", tokens)]);
    let (said, status) = served.ask("get ada");
    assert!(status == 2 && said.starts_with("error "), "without one: {said}");
    assert_eq!(served.ask("get ada --token sesame").1, 2);
    assert_eq!(served.said("keyspaces --token open-sesame-please"), "['default']");
    assert_eq!(served.ask("get ada --token open-sesame-please"), (String::new(), 1));
    for denied in ["put ada 1815", "flush", "checkpoint", "create more"] {
        let (said, status) = served.ask(&format!("{denied} --token open-sesame-please"));
        assert!(status == 2 && said.contains("scope"), "{denied}: {said}");
    }
}

/// With many more parts than the initial credit.
#[test]
#[cfg(all(unix, feature = "cli"))]
fn the_client_gives_credit_and_follows_operations() {
    if !has_python() {
        return;
    }
    let served = Served::start();
    let rows: Vec<String> = (0..5000).map(|row| format!("{row:05}\t{}", "x".repeat(200))).collect();
    let file = served.directory.path().join("rows");
    std::fs::write(&file, rows.join("\n")).expect("written");
    let imported = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("import")
        .arg(&file)
        .arg("--connect")
        .arg(format!("unix:{}", served.socket().display()))
        .output()
        .expect("it runs");
    assert!(imported.status.success(), "{}", text(&imported));
    assert_eq!(served.said("range --stream"), rows.join("\n"));
    assert_eq!(served.said("range"), rows.join("\n"), "a page at a time");
    for what in ["checkpoint", "verify"] {
        let job = served.said(&format!("{what} --mode job"));
        let job = job.split(' ').next().expect("a job id").to_owned();
        // The job may be done before it is cancelled.
        let cancelled = served.said(&format!("job cancel {job}"));
        assert!(cancelled.starts_with(&job), "{cancelled}");
        let end = served.said(&format!("job wait {job}"));
        assert!(["done", "cancelled"].iter().any(|state| end.contains(state)), "{end}");
        assert_eq!(served.said(&format!("job watch {job}")), end);
    }
    assert!(served.said("verify").contains("'problems': []"));
}
