//! `keyspaces`, `drop` and `checkpoint`.

use std::io::{self, BufWriter, Write};

use super::args::{DirArgs, DropArgs};
use super::failure::{CommandResult, Failure, Status};
use super::messages::{no_keyspace, note};
use super::remote;
use super::store::{Access, with_store};
use crate::Error;
use crate::net::service::is_public;

pub(super) fn keyspaces(args: &DirArgs) -> CommandResult {
    match args.remote.is_asked() {
        Some(server) => print(&remote::keyspaces(&server)?),
        None => with_store(&args.dir, Access::Read, |store| {
            let mut names = store.keyspaces();
            names.retain(|name| is_public(name));
            print(&names)
        }),
    }
}

/// Names have no control characters, so each takes one line.
fn print(names: &[String]) -> CommandResult {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = names.iter().try_for_each(|name| writeln!(out, "{name}"));
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}

pub(super) fn drop_keyspace(args: &DropArgs) -> CommandResult {
    if let Some(server) = args.remote.is_asked() {
        return remote::drop_keyspace(&server, &args.name);
    }
    with_store(&args.dir, Access::Change, |store| match store.drop_keyspace(&args.name) {
        Err(Error::NoSuchKeyspace { name }) => no_keyspace(&name),
        dropped => {
            dropped?.wait()?;
            store.finish_drops(); // the process ends before the background thread would do it
            Ok(Status::Done)
        }
    })
}

pub(super) fn checkpoint(args: &DirArgs) -> CommandResult {
    let made = |lsn| {
        note(&format!("everything up to LSN {lsn} is in the data file"));
        Ok(Status::Done)
    };
    match args.remote.is_asked() {
        Some(server) => made(remote::checkpoint(&server)?),
        None => with_store(&args.dir, Access::Change, |store| made(store.checkpoint()?)),
    }
}
