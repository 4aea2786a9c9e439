//! Messages on standard error during the work.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// Writes a message beside the result. A closed standard error does not end the work: the standard
/// library's own macros would panic.
pub(crate) fn aside(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}
