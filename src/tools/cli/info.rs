//! `info`: the figures of a store.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::args::InfoArgs;
use super::failure::{CommandResult, Failure, Status};
use super::remote::{self, marks};
use super::store::{Access, with_store};
use crate::Store;
use crate::net::service::is_public;

pub(super) fn info(args: &InfoArgs) -> CommandResult {
    if let Some(remote) = args.remote.is_asked() {
        return print(args, &remote::describe(&remote)?);
    }
    with_store(&args.dir, Access::Read, |store| print(args, &describe(store)?))
}

fn print(args: &InfoArgs, description: &Value) -> CommandResult {
    let mut out = io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{description:#}")
    } else {
        print_section(&mut out, description, 0)
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}

/// All figures, for both forms. Bytes and LSNs are exact; durations are in seconds.
fn describe(store: &Store) -> Result<Value, Failure> {
    let mut keyspaces = serde_json::Map::new();
    // The server's own keyspaces are not shown, as over a connection.
    for name in store.keyspaces().into_iter().filter(|name| is_public(name)) {
        if let Some(keyspace) = store.open_keyspace(&name)? {
            keyspaces.insert(name, json!({ "keys": keyspace.len()? }));
        }
    }
    let stats = store.stats();
    let watermarks = stats.watermarks;
    let mut description = json!({
        "directory": store.directory(),
        "id": store.id().to_string(),
        "incarnation": watermarks.incarnation.get(),
        "watermarks": marks(&watermarks),
        "data_file_bytes": stats.data_file_bytes,
        "keyspaces": keyspaces,
    });
    let recovery = &stats.recovery;
    description["recovery"] = json!({
        "was_clean": recovery.was_clean,
        "recovered_to": recovery.recovered_to.get(),
        "records_replayed": recovery.records_replayed,
        "operations_replayed": recovery.operations_replayed,
        "bytes_replayed": recovery.bytes_replayed,
        "bytes_cut": recovery.bytes_cut,
        "seconds": recovery.duration.as_secs_f64(),
    });
    Ok(description)
}

/// Prints an object as indented lines, `name: value`.
fn print_section(out: &mut impl Write, section: &Value, depth: usize) -> io::Result<()> {
    let Value::Object(fields) = section else { return Ok(()) };
    for (name, value) in fields {
        let indent = depth * 2;
        match value {
            Value::Object(_) => {
                writeln!(out, "{:indent$}{name}:", "")?;
                print_section(out, value, depth + 1)?;
            }
            Value::String(text) => writeln!(out, "{:indent$}{name}: {text}", "")?,
            other => writeln!(out, "{:indent$}{name}: {other}", "")?,
        }
    }
    Ok(())
}
