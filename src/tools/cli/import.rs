//! `import`: every line of a file becomes a row, many rows to a commit.
//!
//! ```text
//!   line, line, line, ...  --->  batch  --->  commit  --->  ...  --->  flush, summary
//! ```
//!
//! A batch ends at `--batch` rows or at [`MAX_BATCH_BYTES`], so that memory does not grow with
//! the input. If a line is malformed, the rows before it are committed and stay. They are durable
//! before the message with their number is printed.
//!
//! With `--connect` the batches go to a server, each with an idempotency key: a batch whose answer
//! was lost with its connection is sent again, and applied once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use super::args::ImportArgs;
use super::connect::Session;
use super::failure::{CommandResult, Failure, Status};
use super::messages::note;
use super::rows::{RowError, Rows};
use super::store::{Access, with_store};
use crate::net::client::{Batch, Code, Write};
use crate::{CommitMode, Error, Keyspace, Lsn, Store, Watermarks, WriteBatch};

/// A batch of this size is committed, even if it has few rows.
const MAX_BATCH_BYTES: u64 = 4 << 20;

/// The interval of updates of the progress bar.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn import(args: &ImportArgs) -> CommandResult {
    // First of all: a missing or unreadable file creates no store.
    let input = open_input(&args.file)?;
    if let Some(server) = args.place.remote.is_asked() {
        let target = There::new(server.session()?, &args.place.keyspace)?;
        return import_into(target, input, args);
    }
    with_store(&args.place.dir, Access::Create, |store| {
        let keyspace = store.keyspace(&args.place.keyspace)?;
        import_into(Here { store, keyspace, batch: WriteBatch::new() }, input, args)
    })
}

fn import_into(
    target: impl Target,
    (input, input_bytes): Input,
    args: &ImportArgs,
) -> CommandResult {
    let mut import = Import {
        target,
        mode: args.mode.into(),
        file: args.file.display().to_string(),
        batch_first_line: 1,
        batch_rows: Vec::new(),
        rows_committed: 0,
        started: Instant::now(),
        progress: Progress::start(input_bytes),
    };
    let mut rows = Rows::new(input, args.format);
    let result = import.all(&mut rows, args.batch);
    import.progress.bar.finish_and_clear();
    // Also after a malformed line: the rows that the message counts must stay.
    let durable = import.target.flush();
    result?;
    import.summarize(rows.bytes_read(), durable?);
    Ok(Status::Done)
}

/// The destination of rows, with the batch that is being gathered.
trait Target {
    fn put(&mut self, key: &[u8], value: &[u8]);
    /// The number of gathered rows, and about how many bytes they have.
    fn gathered(&self) -> (u64, u64);
    /// Commits the gathered rows.
    fn commit(&mut self, mode: CommitMode) -> Result<(), Failure>;
    fn watermarks(&self) -> Result<Watermarks, Failure>;
    /// Makes all commits durable, and returns the sync line.
    fn flush(&self) -> Result<Lsn, Failure>;
}

/// A store in a directory.
struct Here<'a> {
    store: &'a Store,
    keyspace: Keyspace,
    batch: WriteBatch,
}

impl Target for Here<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put(&self.keyspace, key, value);
    }

    fn gathered(&self) -> (u64, u64) {
        (self.batch.len() as u64, self.batch.bytes() as u64)
    }

    fn commit(&mut self, mode: CommitMode) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, WriteBatch::new());
        self.store.write_with(batch, mode)?;
        Ok(())
    }

    fn watermarks(&self) -> Result<Watermarks, Failure> {
        Ok(self.store.watermarks())
    }

    fn flush(&self) -> Result<Lsn, Failure> {
        Ok(self.store.flush()?)
    }
}

/// A store behind a server.
struct There {
    session: Session,
    keyspace: String,
    batch: Batch,
    bytes: u64,
    /// The prefix of this import's idempotency keys, and the number of batches so far.
    name: String,
    batches: u64,
}

impl There {
    fn new(session: Session, keyspace: &str) -> Result<There, Failure> {
        session.wait(session.client.keyspace(keyspace))?;
        let name = getrandom::u64()
            .map_err(|error| Failure::io("get a random number")(io::Error::other(error)))?;
        let (name, keyspace) = (format!("import {name:016x}"), keyspace.to_owned());
        Ok(There { session, keyspace, batch: Batch::new(), bytes: 0, name, batches: 0 })
    }
}

impl Target for There {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        /// An upper bound on the overhead of a row.
        const REST: usize = 16;
        self.bytes += (key.len() + value.len() + self.keyspace.len() + REST) as u64;
        self.batch.put(&self.keyspace, key, value);
    }

    fn gathered(&self) -> (u64, u64) {
        (self.batch.len(), self.bytes)
    }

    fn commit(&mut self, mode: CommitMode) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        (self.bytes, self.batches) = (0, self.batches + 1);
        let how = Write::from(mode).once(format!("{} {}", self.name, self.batches));
        self.session.wait(self.session.client.write(&batch, how))?;
        Ok(())
    }

    fn watermarks(&self) -> Result<Watermarks, Failure> {
        Ok(self.session.wait(self.session.client.watermarks())?)
    }

    fn flush(&self) -> Result<Lsn, Failure> {
        Ok(self.session.wait(self.session.client.flush())?.durable)
    }
}

/// The input, and its length if that is known.
type Input = (Box<dyn BufRead>, Option<u64>);

fn open_input(path: &Path) -> Result<Input, Failure> {
    const BUFFER_BYTES: usize = 256 << 10;
    if path.as_os_str() == "-" {
        return Ok((Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin())), None));
    }
    let failed = || Failure::io(format!("open {}", path.display()));
    let file = File::open(path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    let bytes = metadata.is_file().then_some(metadata.len());
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    // A directory can be opened but not read.
    input.fill_buf().map_err(Failure::io(format!("read {}", path.display())))?;
    Ok((Box::new(input), bytes))
}

/// An import that runs.
struct Import<T> {
    target: T,
    mode: CommitMode,
    /// The name of the input in messages.
    file: String,
    batch_first_line: u64,
    /// The rows of the batch: line, length of the key, length of the value.
    batch_rows: Vec<(u64, u64, u64)>,
    rows_committed: u64,
    started: Instant,
    progress: Progress,
}

impl<T: Target> Import<T> {
    fn all<R: BufRead>(&mut self, rows: &mut Rows<R>, rows_per_batch: u64) -> Result<(), Failure> {
        loop {
            match rows.next_row() {
                Ok(Some((key, value))) => {
                    self.target.put(&key, &value);
                    let (key, value) = (key.len() as u64, value.len() as u64);
                    self.batch_rows.push((rows.line_number(), key, value));
                }
                Ok(None) => return self.commit(rows.line_number()),
                Err(RowError::Malformed(problem)) => {
                    let line = rows.line_number();
                    self.commit(line - 1)?;
                    return Err(self.failure(format!("line {line}"), problem));
                }
                Err(RowError::Read(error)) => {
                    let line = rows.line_number();
                    self.commit(line)?;
                    return Err(self.failure(format!("after line {line}"), error.to_string()));
                }
            }
            let (gathered, bytes) = self.target.gathered();
            if gathered >= rows_per_batch || bytes >= MAX_BATCH_BYTES {
                self.commit(rows.line_number())?;
                let rows_committed = self.rows_committed;
                self.progress.report(&self.target, rows_committed, rows.bytes_read())?;
            }
        }
    }

    /// Commits the batch, whose last row was on `last_line`.
    fn commit(&mut self, last_line: u64) -> Result<(), Failure> {
        let first_line = std::mem::replace(&mut self.batch_first_line, last_line + 1);
        let (rows, _) = self.target.gathered();
        let of_rows = std::mem::take(&mut self.batch_rows);
        if rows == 0 {
            return Ok(());
        }
        if let Err(error) = self.target.commit(self.mode) {
            let lines = match culprit(&error, &of_rows) {
                Some(line) => format!("line {line}"),
                None => format!("lines {first_line} to {last_line}"),
            };
            return Err(self.failure(lines, error.to_string()));
        }
        self.rows_committed += rows;
        Ok(())
    }

    fn failure(&self, lines: String, problem: String) -> Failure {
        let place = format!("{}: {lines}", self.file);
        Failure::Import { place, problem, rows: self.rows_committed }
    }

    fn summarize(&self, bytes: u64, durable: Lsn) {
        let seconds = self.started.elapsed().as_secs_f64();
        note(&format!(
            "imported {} rows ({bytes} bytes) in {seconds:.2} s, {:.0} rows/s, durable up to LSN \
             {durable}",
            self.rows_committed,
            self.rows_committed as f64 / seconds.max(1e-9),
        ));
    }
}

/// The line of the row that the store refused: the one with the longest key or value.
fn culprit(error: &Failure, rows: &[(u64, u64, u64)]) -> Option<u64> {
    let is = |ours: bool, code: Code| match error {
        Failure::Store(_) => ours,
        Failure::Client(error) => error.code() == Some(code),
        _ => false,
    };
    let is_key = matches!(error, Failure::Store(Error::KeyTooLong { .. }));
    let is_value = matches!(error, Failure::Store(Error::ValueTooLong { .. }));
    // The first of equally long ones.
    let longest = |of: fn(&(u64, u64, u64)) -> u64| rows.iter().rev().max_by_key(|row| of(row));
    match () {
        () if is(is_key, Code::KeyTooLong) => longest(|row| row.1).map(|row| row.0),
        () if is(is_value, Code::ValueTooLong) => longest(|row| row.2).map(|row| row.0),
        () => None,
    }
}

/// The progress bar; hidden without a terminal.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    last: Instant,
}

impl Progress {
    fn start(input_bytes: Option<u64>) -> Progress {
        let bar = if !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else if let Some(bytes) = input_bytes {
            let style = "{wide_bar} {bytes}/{total_bytes} {eta}\n{msg}";
            ProgressBar::new(bytes).with_style(style_of(style))
        } else {
            ProgressBar::new_spinner().with_style(style_of("{spinner} {bytes} read\n{msg}"))
        };
        Progress { bar, started: Instant::now(), last: Instant::now() }
    }

    fn report(&mut self, target: &impl Target, rows: u64, bytes: u64) -> Result<(), Failure> {
        if self.bar.is_hidden() || self.last.elapsed() < REPORT_INTERVAL {
            return Ok(());
        }
        self.last = Instant::now();
        let watermarks = target.watermarks()?;
        let behind = watermarks.appended.get().saturating_sub(watermarks.durable.get());
        let rows_per_s = rows as f64 / self.started.elapsed().as_secs_f64();
        self.bar.set_position(bytes);
        self.bar.set_message(format!(
            "{} rows, {} rows/s; sync line at LSN {}, {} behind",
            HumanCount(rows),
            HumanCount(rows_per_s as u64),
            watermarks.durable,
            HumanBytes(behind),
        ));
        Ok(())
    }
}

fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a valid template")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::Options;
    use crate::engine::disk::{Keep, SimDisk};

    /// Even before the store is closed.
    #[test]
    fn imported_rows_are_durable_at_the_end_in_either_mode() {
        let sound = (0..50).map(|n| format!("key {n:02}\tvalue\n")).collect::<String>();
        // Rows before a malformed line stay.
        for (mode, last) in [("sync", ""), ("async", ""), ("sync", "none\n"), ("async", "none\n")] {
            let said = ["syncline", "import", "dir", "file", "--batch", "20", "--mode", mode];
            let Command::Import(args) = Cli::try_parse_from(said).unwrap().command else {
                panic!("an import")
            };
            let disk = SimDisk::new();
            let open = |disk: &SimDisk| {
                Options::new().without_threads().open_on(Arc::new(disk.clone())).unwrap()
            };
            let store = open(&disk);
            let keyspace = store.keyspace("default").unwrap();
            let input = io::Cursor::new(format!("{sound}{last}"));
            let here = Here { store: &store, keyspace, batch: WriteBatch::new() };
            let done = import_into(here, (Box::new(input), None), &args);
            assert_eq!(done.is_ok(), last.is_empty(), "{done:?}");
            let lost = disk.crash(Keep::Nothing);
            let rows = open(&lost).open_keyspace("default").unwrap().expect("the keyspace");
            assert_eq!(rows.iter().unwrap().count(), 50, "{mode}");
        }
    }
}
