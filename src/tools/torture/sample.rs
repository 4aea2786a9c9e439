//! Invented summaries for the tests of the table, the page and the JSON. They have the size and shape
//! of real ones, and everything that must be escaped or marked.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use super::config::Tier;
use super::failure::{Clause, Failure, FailureKind};
use super::summary::{
    Caught, Exhibit, FaultRow, GateSummary, KillSummary, Moment, MuseumSummary, Picture, RotRow,
    ServerSummary, SimSummary, SiteRow, Summary,
};

/// Compares with a file of `tests/golden/torture`, or writes it if `SYNCLINE_BLESS` is set.
#[track_caller]
pub(super) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torture").join(name);
    if env::var_os("SYNCLINE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
    }
    let expected = fs::read_to_string(&path).expect("the golden file");
    assert!(expected.replace("\r\n", "\n") == text, "{name} differs:\n{text}");
}

/// A run in which all held.
pub(super) fn good() -> Summary {
    Summary {
        version: "0.0.0",
        tier: Tier::Smoke,
        seed: 123_456_789,
        workers: 2,
        seconds: 57.3,
        sim: Some(sim(1)),
        kill: Some(kill()),
        server: Some(server()),
        museum: Some(museum()),
        mutants: Some(gate()),
        skipped: Vec::new(),
        failures: Vec::new(),
    }
}

/// A run in which everything went wrong that can.
pub(super) fn bad() -> Summary {
    let mut gate = gate();
    gate.caught[6].clause = None;
    gate.caught[6].by = String::new();
    let mut museum = museum();
    museum.exhibits[2].passed = false;
    let mut sim = sim(0);
    if let Some(picture) = &mut sim.picture {
        // A state that lost a durable commit.
        let moment = &mut picture.moments[30];
        moment.recovered.insert(0, (moment.durable - 2, 1));
    }
    Summary {
        sim: Some(sim),
        museum: Some(museum),
        mutants: Some(gate),
        skipped: vec!["kill: instructions were not stepped through: no permission".into()],
        failures: failures(),
        ..good()
    }
}

fn failures() -> Vec<Failure> {
    let story = [
        "commits 1 to 9 were submitted, 1 to 7 acknowledged, 1 to 6 reported durable",
        "crash before operation 30, write of 512 bytes at 4096 of `log.3`; lost: sectors 8, 9",
        "recovery returned commits 1 to 4: <5> & \"6\" are gone although `Sync` had acknowledged \
         them, which is why this line is long enough to be wrapped in any terminal",
    ];
    vec![
        Failure {
            kind: FailureKind::Safety,
            clause: Some(Clause::Bounds),
            title: "a durable commit was lost: recovered 4, durable 6 <script>alert(1)</script>"
                .into(),
            story: story.map(str::to_owned).to_vec(),
            replay: "syncline torture --replay syncline-failures/bounds-123456789.json".into(),
        },
        Failure {
            kind: FailureKind::Liveness,
            clause: Some(Clause::Answers),
            title: "a put hung for 10 s after there was space again".into(),
            story: vec!["disk full at 8 MiB, then 1 MiB freed".into()],
            replay: "syncline torture --replay syncline-failures/answers-123456789.json".into(),
        },
        Failure {
            kind: FailureKind::Harness,
            clause: None,
            title: "no space for killed processes' stores".into(),
            story: Vec::new(),
            replay: "syncline torture --suite kill --seed 123456789".into(),
        },
    ]
}

fn sim(least: u64) -> SimSummary {
    let faults = [
        "process killed",
        "power loss",
        "flush fails",
        "disk full",
        "bit flipped",
        "page torn, misdirected, lost",
        "crash in recovery",
        "clock jumps",
        "file cut, missing, swapped",
        "short or interrupted call",
    ];
    let fault = |(index, name): (usize, &&str)| {
        let states = [9200, 903_411, 1804, 4410, 48_211, 6120, 310_022, 96, 741, 295][index];
        FaultRow {
            fault: index as u8 + 1,
            name: (*name).into(),
            states,
            sync: states * 2 / 3,
            unsynced: if index == 7 { least } else { states / 3 },
        }
    };
    let checked = |(index, clause): (usize, &Clause)| (*clause, 1_284_310 >> (index * 2));
    SimSummary {
        seconds: 28.02,
        worker_seconds: 55.9,
        small_states: 811_004,
        small_seconds: 44.7,
        runs: 1212,
        crash_points: 48_402,
        states: 1_284_310,
        states_by_depth: vec![974_288, 290_511, 18_400, 1111],
        clauses: Clause::ALL.iter().enumerate().map(checked).collect(),
        faults: faults.iter().enumerate().map(fault).collect(),
        sites: sites(least),
        windows_exhausted: 40_181,
        widest_exhausted: 14,
        windows_sampled: 8221,
        bits_flipped: 15_611,
        bits_unread: 9_437_184,
        bits: 15_048_704,
        rot: vec![RotRow {
            what: "bit flipped".into(),
            right: 9012,
            told: 40,
            refused: 612,
            unnoticed: 7,
        }],
        shapes: 420,
        shapes_met: 419,
        shapes_unmet: vec!["size more with theme crowd".into()],
        traces_compared: 24,
        picture: Some(picture()),
    }
}

fn sites(least: u64) -> Vec<SiteRow> {
    let places = [
        ("write", "data file", &["checkpoint", "close", "eviction"][..]),
        ("write", "log segment", &["commit", "recovery"]),
        ("flush", "data file", &["checkpoint", "close", "recovery"]),
        ("flush", "log segment", &["close", "commit", "recovery"]),
        ("flush", "directory", &["open", "recovery"]),
        ("create", "log segment", &["commit", "open", "recovery"]),
        ("read", "data file", &["get", "recovery", "scan"]),
    ];
    let mut rows = Vec::new();
    for (fault, times) in [("EIO", 96), ("disk full", 41), ("short", 7)] {
        for (index, (operation, file, phases)) in places.iter().enumerate() {
            if fault == "disk full" && ["flush", "read"].contains(operation) {
                continue;
            }
            for (phase_index, phase) in phases.iter().enumerate() {
                let is_missed = fault == "short" && (index, phase_index) == (5, 1)
                    || fault == "EIO" && (index, phase_index) == (4, 0);
                let once = times * (index as u64 * 5 + 1) / (phase_index as u64 + 1);
                rows.push(SiteRow {
                    fault: fault.into(),
                    operation: (*operation).into(),
                    file: (*file).into(),
                    phase: (*phase).into(),
                    once: if is_missed { least } else { once },
                    forever: if is_missed { 0 } else { once / 3 },
                });
            }
        }
    }
    rows
}

/// A run of commits, some of which flush.
fn picture() -> Picture {
    let mut moments = Vec::new();
    let (mut submitted, mut durable) = (0u64, 0u64);
    for operation in 0..54u64 {
        let (what, flushes) = match operation % 6 {
            0 | 1 | 3 => ("store of 120 bytes in log.1", false),
            2 => ("write of 8192 bytes at 65536 of data", false),
            4 => ("flush of log.1", false),
            _ => ("flush of data", true),
        };
        if operation % 6 != 2 && operation % 2 == 1 {
            submitted += 1 + operation % 3 / 2;
        }
        if flushes {
            durable = submitted.saturating_sub(1);
        }
        let spread = submitted - durable;
        let recovered = (durable..=submitted).map(|k| (k, 1 + (k * 7 + operation) % 23 * spread));
        moments.push(Moment {
            operation: operation + 11,
            what: what.into(),
            submitted,
            acknowledged: submitted.saturating_sub(operation % 2),
            durable,
            choices: spread * 3 + operation % 4,
            recovered: recovered.collect(),
        });
    }
    Picture { title: "36 commits, a flush after every fourth".into(), moments }
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn kill() -> KillSummary {
    KillSummary {
        seconds: 8.1,
        directory: "/tmp/syncline-kill (ext4)".into(),
        cycles: 412,
        places: counts(&[
            ("a random moment", 96),
            ("fdatasync, entry", 61),
            ("fdatasync, exit", 60),
            ("ftruncate, exit", 22),
            ("pwrite64, entry", 70),
            ("pwrite64, exit", 71),
            ("renameat, exit", 32),
        ]),
        injected: counts(&[("EINTR", 40), ("ENOSPC", 31), ("a short write", 44)]),
        sync_commits: 20_114,
        async_commits: 181_902,
        recoveries_killed: 130,
        deepest: 4,
        notes: vec!["Instructions were not stepped through: that is for the tier `full`.".into()],
    }
}

fn server() -> ServerSummary {
    ServerSummary {
        seconds: 5.1,
        directory: "/tmp/syncline-server (ext4)".into(),
        kills: 94,
        unmet: 17,
        writes: counts(&[
            ("a batch once", 1204),
            ("a put as a job", 9120),
            ("a sync put", 2210),
            ("an async batch", 4401),
            ("an async put", 20_114),
        ]),
        unanswered: 2911,
        unanswered_found: 1508,
        jobs: counts(&[("durable", 9011), ("interrupted", 31), ("lost", 92)]),
        retries: 1981,
        rows: 36_096,
        checks: 24,
        notes: Vec::new(),
    }
}

fn museum() -> MuseumSummary {
    let exhibit = |name: &str, story: &str, states| Exhibit {
        name: name.into(),
        story: story.into(),
        states,
        passed: true,
        mutants: Vec::new(),
    };
    MuseumSummary {
        seconds: 4.2,
        exhibits: vec![
            exhibit(
                "header before extension",
                "redb, 2026: a header reached the disk before the file's extension, and the store \
                 could never be opened again",
                14_020,
            ),
            exhibit("fsync retried", "PostgreSQL, 2018: a failed fsync was retried, and lied", 812),
            exhibit("segment recycled early", "ours: stale records of a recycled segment", 2301),
        ],
    }
}

fn gate() -> GateSummary {
    let mutants = [
        ("flush", "flush-skipped", "the log is not flushed", Clause::Bounds, 120, 0.21),
        ("order", "checkpoint-ahead", "pages before their log", Clause::Prefix, 3120, 1.92),
        ("receipts", "durable-too-early", "told before the flush", Clause::Receipts, 44, 0.08),
        ("checksum", "lsn-not-covered", "the salt leaves out the LSN", Clause::Sound, 901, 0.66),
    ];
    let mut caught = Vec::new();
    for (class, mutant, about, clause, states, seconds) in mutants {
        for seed in [1u64, 2] {
            let is_other = class == "flush" && seed == 2;
            caught.push(Caught {
                mutant: mutant.into(),
                class: class.into(),
                about: about.into(),
                seed,
                clause: Some(if is_other { Clause::Receipts } else { clause }),
                by: "power loss".into(),
                states: if is_other { 310 } else { states },
                seconds: seconds * seed as f64,
            });
        }
    }
    GateSummary { seconds: 14.6, untried: 0, caught }
}
