//! The command-line tool `syncline`: see [`syncline::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    syncline::cli::main()
}
