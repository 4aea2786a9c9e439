//! The command line as a shell runs it: values from files, upkeep, help, Ctrl-C.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(args).stdin(Stdio::null());
    command
}

#[track_caller]
fn expect(status: i32, args: &[&str]) -> (String, String) {
    let Output { status: found, stdout, stderr } = command(args).output().unwrap();
    let complaint = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(found.code(), Some(status), "{args:?}: {complaint}");
    (String::from_utf8_lossy(&stdout).into_owned(), complaint)
}

#[test]
fn a_value_comes_from_a_file_or_from_standard_input() {
    let temp = TempDir::new().unwrap();
    let path = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let store = &path("store");
    let every: Vec<u8> = (0..=255).collect();
    fs::write(path("value"), &every).unwrap();
    let from_file = format!("@{}", path("value"));
    expect(0, &["put", store, "file", &from_file]);
    let got = command(&["get", store, "file", "--raw"]).output().unwrap();
    assert_eq!(got.stdout, every);
    expect(0, &["put", store, "66696c65", &from_file, "--hex"]); // the file is bytes all the same
    assert_eq!(command(&["get", store, "file", "--raw"]).output().unwrap().stdout, every);

    let mut put = command(&["put", store, "input", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(&every).unwrap();
    assert!(put.wait().unwrap().success());
    let got = command(&["get", store, "input", "--raw"]).output().unwrap();
    assert_eq!(got.stdout, every);

    for literal in ["-", "@", "@ada"] {
        expect(0, &["put", store, "as it is", literal, "--literal"]);
        assert_eq!(expect(0, &["get", store, "as it is"]).0, format!("{literal}\n"));
    }
    let missing = format!("@{}", path("none"));
    assert!(expect(2, &["put", &path("new"), "key", &missing]).1.contains("none"));
    assert!(!temp.path().join("new").exists(), "a missing file makes no store");
}

#[test]
fn keyspaces_are_listed_and_dropped_and_checkpoints_made() {
    let temp = TempDir::new().unwrap();
    let store = &temp.path().join("store").to_str().unwrap().to_owned();
    for args in [["keyspaces", store].as_slice(), &["drop", store, "a"], &["checkpoint", store]] {
        expect(2, args);
    }
    assert!(!temp.path().join("store").exists());
    for name in ["b", "a"] {
        expect(0, &["put", store, "key", "value", "--keyspace", name]);
    }
    assert_eq!(expect(0, &["keyspaces", store]).0, "a\nb\n");
    expect(0, &["drop", store, "a"]);
    assert!(expect(1, &["drop", store, "a"]).1.contains("no keyspace \"a\""));
    assert_eq!(expect(0, &["keyspaces", store]).0, "b\n");
    assert!(expect(0, &["checkpoint", store]).1.contains("is in the data file"));
}

/// Every visible command's help has its usage and examples, also for a server.
#[test]
fn help_shows_how_every_command_is_called() {
    let help = expect(0, &["--help"]).0;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 14, "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let help = expect(0, &[command, "--help"]).0;
        assert!(!help.contains("MARKER"), "{command}: {help}");
        assert!(help.contains("Examples:"), "{command}: {help}");
        let is_both = help.contains("The server to ask, in place of DIR") && *command != "job";
        let usage: Vec<&str> = help.lines().filter(|line| line.contains(" [OPTIONS] ")).collect();
        if is_both {
            assert!(usage[0].contains("<DIR>") && !usage[0].contains("--connect"), "{usage:?}");
            assert!(usage[1].contains("--connect <ADDR>") && !usage[1].contains("<DIR>"));
        }
    }
    // Errors of a wrong call contain no marker either.
    for args in [["job"].as_slice(), &["job", "--wait", "x", "id"], &["get", "--connect", "a:1"]] {
        let said = expect(2, args).1;
        assert!(!said.contains("MARKER") && !said.contains("(a server)"), "{said}");
        assert!(said.contains("--connect <ADDR>") || said.contains("--wait"), "{said}");
    }
}

#[test]
fn completions_and_manual_pages_have_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = expect(0, &["completions", shell]).0;
        assert!(script.contains("keyspaces") && script.contains("connect"), "{shell}");
    }
    let page = expect(0, &["man"]).0;
    assert!(page.starts_with(".ie") || page.contains(".TH syncline 1"), "{page}");
    assert!(page.contains("checkpoint"), "{page}");
    let page = expect(0, &["man", "put"]).0;
    assert!(page.contains(".TH syncline-put 1") && page.contains("literal"), "{page}");
    assert!(expect(2, &["man", "frobnicate"]).1.contains("frobnicate"));
}

/// It prints the finished rounds, and removes its files.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_bench_prints_its_rounds_and_leaves_no_files() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader, Read};

    for times in [1, 2] {
        let temp = TempDir::new().unwrap();
        let directory = temp.path().to_str().unwrap();
        let args = ["bench", "--dir", directory, "--keys", "1000", "--seconds", "0.05"];
        let mut bench = command(&[args.as_slice(), &["--rounds", "1000"]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(bench.stderr.take().unwrap()).lines();
        // Without a terminal, each measurement prints a line.
        let mut said = lines.by_ref().map(Result::unwrap);
        said.by_ref().find(|line| line.contains("round 2 of 1000")).expect("a line for each round");
        let interrupt = || kill(Pid::from_raw(bench.id() as i32), Signal::SIGINT).unwrap();
        interrupt();
        said.by_ref().find(|line| line.contains("once more")).expect("a line about stopping");
        if times == 2 {
            interrupt();
        }
        said.for_each(drop);
        let mut table = String::new();
        bench.stdout.take().unwrap().read_to_string(&mut table).unwrap();
        let status = bench.wait().unwrap();
        let left: Vec<_> = fs::read_dir(temp.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        match times {
            1 => {
                assert!(status.success(), "{status}");
                assert!(table.contains("commit / put") && table.contains("stopped"), "{table}");
                assert!(!table.contains("best peer"), "there is none: {table}");
            }
            _ => assert!(!status.success() || table.contains("stopped"), "{status}"),
        }
    }
}
