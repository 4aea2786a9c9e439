//! The command line as a shell runs it: exit statuses, formats, streams.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary directory, in which no store has been created yet.
struct TestDir {
    dir: TempDir,
}

impl TestDir {
    fn new() -> TestDir {
        TestDir { dir: TempDir::new().unwrap() }
    }

    fn store(&self) -> String {
        self.path("store").to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, contents: &[u8]) -> String {
        fs::write(self.path(name), contents).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Runs a command that must exit with `status`, and returns what it printed.
#[track_caller]
fn expect(status: i32, args: &[&str]) -> (Vec<u8>, String) {
    let output = run(args);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {complaint}");
    (output.stdout, complaint)
}

/// Runs a command that must exit with `status`, print nothing, and complain with `reason`.
#[track_caller]
fn expect_complaint(status: i32, args: &[&str], reason: &str) {
    let (printed, complaint) = expect(status, args);
    assert_eq!(printed, b"", "{args:?}");
    assert!(complaint.starts_with("syncline: "), "{args:?}: {complaint}");
    assert!(complaint.contains(reason), "{args:?}: {complaint}");
}

#[test]
fn a_value_is_put_read_and_deleted_by_separate_processes() {
    let temp = TestDir::new();
    let store = &temp.store();
    expect(0, &["put", store, "key", "first"]);
    expect(0, &["put", store, "key", "value", "--mode", "async"]);
    assert_eq!(expect(0, &["get", store, "key"]).0, b"value\n");
    assert_eq!(expect(0, &["get", store, "key", "--raw"]).0, b"value");
    assert_eq!(expect(0, &["get", store, "6b6579", "--hex"]).0, b"76616c7565\n");
    expect(0, &["del", store, "key"]);
    expect_complaint(1, &["get", store, "key"], "not found");
    expect_complaint(1, &["del", store, "key"], "not found");
}

#[test]
fn keyspaces_do_not_share_keys() {
    let temp = TestDir::new();
    let store = &temp.store();
    expect(0, &["put", store, "key", "1"]);
    expect(0, &["put", store, "key", "2", "--keyspace", "other"]);
    assert_eq!(expect(0, &["get", store, "key"]).0, b"1\n");
    assert_eq!(expect(0, &["get", store, "key", "--keyspace", "default"]).0, b"1\n");
    assert_eq!(expect(0, &["scan", store, "--keyspace", "other"]).0, b"key\t2\n");
    for args in [["get", store, "key"].as_slice(), &["del", store, "key"], &["scan", store]] {
        let args = [args, &["--keyspace", "none"]].concat();
        expect_complaint(1, &args, "no keyspace \"none\"");
    }
}

#[test]
fn a_wrong_call_exits_with_2() {
    let temp = TestDir::new();
    let store = &temp.store();
    for args in [
        [].as_slice(),
        &["frobnicate"],
        &["get"],
        &["get", store],
        &["put", store, "key"],
        &["put", store, "key", "value", "--mode", "perhaps"],
        &["put", store, "key", "f", "--hex"],
        &["scan", store, "--limit", "many"],
        &["scan", store, "--prefix", "a", "--from", "b"],
        &["import", store, "rows.tsv", "--batch", "0"],
        &["bench", store, "--seconds", "0"],
        &["bench", store, "--seconds", "inf"],
        &["bench", store, "--rounds", "0"],
    ] {
        let (printed, complaint) = expect(2, args);
        assert_eq!(printed, b"", "{args:?}");
        assert!(!complaint.is_empty(), "{args:?}");
    }
    assert!(!Path::new(store).exists());
    assert!(!expect(0, &["--help"]).0.is_empty());
    assert!(expect(0, &["--version"]).0.starts_with(b"syncline "));
}

#[test]
fn reading_creates_no_store() {
    let temp = TestDir::new();
    let missing = &temp.store();
    let empty = temp.path("empty");
    fs::create_dir(&empty).unwrap();
    for dir in [missing, empty.to_str().unwrap()] {
        expect_complaint(2, &["get", dir, "key"], dir);
        expect_complaint(2, &["del", dir, "key"], dir);
        expect_complaint(2, &["scan", dir], dir);
        expect_complaint(2, &["info", dir], dir);
        expect_complaint(2, &["verify", dir], dir);
        expect_complaint(2, &["dump-log", dir], dir);
    }
    assert!(!Path::new(missing).exists());
    // A lock file alone does not look like a store.
    expect_complaint(2, &["get", empty.to_str().unwrap(), "key"], "empty");
}

#[test]
fn scans_select_and_print() {
    let temp = TestDir::new();
    let store = &temp.store();
    let rows = temp.file("rows.tsv", b"a\t1\nab\t2\nb\t3\nc\t4\n");
    expect(0, &["import", store, &rows]);
    let scan = |args: &[&str]| {
        let printed = expect(0, &[&["scan", store.as_str()], args].concat()).0;
        String::from_utf8(printed).unwrap()
    };
    assert_eq!(scan(&[]), "a\t1\nab\t2\nb\t3\nc\t4\n");
    assert_eq!(scan(&["--reverse"]), "c\t4\nb\t3\nab\t2\na\t1\n");
    assert_eq!(scan(&["--prefix", "a"]), "a\t1\nab\t2\n");
    assert_eq!(scan(&["--from", "ab", "--to", "c"]), "ab\t2\nb\t3\n");
    assert_eq!(scan(&["--from", "ab"]), "ab\t2\nb\t3\nc\t4\n");
    assert_eq!(scan(&["--to", "b", "--reverse"]), "ab\t2\na\t1\n");
    assert_eq!(scan(&["--from", "c", "--to", "b"]), "");
    assert_eq!(scan(&["--from", "b", "--to", "b"]), "");
    assert_eq!(scan(&["--limit", "1"]), "a\t1\n");
    assert_eq!(scan(&["--limit", "1", "--reverse"]), "c\t4\n");
    assert_eq!(scan(&["--limit", "0"]), "");
    assert_eq!(scan(&["--format", "hex", "--limit", "2"]), "61\t31\n6162\t32\n");
    assert_eq!(scan(&["--hex", "--prefix", "6162"]), "6162\t32\n");
    assert_eq!(scan(&["--format", "json", "--limit", "1"]), "{\"key\":\"a\",\"value\":\"1\"}\n");
}

/// Keys and values with every byte, so that they are not UTF-8, and contain newlines and TABs.
#[test]
fn the_json_output_of_scan_can_be_imported() {
    let temp = TestDir::new();
    let (store, copy) = (&temp.store(), temp.path("copy"));
    let copy = copy.to_str().unwrap();
    for byte in 0..=255u8 {
        // Imported as well, which is faster than a put each.
        let line =
            format!("{{\"key_hex\":\"{byte:02x}0a09\",\"value_hex\":\"{:02x}ff\"}}\n", !byte);
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(temp.path("all.jsonl")).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    let all = temp.path("all.jsonl");
    expect(0, &["import", store, all.to_str().unwrap(), "--format", "jsonl"]);
    expect(0, &["put", store, "text", "caf\u{e9} \"quoted\""]);
    let (printed, _) = expect(0, &["scan", store, "--format", "json"]);
    assert_eq!(printed.iter().filter(|byte| **byte == b'\n').count(), 257);

    let printed_file = temp.file("printed.jsonl", &printed);
    let args = ["import", copy, &printed_file, "--format", "jsonl", "--mode", "async"];
    let (_, summary) = expect(0, &args);
    assert!(summary.contains("imported 257 rows"), "{summary}");
    assert_eq!(expect(0, &["scan", copy, "--format", "json"]).0, printed);
    let hex = ["--format", "hex"];
    let of = |store| expect(0, &[["scan", store], hex].concat()).0;
    assert_eq!(of(copy), of(store));
}

#[test]
fn standard_input_is_imported_in_batches() {
    let temp = TestDir::new();
    let store = &temp.store();
    let mut import = command(&["import", store, "-", "--mode", "async", "--batch", "7"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    for number in 0..1000 {
        writeln!(input, "key{number:04}\tvalue {number}").unwrap();
    }
    drop(input);
    let output = import.wait_with_output().unwrap();
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{summary}");
    assert!(summary.starts_with("imported 1000 rows"), "{summary}");
    assert!(summary.contains("durable up to LSN"), "{summary}");
    assert_eq!(summary.lines().count(), 1, "no progress bar without a terminal: {summary}");
    let (printed, _) = expect(0, &["scan", store]);
    assert_eq!(printed.iter().filter(|byte| **byte == b'\n').count(), 1000);
    assert!(printed.ends_with(b"key0999\tvalue 999\n"));
}

#[test]
fn a_malformed_line_is_named_and_the_lines_before_it_stay() {
    let temp = TestDir::new();
    let store = &temp.store();
    let rows = temp.file("rows.tsv", b"a\t1\nb\t2\nc\t3\nno tab here\nd\t4\n");
    let args = ["import", store, &rows, "--batch", "2"];
    expect_complaint(2, &args, "rows.tsv: line 4: no TAB");
    let complaint = expect(2, &args).1;
    assert!(complaint.contains("which stay: 3"), "{complaint}");
    assert_eq!(expect(0, &["scan", store]).0, b"a\t1\nb\t2\nc\t3\n");

    let rows = temp.file("rows.jsonl", b"{\"key\":\"x\",\"value\":\"1\"}\n{\"key\":\"y\"}\n");
    let args = ["import", store, &rows, "--format", "jsonl"];
    expect_complaint(2, &args, "rows.jsonl: line 2: neither \"value\"");
    assert_eq!(expect(0, &["get", store, "x"]).0, b"1\n");
}

#[test]
fn a_row_that_the_store_refuses_is_named_by_its_batch() {
    let temp = TestDir::new();
    let store = &temp.store();
    let long = "k".repeat(100_000);
    let rows = temp.file("rows.tsv", format!("a\t1\nb\t2\n{long}\t3\n").as_bytes());
    let args = ["import", store, &rows, "--batch", "1"];
    expect_complaint(2, &args, "line 3: a key of 100000 bytes");
    // In the middle of a larger batch, after a blank line.
    let rows = format!("c\t1\n\nd\t2\n{long}\t3\ne\t4\n");
    let rows = temp.file("rows.tsv", rows.as_bytes());
    expect_complaint(2, &["import", store, &rows], "line 4: a key of 100000 bytes");
    assert_eq!(expect(0, &["scan", store]).0, b"a\t1\nb\t2\n");
}

#[test]
fn a_missing_input_file_creates_no_store() {
    let temp = TestDir::new();
    let (store, rows) = (&temp.store(), temp.path("none.tsv"));
    expect_complaint(2, &["import", store, rows.to_str().unwrap()], "none.tsv");
    assert!(!Path::new(store).exists());
    // A directory can be opened, but not read.
    let directory = temp.dir.path().to_str().unwrap();
    expect_complaint(2, &["import", store, directory], directory);
    assert!(!Path::new(store).exists());
    for keyspace in ["", "$once", "a\nb"] {
        expect(2, &["put", store, "key", "value", "--keyspace", keyspace]);
        assert!(!Path::new(store).exists());
    }
}

/// `scan | head -1`, with far more output than a pipe holds.
#[test]
fn a_closed_pipe_is_not_a_failure() {
    let temp = TestDir::new();
    let store = &temp.store();
    let value = "v".repeat(1000);
    let rows: String = (0..2000).map(|number| format!("{number:05}\t{value}\n")).collect();
    let rows = temp.file("rows.tsv", rows.as_bytes());
    expect(0, &["import", store, &rows]);

    let mut scan =
        command(&["scan", store]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 5];
    let mut output = scan.stdout.take().unwrap();
    output.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"00000");
    drop(output);
    let ended = scan.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
    // The store was closed properly.
    expect(0, &["verify", store]);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let temp = TestDir::new();
    let store = &temp.store();
    expect(0, &["put", store, "key", "value"]);
    for args in [["get", store, "key"].as_slice(), &["scan", store], &["info", store]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(args).stdout(full).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {complaint}");
        assert!(complaint.contains("cannot write to standard output"), "{complaint}");
    }
}

#[test]
fn info_verify_and_dump_log_describe_the_store() {
    let temp = TestDir::new();
    let store = &temp.store();
    expect(0, &["put", store, "a", "1"]);
    expect(0, &["put", store, "b", "2"]);
    let (printed, _) = expect(0, &["info", store, "--json"]);
    let info: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(info["keyspaces"]["default"]["keys"], 2);
    assert!(info["watermarks"]["durable"].as_u64().unwrap() > 0, "{info}");
    assert_eq!(info["id"].as_str().unwrap().len(), 32);
    let text = String::from_utf8(expect(0, &["info", store]).0).unwrap();
    assert!(text.contains("\n  durable: "), "{text}");
    assert!(text.contains("\n    keys: 2\n"), "{text}");

    let text = String::from_utf8(expect(0, &["verify", store]).0).unwrap();
    assert!(text.starts_with("clean: "), "{text}");
    let whole = expect(0, &["dump-log", store]).0;
    assert!(!whole.is_empty());
    assert!(expect(0, &["dump-log", store, "--limit", "0"]).0.is_empty());
}

#[test]
fn a_short_bench_measures_everything_and_can_be_shown_again() {
    let temp = TestDir::new();
    let json = temp.path("bench.json");
    let (dir, json) = (temp.path("bench"), json.to_str().unwrap());
    let args = ["bench", "--dir", dir.to_str().unwrap(), "--seconds", "0.02", "--rounds", "1"];
    let more = ["--keys", "2000", "--cache-mib", "16", "--workload", "all", "--json", json];
    let short = ["--again", "0", "--steady", "1", "--large-mib", "16", "--large-seconds", "1"];
    let (printed, _) = expect(0, &[&args[..], &more, &short].concat());
    let table = String::from_utf8(printed).unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 150), "{table}");

    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(report["run"]["keys"], 2000);
    assert_eq!(report["engines"][0]["modes"][1]["guarantee"], "power_loss");
    let results = report["results"].as_array().unwrap();
    let families = "flush commit window read scan mixed load hot large recover space growth steady";
    for family in families.split(' ') {
        assert!(results.iter().any(|row| row["workload"] == family), "{family}:\n{table}");
        assert!(table.contains(&format!("\n{family} / ")), "{family}:\n{table}");
    }
    for row in results {
        assert!(row["ops_per_s"].as_f64().unwrap() > 0.0, "{row}");
        let engine = row["engine"].as_str().unwrap();
        assert!(["syncline", "floor"].contains(&engine), "{row}");
        for field in ["p50_us", "p90_us", "p99_us", "p999_us", "max_us", "threads"] {
            assert!(row[field].is_number(), "{field}: {row}");
        }
        let latency = row["latency"].as_array().unwrap();
        assert_eq!(latency.last().unwrap()[0], 1.0, "{row}");
        let has_floor = ["commit", "read", "scan", "load", "large"]
            .contains(&row["workload"].as_str().unwrap());
        if has_floor && row["variant"] != "cold" {
            assert!(row["ratio_to_floor"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    let left: Vec<_> = fs::read_dir(&dir).unwrap().collect();
    assert!(left.is_empty(), "the bench removes its files: {left:?}");

    let page = temp.path("bench.html");
    let again = ["bench", "--from-json", json, "--html", page.to_str().unwrap()];
    assert_eq!(String::from_utf8(expect(0, &again).0).unwrap(), table);
    assert!(fs::read_to_string(page).unwrap().contains("<svg"));
}

#[test]
fn a_bench_takes_sizes_and_a_rate() {
    let temp = TestDir::new();
    let json = temp.path("bench.json");
    let (dir, json) = (temp.path("bench"), json.to_str().unwrap());
    let args = ["bench", dir.to_str().unwrap(), "--seconds", "0.02", "--rounds", "2"];
    let more = ["--keys", "500", "--threads", "2,1", "--batch", "1,10", "--value-bytes", "100"];
    let rate = ["--rate", "2000", "--json", json, "--workload", "commit,read,commit"];
    expect(0, &[&args[..], &more, &rate].concat());
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let results = report["results"].as_array().unwrap();
    let commits = results.iter().filter(|row| {
        row["workload"] == "commit" && row["engine"] == "syncline" && row["mode"] == "async"
    });
    // One put, and batches uniform and in key order, by one and by two threads.
    assert_eq!(commits.count(), 6, "{results:#?}");
    for row in results {
        assert_eq!(row["rate"], 2000.0, "{row}");
        assert_eq!(row["ratio_is"], "p50 latency", "{row}");
        assert_eq!(row["value_bytes"], 100, "{row}");
    }
}

#[test]
fn a_wrong_bench_says_what_is_wrong() {
    let temp = TestDir::new();
    let store = &temp.store();
    let no_result = temp.path("no-result.json");
    fs::write(&no_result, "{}").unwrap();
    let no_result = no_result.to_str().unwrap();
    for (args, complaint) in [
        (["--workload", "juggling"].as_slice(), "juggling"),
        (&["--rate", "0"], "--rate 0"),
        (&["--rate", "nan"], "--rate NaN"),
        (&["--threads", "0"], "1 to 4096"),
        (&["--threads", "1,many"], "many"),
        (&["--value-bytes", "7"], "8 to 16777216"),
        (&["--batch", "0"], "1 to 1000000"),
        (&["--keys", "0"], "--keys"),
        (&["--steady", "0"], "--steady"),
        (&["--large-mib", "15"], "--large-mib"),
        (&["--engine", "other"], "there are syncline"),
        (&["--json", store], store),
    ] {
        let dir = ["bench", "--dir", store];
        // For `--json`: a directory instead of a file.
        fs::create_dir_all(store).unwrap();
        expect_complaint(2, &[&dir[..], args].concat(), complaint);
    }
    assert!(fs::read_dir(store).unwrap().next().is_none());
    expect_complaint(2, &["bench", "--from-json", no_result], "not a result of bench");
    expect_complaint(2, &["bench", "--from-json", store], store);
    expect_complaint(2, &["bench", "--from-json", no_result, "--rounds", "1"], "--rounds");
}
