//! Messages on standard error.

use std::io::{self, Write};

use super::args::KeyArgs;
use super::failure::{CommandResult, Status};

/// Prints a failure on standard error. If that is closed, the message is lost.
pub(super) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "syncline: {message}");
}

/// Prints a note on standard error.
pub(super) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// The answer if the keyspace is missing: status 1.
pub(super) fn no_keyspace(name: &str) -> CommandResult {
    complain(&format!("there is no keyspace {name:?}"));
    Ok(Status::No)
}

pub(super) fn not_found(args: &KeyArgs) -> CommandResult {
    complain(&format!("key {:?} was not found", args.key.display()));
    Ok(Status::No)
}
