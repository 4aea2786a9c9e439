//! `verify`: every page and every invariant.

use std::io::{self, Write};

use super::args::DirArgs;
use super::failure::{CommandResult, Failure, Status};
use super::messages::complain;
use super::remote;
use super::store::{Access, with_store};
use crate::Verification;
use crate::engine::base::problems::MOST_LISTED;
use crate::engine::base::progress::OperationProgress;
use crate::net::service::is_public;

/// A store that cannot be opened because its files are damaged is not clean: that is an answer
/// (status 1), no failure. The same holds for a served store.
pub(super) fn verify(args: &DirArgs) -> CommandResult {
    let outcome = match args.remote.is_asked() {
        Some(remote) => remote::verify(&remote).and_then(|found| judge(&found)),
        None => with_store(&args.dir, Access::Read, |store| {
            // The server's own keyspaces are checked but not counted, as over a connection.
            let found = store.verify_on(&OperationProgress::default(), &is_public)?;
            judge(&found.expect("a check that is not cancelled"))
        }),
    };
    match outcome {
        Err(failure) if failure.is_damage() => {
            complain(&failure.to_string());
            Ok(Status::No)
        }
        outcome => outcome,
    }
}

fn judge(found: &Verification) -> CommandResult {
    print(found).map_err(Failure::output)?;
    Ok(if found.is_clean() { Status::Done } else { Status::No })
}

fn print(found: &Verification) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for problem in &found.problems {
        writeln!(out, "{problem}")?;
    }
    let verdict = match found.problems.len() {
        0 => "clean".to_owned(),
        1 => "NOT CLEAN, 1 problem".to_owned(),
        told @ ..=MOST_LISTED => format!("NOT CLEAN, {told} problems"),
        // The last line above tells how many more there are.
        _ => format!("NOT CLEAN, more than {MOST_LISTED} problems"),
    };
    let free = match found.free_blocks {
        Some(blocks) => format!("{blocks} free blocks"),
        None => "an unknown number of free blocks".to_owned(),
    };
    writeln!(
        out,
        "{verdict}: {} keys in {} keyspaces, {} pages, {free}",
        found.keys, found.keyspaces, found.pages
    )?;
    out.flush()
}
