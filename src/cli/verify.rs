//! `verify`: every page and every invariant.

use std::io::{self, Write};

use super::args::DirArgs;
use super::failure::{Failure, Outcome, Status};
use super::{Existence, complain, remote, with_store};
use crate::{Error, Verification};

/// A store that cannot even be opened because its files are damaged is not clean, which is an
/// answer (status 1) and no failure to find one.
pub(super) fn verify(args: &DirArgs) -> Outcome {
    if let Some(remote) = args.remote.is_asked() {
        return judge(&remote::verify(&remote)?);
    }
    let outcome = with_store(&args.dir, Existence::Required, |store| judge(&store.verify()?));
    match outcome {
        Err(Failure::Store(
            error @ (Error::Corrupt { .. } | Error::Missing { .. } | Error::WrongStore { .. }),
        )) => {
            complain(&error.to_string());
            Ok(Status::No)
        }
        outcome => outcome,
    }
}

fn judge(found: &Verification) -> Outcome {
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
        problems => format!("NOT CLEAN, {problems} problems"),
    };
    writeln!(
        out,
        "{verdict}: {} keys in {} keyspaces, {} pages, {} free blocks",
        found.keys, found.keyspaces, found.pages, found.free_blocks
    )?;
    out.flush()
}
