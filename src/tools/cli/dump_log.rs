//! `dump-log`: the records of the log, as they are in the files.
//!
//! ```text
//!   4096..4232  incarnation 1  sync line 4096  commit  136 bytes
//!     put  keyspace 1  "key"  150 bytes
//! ```
//!
//! Nothing is opened for writing, so that a damaged log can be inspected. Operations are printed
//! under their record. The last line says how the log ends.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use super::args::DumpLogArgs;
use super::failure::{CommandResult, Failure, Status};
use crate::engine::disk::RealDisk;
use crate::inspect::{self, LogRecord, LoggedOperation};

pub(super) fn dump_log(args: &DumpLogArgs) -> CommandResult {
    let disk = Arc::new(RealDisk::open_read_only(&args.dir)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut written = Ok(());
    let tail = inspect::dump_log(disk, &mut |record| {
        if left == 0 {
            return false;
        }
        left -= 1;
        written = print(&mut out, &record);
        written.is_ok()
    });
    // Records before a failure are useful, so they are printed first.
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    let tail = tail?;
    if left > 0 {
        writeln!(out, "{tail}").and_then(|()| out.flush()).map_err(Failure::output)?;
    }
    Ok(Status::Done)
}

fn print(out: &mut impl Write, record: &LogRecord) -> io::Result<()> {
    writeln!(
        out,
        "{}..{}  incarnation {}  sync line {}  {}  {} bytes",
        record.lsn, record.end, record.incarnation, record.sync_line, record.kind, record.bytes
    )?;
    for operation in &record.operations {
        match operation {
            LoggedOperation::Put { keyspace, key, value_bytes } => {
                let key = key.escape_ascii();
                writeln!(out, "  put  keyspace {keyspace}  \"{key}\"  {value_bytes} bytes")?;
            }
            LoggedOperation::Delete { keyspace, key } => {
                writeln!(out, "  delete  keyspace {keyspace}  \"{}\"", key.escape_ascii())?;
            }
            other => writeln!(out, "  {other:?}")?,
        }
    }
    Ok(())
}
