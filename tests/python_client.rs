//! The client in Python, `examples/client.py`: it was written from `PROTOCOL.md` with nothing but
//! Python's standard library, so what it understands is what the specification says.
//!
//! Says so and checks nothing if there is no `python3`.

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
