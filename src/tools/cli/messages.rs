//! Messages on standard error.

use std::io::{self, Write};

use super::args::KeyArgs;
use super::failure::{Outcome, Status};

/// One message on standard error. Nothing can be done when that is closed.
pub(super) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "syncline: {message}");
}

/// Something worth knowing that is no failure.
pub(super) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// The answer where the keyspace is missing.
pub(super) fn no_keyspace(name: &str) -> Outcome {
    complain(&format!("there is no keyspace {name:?}"));
    Ok(Status::No)
}

pub(super) fn not_found(args: &KeyArgs) -> Outcome {
    complain(&format!("key {:?} was not found", args.key.display()));
    Ok(Status::No)
}
