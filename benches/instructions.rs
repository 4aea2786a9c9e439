//! Instruction counts of the hot paths, and a check that they do not grow.
//!
//! Times differ from machine to machine and from minute to minute; instruction counts do not. So
//! continuous integration can compare them with a limit, while `syncline bench` measures speed.
//!
//! ```text
//!   this program --- for each path ---> valgrind --tool=callgrind, itself --run PATH N      count
//!        |                       `----> valgrind --tool=callgrind, itself --run PATH 2 N    count
//!        v
//!   (second - first) / N = instructions for one operation
//!        |
//!        v
//!   benches/instructions.toml: more than `rise` times the count there is a failure
//! ```
//!
//! - The count is the difference of two runs: the start, the opening and filling of the store, and every
//!   other constant cancel out. Function names do not matter.
//! - One thread (`Options::without_threads`), fixed rows, a fixed store id, and no close: the child exits
//!   without closing the store, since a checkpoint at the end would grow with `N`.
//! - Paths of the store run on real files in a temporary directory: the kernel's instructions are not
//!   counted, so the disk makes no difference. The synchronous commit runs on the simulated disk, so that
//!   no device has to flush; the simulation itself is part of its count.
//! - Valgrind emulates an older processor (AVX2, no AVX-512), so checksums take another path than on a
//!   recent machine: `crc32fast` falls back to `pclmulqdq`. That is good enough for a comparison, but it
//!   does not measure speed.
//! - Cache misses, system calls and waiting are not counted.
//!
//! ```sh
//! cargo bench --bench instructions               # compare; exit status 1 if a path has become longer
//! cargo bench --bench instructions -- --bless    # write the measured counts into the file
//! cargo bench --bench instructions -- get        # only the paths with `get` in their name
//! ```
//!
//! The profiles stay: `callgrind_annotate` of the named file shows where the instructions are spent. The
//! paths of packets need the feature `cli`; without it they are left out. With `--test`, and in `cargo
//! test --benches`, each path runs a few times without valgrind.

mod support;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs};

use support::{BATCH_ROWS, Draws, Filled, Key, key, missing_key, value};
use syncline::disk::SimDisk;
use syncline::{CommitMode, Options};

/// The file of the expected counts and their bounds.
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
/// Rows in the store: enough for a tree of three levels.
const ROWS: usize = 20_000;
/// Rows of one short scan.
const SCAN_ROWS: usize = 100;

/// A hot path.
struct Case {
    name: &'static str,
    /// Operations in the shorter of the two runs.
    operations: usize,
    run: fn(directory: &Path, operations: usize),
}

const CASES: &[Case] = &[
    Case { name: "get_hit", operations: 10_000, run: get_hit },
    Case { name: "get_miss", operations: 10_000, run: get_miss },
    Case { name: "scan_100", operations: 500, run: scan },
    Case { name: "put_async", operations: 5_000, run: put_async },
    Case { name: "batch_1000", operations: 10, run: batch },
    Case { name: "put_sync_simulated", operations: 1_000, run: put_sync },
    #[cfg(feature = "cli")]
    Case { name: "packet_get", operations: 10_000, run: packet_get },
    #[cfg(feature = "cli")]
    Case { name: "packet_put", operations: 10_000, run: packet_put },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    if has("--run") {
        return run_child(&arguments);
    }
    let is_chosen = |case: &&Case| {
        let mut words = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        words.peek().is_none() || words.any(|word| case.name.contains(word.as_str()))
    };
    let cases: Vec<&Case> = CASES.iter().filter(is_chosen).collect();
    // Cargo passes `--bench` when it benchmarks, and not when it tests.
    if has("--test") || !has("--bench") {
        return try_each(&cases);
    }
    if let Some(reason) = obstacle() {
        println!("instruction counts: SKIPPED, {reason}");
        return ExitCode::SUCCESS;
    }
    let counts: Vec<(&str, f64)> = cases.iter().map(|case| (case.name, measure(case))).collect();
    match has("--bless") {
        true => bless(&counts),
        false => compare(&counts),
    }
}

// --- the paths ---

fn get_hit(directory: &Path, operations: usize) {
    let filled = fill(directory);
    let (keys, mut draws) = (keys(key), Draws::below(ROWS));
    for _ in 0..operations {
        let found = filled.keyspace.get(black_box(&keys[draws.next()])).expect("a read");
        assert!(black_box(&found).is_some());
    }
    leave(filled);
}

fn get_miss(directory: &Path, operations: usize) {
    let filled = fill(directory);
    let (keys, mut draws) = (keys(missing_key), Draws::below(ROWS));
    for _ in 0..operations {
        let found = filled.keyspace.get(black_box(&keys[draws.next()])).expect("a read");
        assert!(black_box(&found).is_none());
    }
    leave(filled);
}

/// Scans from random keys. One scan in two hundred begins among the last hundred rows and is shorter.
fn scan(directory: &Path, operations: usize) {
    let filled = fill(directory);
    let (keys, mut draws) = (keys(key), Draws::below(ROWS));
    for _ in 0..operations {
        let from = black_box(&keys[draws.next()]);
        for entry in filled.keyspace.range::<&Key>(from..).expect("a range").take(SCAN_ROWS) {
            black_box(entry.expect("a row").value());
        }
    }
    leave(filled);
}

/// Changes existing rows, so that the tree keeps its shape.
fn put_async(directory: &Path, operations: usize) {
    put_all(fill(directory), operations, CommitMode::Async);
}

fn put_sync(_: &Path, operations: usize) {
    let filled = Filled::on(&SimDisk::new(), ROWS, options(Options::new()));
    put_all(filled, operations, CommitMode::Sync);
}

fn put_all(filled: Filled, operations: usize, mode: CommitMode) {
    let (keys, mut draws) = (keys(key), Draws::below(ROWS));
    let value = value(0);
    for _ in 0..operations {
        filled.keyspace.put_with(keys[draws.next()], black_box(value), mode).expect("a commit");
    }
    leave(filled);
}

/// The count includes building the batch.
fn batch(directory: &Path, operations: usize) {
    let filled = fill(directory);
    let mut draws = Draws::below(ROWS);
    for _ in 0..operations {
        filled.write((0..BATCH_ROWS).map(|_| draws.next()));
    }
    leave(filled);
}

#[cfg(feature = "cli")]
fn packet_get(_: &Path, operations: usize) {
    packets(syncline::bench::codec::Message::Get, operations);
}

#[cfg(feature = "cli")]
fn packet_put(_: &Path, operations: usize) {
    packets(syncline::bench::codec::Message::Put, operations);
}

/// Encodes and decodes a request, with its header and checksum.
#[cfg(feature = "cli")]
fn packets(message: syncline::bench::codec::Message, operations: usize) {
    use syncline::bench::codec::{Codec, Encoding};
    let mut codec = Codec::new(message, Encoding::Packet, 150);
    for _ in 0..operations {
        black_box(black_box(&mut codec).encode());
        black_box(black_box(&codec).decode());
    }
}

fn fill(directory: &Path) -> Filled {
    Filled::at(directory, ROWS, options)
}

fn options(options: Options) -> Options {
    options.without_threads().cache_bytes(64 << 20).segment_bytes(16 << 20)
}

fn keys(key: fn(usize) -> Key) -> Vec<Key> {
    (0..ROWS).map(key).collect()
}

/// Leaves the store open: closing it would write pages, more of them after more puts.
fn leave(filled: Filled) {
    std::mem::forget(filled);
}

// --- measuring ---

/// The reason why instructions cannot be counted here.
fn obstacle() -> Option<&'static str> {
    if cfg!(not(target_arch = "x86_64")) {
        return Some("the expected counts are of x86-64");
    }
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_err().then_some("valgrind is not installed")
}

/// `--run PATH N DIRECTORY`
fn run_child(arguments: &[String]) -> ExitCode {
    let [_, name, operations, directory, ..] = arguments else {
        return ExitCode::from(2);
    };
    let case = CASES.iter().find(|case| case.name == name).expect("a path of that name");
    (case.run)(Path::new(directory), operations.parse().expect("a number"));
    ExitCode::SUCCESS
}

/// Instructions per operation.
fn measure(case: &Case) -> f64 {
    let runs = [case.operations, 2 * case.operations]
        .map(|operations| CallgrindRun::start(case, operations));
    let [shorter, longer] = runs.map(CallgrindRun::finish);
    (longer as f64 - shorter as f64) / case.operations as f64
}

/// This program, running under valgrind.
struct CallgrindRun {
    child: Child,
    profile: PathBuf,
    _directory: tempfile::TempDir,
}

impl CallgrindRun {
    fn start(case: &Case, operations: usize) -> CallgrindRun {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let profile = profile(case.name, operations);
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(env::current_exe().expect("this program"))
            .args(["--run", case.name, &operations.to_string()])
            .arg(directory.path())
            .spawn()
            .expect("valgrind starts");
        CallgrindRun { child, profile, _directory: directory }
    }

    fn finish(mut self) -> u64 {
        let status = self.child.wait().expect("valgrind ends");
        assert!(status.success(), "valgrind: {status}");
        let text = fs::read_to_string(&self.profile).expect("callgrind wrote its profile");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.expect("a profile has its total").trim().parse().expect("a number")
    }
}

fn profile(name: &str, operations: usize) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{operations}.callgrind"))
}

/// Each path, without counting.
fn try_each(cases: &[&Case]) -> ExitCode {
    for case in cases {
        let directory = tempfile::tempdir().expect("a temporary directory");
        (case.run)(directory.path(), 3);
        println!("Testing {}: success", case.name);
    }
    ExitCode::SUCCESS
}

// --- comparing ---

fn compare(counts: &[(&str, f64)]) -> ExitCode {
    let text = fs::read_to_string(EXPECTED).expect("the expected counts");
    let read = |name| expected(&text, name);
    let (rise, fall) = (read("rise").expect("rise"), read("fall").expect("fall"));
    let (mut too_many, mut is_outdated) = (false, false);
    println!("{:<20} {:>12} {:>12} {:>7}", "instructions", "expected", "counted", "ratio");
    for &(name, count) in counts {
        let Some(before) = read(name) else {
            println!("{name:<20} {:>12} {count:>12.0}         not in the file", "-");
            is_outdated = true;
            continue;
        };
        let ratio = count / before;
        let verdict = if ratio > rise { "TOO MANY" } else { "" };
        too_many |= ratio > rise;
        is_outdated |= ratio < 1.0 / fall;
        println!("{name:<20} {before:>12.0} {count:>12.0} {ratio:>7.3} {verdict}");
        if ratio > rise {
            let case = CASES.iter().find(|case| case.name == name).expect("it was run");
            println!("  callgrind_annotate {}", profile(name, 2 * case.operations).display());
        }
    }
    if too_many {
        println!("more than {rise} times as many instructions as expected: find out why. If the");
        println!("change is worth it, say so in the commit, and commit the new counts with it:");
    } else if is_outdated {
        println!("a path is new, or {fall} times shorter than expected: write the new counts:");
    }
    if too_many || is_outdated {
        println!("  cargo bench --bench instructions -- --bless");
    }
    if too_many { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Replaces the counts in the file. The rest of the file stays as it is.
fn bless(counts: &[(&str, f64)]) -> ExitCode {
    let mut text = fs::read_to_string(EXPECTED).expect("the expected counts");
    for (name, count) in counts {
        let new = format!("{name} = {count:.0}");
        let old = text.lines().find(|line| number(line, name).is_some()).map(str::to_owned);
        match old {
            Some(old) => text = text.replace(&format!("{old}\n"), &format!("{new}\n")),
            None => text.push_str(&format!("{new}\n")),
        }
        println!("{new}");
    }
    fs::write(EXPECTED, text).expect("the file can be written");
    ExitCode::SUCCESS
}

fn expected(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| number(line, name))
}

/// The number in a line `name = number`, the only TOML in the file.
fn number(line: &str, name: &str) -> Option<f64> {
    let (before, after) = line.split_once('=')?;
    if before.trim() != name {
        return None;
    }
    let after = after.split('#').next().unwrap_or_default();
    Some(after.trim().parse().expect("a number after the ="))
}
