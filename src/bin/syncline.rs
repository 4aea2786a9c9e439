//! The command-line tool `syncline`. Everything is in [`syncline::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    syncline::cli::main()
}
