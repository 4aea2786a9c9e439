//! Kills a process in the middle of its commits, and checks its store:
//! `cargo run --example crash_and_recover`
//!
//! The program starts itself a second time as the writer. The writer commits rows `0, 1, 2, ..`,
//! every hundredth of them `Sync` and the others `Async`. It reports each commit on its standard output
//! as soon as it is acknowledged. The parent kills it (SIGKILL on Unix: no destructor, no flush), opens
//! the store and compares.
//!
//! A kill is not a power loss: the operating system keeps its cache. So every acknowledged row must be
//! there, in either commit mode. (The tests simulate power losses, on a simulated disk.)

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use syncline::{CommitMode, Options, Status, Store};

/// The parent kills the writer after this many acknowledgements.
const ENOUGH: usize = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(dir) => write_for_ever(Path::new(&dir)),
        None => kill_and_recover(),
    }
}

/// The writer, which runs until it is killed.
fn write_for_ever(dir: &Path) -> Result<(), Box<dyn Error>> {
    let store = Store::open(dir)?;
    let rows = store.keyspace("rows")?;
    let mut out = io::stdout().lock();
    for number in 0u64.. {
        let mode = if number % 100 == 0 { CommitMode::Sync } else { CommitMode::Async };
        let receipt = rows.put_with(number.to_be_bytes(), number.to_string(), mode)?;
        writeln!(out, "{}", receipt.token())?;
    }
    Ok(())
}

fn kill_and_recover() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    // 1. Start the writer, and read its acknowledgements in this process.
    let mut writer =
        Command::new(std::env::current_exe()?).arg(dir.path()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines();
    let mut tokens = Vec::new();
    for line in lines.by_ref().take(ENOUGH) {
        tokens.push(line?);
    }

    // 2. Kill it. The lines in the pipe are acknowledged commits too, except the last line, which the
    //    kill may have cut short.
    writer.kill()?;
    writer.wait()?;
    tokens.extend(lines.map_while(Result::ok));
    tokens.pop();
    println!("the writer was killed after {} acknowledged commits", tokens.len());

    // 3. Open the store: recovery replays the log.
    let store = Options::new().must_exist().open(dir.path())?;
    let summary = store.stats().recovery;
    println!(
        "recovery replayed {} commits up to LSN {} in {:?}, and cut {} bytes",
        summary.records_replayed, summary.recovered_to, summary.duration, summary.bytes_cut
    );
    assert!(!summary.was_clean);

    // 4. Every acknowledged row is there, and perhaps some whose acknowledgement was not read.
    let rows = store.keyspace("rows")?;
    let (promised, found) = (tokens.len() as u64, rows.len()?);
    println!("promised {promised} rows, found {found}");
    assert!(found >= promised, "an acknowledged commit is missing");
    for (number, entry) in (0u64..).zip(rows.iter()?) {
        let entry = entry?;
        assert_eq!(entry.key(), number.to_be_bytes(), "no holes");
        assert_eq!(entry.value(), number.to_string().as_bytes());
    }

    // 5. This process answers for the receipts of the dead one.
    for token in &tokens {
        assert_eq!(store.status(token)?, Status::Durable);
    }
    println!("all their receipts say: durable");
    println!("verify: {}", if store.verify()?.is_clean() { "clean" } else { "NOT clean" });
    Ok(store.close()?)
}
