//! What is said on standard error while the work goes on.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// Says something beside the result. Where nobody reads that, the work goes on all the same: the
/// standard library's own macros would panic.
pub(crate) fn aside(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}
