//! `syncline torture` as a shell runs it: wrong calls, exit statuses, results.

use std::fs;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn torture(dir: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("torture").args(args).current_dir(dir.path()).stdin(Stdio::null());
    command.output().unwrap()
}

/// Runs a call that must be refused, and returns the complaint.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let output = torture(&dir, args);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {complaint}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(complaint.starts_with("syncline: "), "{args:?}: {complaint}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{args:?}: nothing was made");
    complaint
}

#[test]
fn a_wrong_call_exits_with_2_and_makes_no_file() {
    for args in [
        ["--tier", "endless"].as_slice(),
        &["--suite", "sim,circus"],
        &["--suite", ""],
        &["--seed", "-1"],
        &["--seed", "many"],
        &["--workers", "0"],
        &["--seconds", "0"],
        &["--seconds", "0.5"],
        &["some-store"],
        &["--replay", "x", "--seed", "1"],
        &["--replay", "x", "--json", "-"],
    ] {
        refused(args);
    }
    assert!(refused(&["--dir", "missing"]).contains("missing: not a directory"));
    assert!(refused(&["--json", "missing/run.json"]).contains("cannot create missing"));
    assert!(refused(&["--html", "missing/run.html"]).contains("cannot create missing"));
    assert!(refused(&["--replay", "missing"]).contains("missing"));
    if !cfg!(feature = "mutants") {
        assert!(refused(&["--suite", "mutants"]).contains("--features cli,mutants"));
    }
}

#[test]
fn help_explains_exit_statuses_and_has_examples() {
    let help = torture(&TempDir::new().unwrap(), &["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    for word in ["Exit status", "Examples", "--replay", "until Ctrl-C", "a promise was broken"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// One second of the simulated disk. If it judged nothing, it must not claim that all held.
#[test]
fn a_short_run_reports_its_result() {
    let dir = TempDir::new().unwrap();
    let args = ["--suite", "sim", "--seconds", "1", "--seed", "7", "--workers", "1"];
    let output = torture(&dir, &[&args[..], &["--json", "-", "--html", "run.html"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["seed"], &json["tier"]), (&7.into(), &"smoke".into()));
    let page = fs::read_to_string(dir.path().join("run.html")).unwrap();
    assert!(told.contains("tier smoke, seed 7"), "{told}");
    if json["sim"]["states"] == 0 {
        assert_eq!(output.status.code(), Some(4), "{told}");
        assert!(told.contains("nothing was judged") && page.contains("nothing was judged"));
    } else {
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(told.contains("ALL HELD") && page.contains("ALL HELD"), "{told}");
    }
}

#[test]
fn a_seed_is_drawn_and_printed() {
    let dir = TempDir::new().unwrap();
    let seed = || {
        let output = torture(&dir, &["--suite", "museum", "--seconds", "1"]);
        let told = String::from_utf8(output.stderr).unwrap();
        let (_, seed) = told.split_once("seed ").unwrap_or_else(|| panic!("{told}"));
        seed.lines().next().unwrap().parse::<u64>().unwrap()
    };
    assert_ne!(seed(), seed());
}

/// A full tier that did not reach all that it must is a failure of the suite. No store is touched.
#[test]
fn a_full_tier_that_missed_something_fails_and_leaves_a_store_beside_it_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = syncline::Store::open(&path).unwrap();
    store.keyspace("rows").unwrap().put("a", "1").unwrap();
    store.close().unwrap();
    let files = || {
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .map(|file| {
                (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap(), file)
            })
            .collect();
        files.sort();
        files
    };
    let before = files();
    let args = ["--tier", "full", "--suite", "sim", "--seconds", "1", "--workers", "1"];
    let output = torture(&dir, &args);
    let told = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("SUITE FAILED") && told.contains("! no commit had"), "{told}");
    assert_eq!(files(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "it has made no file");
}

#[cfg(unix)]
#[test]
fn a_soak_runs_until_it_is_interrupted() {
    use std::io::{BufRead, BufReader, Read};
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(["torture", "--tier", "soak", "--suite", "sim", "--workers", "1", "--json", "-"]);
    command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" states, ") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    assert!(child.try_wait().unwrap().is_none());
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let drained = std::thread::spawn(move || {
        let mut rest = String::new();
        told.read_to_string(&mut rest).map(|_| rest)
    });
    let output = child.wait_with_output().unwrap();
    let rest = drained.join().unwrap().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{rest}");
    assert!(json["sim"]["states"].as_u64().unwrap() > 0, "{rest}");
}
