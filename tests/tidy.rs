//! Checks the source against the house rules.
//!
//! - T1 files and functions stay short: two limits, to be lowered when the longest gets shorter, and
//!   never to be raised;
//! - T2 imports point downward, layer by layer;
//! - T3 `unsafe` stays in the few files that own memory, each use with a `SAFETY:` comment;
//! - T4 no file has a note of work to do, or a path of the machine where it was written;
//! - T5 the engine reads no wall clock, so that clocks that jump make no difference, and few files
//!   measure time at all;
//! - T6 each test that `docs/promises.md` names exists, and its rows are counted right;
//! - T7 no printing macro of the standard library, which panics on a closed pipe;
//! - T8 the engine alone needs no feature, no async runtime, and only the listed dependencies;
//! - T9 no test asserts that something is fast;
//! - T10 each invariant has a unique label, which is defined once, in the header of a module; each
//!   label in use is defined.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file in `src`, with its tests.
const LONGEST_FILE: usize = 600;
/// The most lines of any other file.
const LIMIT_FILE: usize = 700;
/// The most lines of a function that is not listed.
const LONGEST_FUNCTION: usize = 70;

/// Functions that are longer, with their own limits.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[
    // A flat table of messages, with one arm per error.
    ("src/engine/base/error.rs", "fmt", 75),
];

/// The layers from the top down. A file may import from its own layer and from those below.
const LAYERS: &[&[&str]] = &[
    &["tools/cli"],
    &["tools/bench", "tools/torture"],
    &["tools/present"],
    &["tools/fuzzing", "tools/internals"],
    &["net/server", "net/client"],
    &["net/service"],
    &["net/proto"],
    &["engine/store", "engine/stories"],
    &["engine/recovery"],
    &["engine/commit"],
    &["engine/tree"],
    &["engine/cache"],
    &["engine/space"],
    &["engine/log"],
    &["engine/disk"],
    &["engine/options"],
    &["engine/mutants"],
    &["engine/base"],
];

/// Files that may contain `unsafe`.
const UNSAFE: &[&str] = &[
    "src/engine/cache/arena.rs",
    "src/engine/cache/draft.rs",
    "src/engine/cache/hold.rs",
    "src/engine/cache/in_place.rs",
    "src/engine/cache/load.rs",
    // Returns memory to the system.
    "src/engine/cache/memory.rs",
    "src/engine/cache/reader.rs",
    "src/engine/cache/writer.rs",
    "src/engine/disk/real/mapping.rs",
    // Memory that a forked process does not inherit.
    "src/engine/base/process.rs",
    // A fork, memory shared with a child, a filter on system calls: none has a safe interface.
    "src/tools/torture/kill/os.rs",
];

/// The table of promises and the tests that check them.
const PROMISES: &str = "docs/promises.md";

/// The dependencies of the engine alone, on Unix.
const DEPENDENCIES: &[&str] =
    &["crc32fast", "crossbeam-epoch", "getrandom", "log", "memmap2", "parking_lot", "rustix"];

/// Forbidden dependencies, direct or indirect: async runtimes, and packages that compile C.
const UNWANTED: &[&str] = &["tokio", "async-std", "async-executor", "smol", "mio", "ring", "cc"];

/// Tests that compare an elapsed time with a limit, outside a loop that waits, and why that does not
/// assert speed.
const LIMITED: &[(&str, &str)] = &[
    ("src/net/client/tests/streams.rs", "the clock stands still"),
    ("src/net/client/tests/truth.rs", "the clock stands still"),
    ("src/engine/log/preallocate.rs", "tells a wake-up from the end of 9 s"),
    ("tests/rolling.rs", "tells waiting for the clients from the end of their time"),
];

/// Words that look like a label but are not: standards, and issues of other stores.
const NO_LABELS: &[&str] = &["AVX", "CRC", "SHA", "UTF", "WT"];

/// The benchmarks in `benches/`.
const BENCHES: [&str; 5] = ["commit", "instructions", "internals", "read", "recovery"];

/// Words that must not appear in any file, in pieces so that this file does not contain them.
const FORBIDDEN: &[[&str; 2]] =
    &[["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"]];

#[test]
fn files_are_short() {
    let too_long = sources().into_iter().filter_map(|file| {
        let limit = if file.name.starts_with("src/") { LONGEST_FILE } else { LIMIT_FILE };
        let lines = file.text.lines().count();
        (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", file.name))
    });
    report("T1", too_long.collect());
}

#[test]
fn functions_are_short() {
    let mut problems = Vec::new();
    for file in sources() {
        for (name, line, lines) in functions(&file.text) {
            let known = |(path, function, _): &&(&str, &str, usize)| {
                *path == file.name && *function == name
            };
            let limit = LONG_FUNCTIONS.iter().find(known).map_or(LONGEST_FUNCTION, |(.., n)| *n);
            if lines > limit {
                problems.push(format!("{}:{line}: {name} has {lines} lines", file.name));
            }
        }
    }
    report("T1", problems);
}

#[test]
fn imports_point_downward() {
    let mut problems = Vec::new();
    for file in sources() {
        let Some(from) = layer_of_file(&file.name) else { continue };
        for (number, line) in code_lines(&file.text) {
            for module in imported(line) {
                let Some(to) = rank(&module) else {
                    problems.push(format!("{}:{number}: {module} is in no layer", file.name));
                    continue;
                };
                if to < from {
                    problems.push(format!("{}:{number}: imports {module}", file.name));
                }
            }
        }
    }
    report("T2", problems);
}

#[test]
fn unsafe_is_only_in_listed_files_and_has_a_safety_comment() {
    let mut problems = Vec::new();
    for file in sources().into_iter().filter(|file| file.name.starts_with("src/")) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in code_lines(&file.text) {
            let is_unsafe = line.contains("unsafe {") || line.contains("unsafe impl");
            if !is_unsafe && !line.contains("unsafe fn") {
                continue;
            }
            if !UNSAFE.contains(&file.name.as_str()) {
                problems.push(format!("{}:{number}: unsafe", file.name));
            }
            let before = lines[..number - 1].iter().rev();
            let mut comment = before.take_while(|line| line.trim_start().starts_with("//"));
            if is_unsafe && !comment.any(|line| line.contains("SAFETY:")) {
                problems.push(format!("{}:{number}: unsafe without SAFETY:", file.name));
            }
        }
    }
    report("T3", problems);
}

/// Layers that may read the clock: they measure, simulate, or talk to people and peers.
const TIMED_LAYERS: &[&str] = &["tools/", "net/server", "net/client", "net/service"];

/// Files of the engine that measure how long something takes, or wait for a time.
const TIMED: &[&str] = &[
    "src/engine/commit/checkpoint.rs",
    "src/engine/recovery/mod.rs",
    "src/engine/recovery/replay.rs",
    "src/engine/store/handle.rs",
    "src/engine/base/sync.rs",
    "src/engine/commit/background.rs",
];

#[test]
fn nothing_depends_on_a_wall_clock() {
    let mut problems = Vec::new();
    for file in sources().into_iter().filter(|file| layer_of_file(&file.name).is_some()) {
        let inside = file.name.trim_start_matches("src/");
        let is_engine = TIMED_LAYERS.iter().all(|layer| !inside.starts_with(layer));
        let mut is_test = false;
        for (number, line) in code_lines(&file.text).filter(|_| is_engine) {
            let may_measure = TIMED.contains(&file.name.as_str())
                || file.name.contains("tests")
                || file.name.contains("stories");
            // Unit tests come last in a file.
            is_test |= line.trim_start().starts_with("#[cfg(test)]");
            if line.contains("SystemTime") || line.contains("Instant") && !may_measure && !is_test {
                problems.push(format!("{}:{number}: reads a clock", file.name));
            }
        }
    }
    report("T5", problems);
}

#[test]
fn no_file_contains_a_forbidden_word() {
    let mut problems = Vec::new();
    let mut files = sources();
    files.extend(documents());
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = FORBIDDEN.iter().map(|w| w.concat()).find(|w| line.contains(w)) {
                problems.push(format!("{}:{}: {word}", file.name, number + 1));
            }
        }
    }
    report("T4", problems);
}

#[test]
fn no_printing_macro_panics_on_a_closed_pipe() {
    let is_test = |name: &str| name.contains("/tests") || name.ends_with("/golden.rs");
    let mut problems = Vec::new();
    for file in sources().iter().filter(|file| file.name.starts_with("src/")) {
        for (number, line) in file.text.lines().enumerate().filter(|_| !is_test(&file.name)) {
            let code = line.trim_start();
            let prints = ["println!", "eprintln!", "print!", "eprint!"];
            let is_one = |print: &&&str| {
                code.match_indices(**print).any(|(at, _)| {
                    !code.starts_with("//")
                        && !code[..at].ends_with(|before: char| before.is_alphanumeric())
                })
            };
            if let Some(print) = prints.iter().find(is_one) {
                problems.push(format!("{}:{}: {print} panics", file.name, number + 1));
            }
        }
    }
    report("T7", problems);
}

#[test]
fn promises_name_existing_tests() {
    let files = sources();
    let there = files.iter().flat_map(|file| tests(&file.text).map(|test| (&*file.name, test)));
    let there: Vec<(&str, &str)> = there.collect();
    let mut problems = Vec::new();
    for (number, cell) in promises(&read(PROMISES)) {
        for name in cell.split('`').skip(1).step_by(2) {
            let (path, function) = name.split_once(':').unwrap_or(("", name));
            let is_meant = |(file, test): &&(&str, &str)| {
                *test == function && (path.is_empty() || *file == path)
            };
            match there.iter().filter(is_meant).count() {
                0 => problems.push(format!("{PROMISES}:{number}: there is no test {name}")),
                1 => {}
                n => problems.push(format!("{PROMISES}:{number}: {n} tests {name}: add the file")),
            }
        }
    }
    report("T6", problems);
}

#[test]
fn promises_are_counted_right() {
    let text = read(PROMISES);
    let mut counts = [("held", 0), ("untested", 0), ("known false", 0)];
    for (number, cell) in promises(&text) {
        let said = [cell.starts_with('`'), cell.starts_with("untested"), cell.contains("false: ")];
        let kind = said.iter().position(|is_said| *is_said);
        let kind = kind.unwrap_or_else(|| panic!("{PROMISES}:{number}: neither test nor reason"));
        counts[kind].1 += 1;
    }
    let lines: Vec<String> = counts.iter().map(|(kind, n)| format!("| {kind} | {n} |")).collect();
    let wrong = lines.into_iter().filter(|line| !text.lines().any(|found| found == line));
    report("T6", wrong.map(|line| format!("{PROMISES}: it should say {line}")).collect());
}

#[test]
fn the_engine_alone_has_only_the_listed_dependencies_and_no_feature() {
    let manifest = read("Cargo.toml");
    assert_eq!(section(&manifest, "[features]").next(), Some("default = []"), "T8");
    let mandatory =
        |name| section(&manifest, name).filter(|line| !line.contains("optional = true"));
    let direct = mandatory("[dependencies]").chain(mandatory("[target.'cfg(unix)'.dependencies]"));
    let direct: Vec<&str> = direct.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(direct, DEPENDENCIES, "T8");
    // Their own dependencies, with the features that the command line switches on in them.
    let lock = read("Cargo.lock");
    let mut all = direct;
    let mut next = 0;
    while let Some(name) = all.get(next) {
        for needed in locked(&lock, name) {
            if !all.contains(&needed) {
                all.push(needed);
            }
        }
        next += 1;
    }
    assert!(all.len() > DEPENDENCIES.len(), "no indirect dependency found in Cargo.lock");
    let unwanted: Vec<&&str> = all.iter().filter(|name| UNWANTED.contains(name)).collect();
    assert!(unwanted.is_empty(), "T8: {unwanted:?} of {all:?}");
}

#[test]
fn no_test_asserts_that_something_is_fast() {
    let mut problems = Vec::new();
    for file in sources() {
        let found = hasty(&file.text);
        match LIMITED.iter().any(|(name, _)| *name == file.name) {
            true if found.len() != 1 => {
                problems.push(format!("{}: listed for one assertion", file.name));
            }
            true => {}
            false => problems.extend(found.iter().map(|line| format!("{}:{line}", file.name))),
        }
    }
    report("T9", problems);
}

#[test]
fn labels_are_defined_once() {
    let (mut defined, mut problems) = (Vec::new(), Vec::new());
    let files = labelled();
    for file in &files {
        for (number, line) in file.text.lines().enumerate() {
            let first = line.strip_prefix("//! - ").and_then(|item| item.split(' ').next());
            let Some(first) = first else { continue };
            let at = format!("{}:{}", file.name, number + 1);
            // The rules of this file are not invariants.
            if is_letter_and_number(first) && file.name != "tests/tidy.rs" {
                problems.push(format!("{at}: {first} needs a word, such as LOG-4"));
            }
            if labels(first).next() == Some(first) {
                if defined.contains(&first) {
                    problems.push(format!("{at}: {first} is defined already"));
                }
                defined.push(first);
            }
        }
    }
    assert!(defined.len() > 150, "only {} invariants found", defined.len());
    for file in &files {
        for (number, line) in file.text.lines().enumerate() {
            let unknown = labels(line).filter(|label| !defined.contains(label));
            let problem = |label| format!("{}:{}: {label} is not defined", file.name, number + 1);
            problems.extend(unknown.map(problem));
        }
    }
    report("T10", problems);
}

/// The helpers of the rules detect violations.
#[test]
fn a_broken_rule_is_detected() {
    let text =
        "fn long() {\n    one();\n}\n\nimpl X {\n    pub fn two(\n    ) {\n        a\n    }\n}\n";
    assert_eq!(functions(text), [("long", 1, 3), ("two", 6, 4)]);
    assert!(imported("use crate::net::server::Host;").eq(["net/server/Host"]));
    let line = "    crate::engine::log::Log, crate::engine::disk::Disk";
    assert!(imported(line).eq(["engine/log/Log", "engine/disk/Disk"]));
    assert!(imported("use crate::{Lsn, Store};").eq(["engine/store"]));
    assert!(rank("engine/store") < rank("engine/commit") && rank("net/proto") < rank("engine/log"));
    assert_eq!(rank("engine/logs"), None);
    assert_eq!(layer_of_file("src/engine/space/tests/mod.rs"), rank("engine/space"));
    assert_eq!(layer_of_file("src/lib.rs"), None);
    assert!(sources().len() > 100, "too few sources found");
    let text =
        "fn a() {}\n#[test]\n#[ignore]\nasync fn b() {}\nfn c() {}\n#[tokio::test(x)]\nfn d() {}";
    assert!(tests(text).eq(["b", "d"]));
    let table = "| held | 1 |\n| promise | where | test |\n|---|---|---|\n| p | w | `t` |\n\nend";
    assert!(promises(table).eq([(4, "`t`")]));
    assert!(promises(&read(PROMISES)).count() > 100, "too few promises found");
    let lock =
        "name = \"a\"\ndependencies = [\n \"b\",\n \"c 0.2.1\",\n]\n\n[[package]]\nname = \"d\"";
    assert_eq!((locked(lock, "a"), locked(lock, "d")), (vec!["b", "c"], vec![]));
    let text = "fn a() {\n    assert!(t.elapsed() < X);\n    while b {\n        assert!(t.elapsed() < X);\n    }\n\
                \x20   let took = t.elapsed();\n    assert!(took < X);\n    assert!(t.elapsed() >= X);\n}\n";
    assert_eq!(hasty(text), [2, 7]);
    assert!(labels("`LOG-4` (the log; LSN-3), UTF-8, X-1, A_B-2, LOG-4-1").eq(["LOG-4", "LSN-3"]));
    assert!(is_letter_and_number("V12") && is_letter_and_number("AB1"));
    assert!(!["V", "12", "LOG-4", "V12x", "VWX1"].into_iter().any(is_letter_and_number));
}

struct Source {
    /// Relative to the package, with slashes.
    name: String,
    text: String,
}

/// All Rust files.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    let peers = ["benches/peers/src", "benches/peers/tests"];
    let own = ["src", "tests", "examples", "benches/support", "fuzz/fuzz_targets"];
    for dir in own.into_iter().chain(peers) {
        collect(&root().join(dir), &mut files);
    }
    // By name: the directory also has the build output of the peers.
    for name in BENCHES {
        let name = format!("benches/{name}.rs");
        let text = fs::read_to_string(root().join(&name)).expect("a benchmark");
        files.push(Source { name, text });
    }
    files.retain(|file| file.name.ends_with(".rs"));
    files
}

fn documents() -> Vec<Source> {
    let names = [
        "README.md",
        "ARCHITECTURE.md",
        "PROTOCOL.md",
        "CRASH-SUITE.md",
        "BENCHMARKS.md",
        "examples/client.py",
        "tests/python/golden.py",
        "CHANGELOG.md",
        "deploy/README.md",
        "deploy/syncline.service",
        "deploy/alerts.yml",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Cargo.toml",
        "deny.toml",
        ".cargo/mutants-survivors.md",
        "benches/README.md",
        "benches/instructions.toml",
        "benches/peers/README.md",
        "benches/peers/Cargo.toml",
    ];
    let document = |name: &&str| Source { name: (*name).to_owned(), text: read(name) };
    let mut files: Vec<Source> = names.iter().map(document).collect();
    collect(&root().join("docs"), &mut files);
    files
}

/// All files that may refer to an invariant.
fn labelled() -> Vec<Source> {
    let mut files = sources();
    files.extend(documents());
    // Their comments name the invariants that they show.
    collect(&root().join("tests/scripts"), &mut files);
    files
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("a document")
}

fn collect(dir: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).expect("in the package").to_string_lossy();
            files.push(Source { name: name.replace('\\', "/"), text });
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn report(rule: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

/// Lines that are not comments, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The functions of a formatted file: name, first line, number of lines. A function ends at the first
/// closing brace with the indent of its first line.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        let code = line.trim_start();
        let Some(name) = function_name(code) else { continue };
        if code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let rest = &lines[number..];
        let length = rest.iter().position(|line| *line == end);
        found.extend(length.map(|length| (name, number, length + 2)));
    }
    found
}

/// The functions of a file that are tests.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let code = line.trim_start();
        is_test |= code.starts_with("#[test]") || code.starts_with("#[tokio::test");
        let name = function_name(code)?;
        std::mem::take(&mut is_test).then_some(name)
    })
}

/// The labels of invariants in a line: the word of a module, a hyphen and a number.
fn labels(line: &str) -> impl Iterator<Item = &str> {
    let tokens = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    tokens.filter(|token| {
        token.split_once('-').is_some_and(|(word, number)| {
            let is_word = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
            is_word && is_number(number) && !NO_LABELS.contains(&word)
        })
    })
}

/// Whether this is one or two capital letters with a number.
fn is_letter_and_number(word: &str) -> bool {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
    (1..=2).contains(&(word.len() - rest.len())) && is_number(rest)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The rows of the tables with three columns: line number, and third cell.
fn promises(text: &str) -> impl Iterator<Item = (usize, &str)> {
    code_lines(text).filter_map(|(number, line)| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        (cells.len() == 3 && cells[2] != "test").then(|| (number, cells[2]))
    })
}

/// The lines with a key of a section of a manifest, without the lines of a list.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = manifest.lines().skip_while(move |line| *line != name).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// The dependencies of a package according to the lock file.
fn locked<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("name = \"{name}\"");
    let package = lock.split("[[package]]").find(|package| package.lines().any(|l| l == name));
    let list = package.and_then(|package| package.split_once("dependencies = ["));
    let lines = list.map_or("", |(_, list)| list).lines();
    lines.filter_map(|line| line.strip_prefix(" \"")?.split([' ', '"']).next()).collect()
}

/// The lines that assert that less than some time has elapsed, except in a loop, where that ends a
/// test that hangs. The elapsed time may be in a variable.
fn hasty(text: &str) -> Vec<usize> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut names: Vec<String> = Vec::new();
    let mut around: Vec<(usize, bool)> = Vec::new();
    let mut found = Vec::new();
    for (number, line) in code_lines(text).filter(|(_, line)| !line.trim().is_empty()) {
        let code = line.trim_start();
        around.retain(|(outer, _)| *outer < indent(line));
        if code.starts_with("fn ") {
            names.clear();
        }
        if code.contains("elapsed()") {
            let named = code.strip_prefix("let ").and_then(|rest| rest.split_once(" = "));
            names.extend(named.map(|(name, _)| format!("{name} <")));
        }
        let is_of_time = code.contains("elapsed()") && code.contains(" < ")
            || names.iter().any(|name| code.contains(name.as_str()));
        let is_in_loop = around.last().is_some_and(|(_, is_loop)| *is_loop);
        if code.starts_with("assert") && is_of_time && !is_in_loop {
            found.push(number);
        }
        if line.ends_with('{') {
            let is_loop = code.starts_with("while ") || code.starts_with("loop ");
            around.push((indent(line), is_loop));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    const BEFORE: &[&str] =
        &["pub(crate) ", "pub(super) ", "pub ", "const ", "unsafe ", "async ", "extern \"C\" "];
    let mut code = code;
    while let Some(rest) = BEFORE.iter().find_map(|word| code.strip_prefix(word)) {
        code = rest;
    }
    let rest = code.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// The modules after each `crate::` in a line, as paths. A single name, or a list in braces, is an
/// export of the crate, which counts as an import of the store.
fn imported(line: &str) -> impl Iterator<Item = String> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let path = rest[..end.unwrap_or(rest.len())].trim_end_matches(':');
        match path.starts_with(|first: char| first.is_lowercase()) && path.contains("::") {
            true => path.replace("::", "/"),
            false => "engine/store".to_owned(),
        }
    })
}

/// The layer of a path.
fn rank(path: &str) -> Option<usize> {
    let is_in = |room: &&str| {
        path.strip_prefix(*room).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    };
    LAYERS.iter().position(|layer| layer.iter().any(is_in))
}

fn layer_of_file(name: &str) -> Option<usize> {
    rank(name.strip_prefix("src/")?)
}
