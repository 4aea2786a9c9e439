//! The command line: `syncline COMMAND DIR ...`, with the store's directory first. `bench` and
//! `torture` make their own stores.
//!
//! ```text
//!   kv, scan, import, info, verify, upkeep, dump_log, serve, bench, torture, manual      the commands
//!      |        |
//!      |      rows                              input: lines of TSV or JSON
//!      |
//!   store, remote                               a store in a directory, or behind a server
//!      |
//!   output, messages                            rows on standard output, messages on standard error
//!      |
//!   args, bench_args, torture_args, help        the arguments
//!      |
//!   connect, hex, failure                       the connection; bytes as text; the exit status
//! ```
//!
//! Rules of every command:
//!
//! - CLI-1 The exit status is 0 for done, 1 for "not found" or "not clean", 2 for a wrong call or a
//!   failure; `failure` has the table. A failure prints one line, `syncline: ...`, on standard
//!   error.
//! - CLI-2 Results go to standard output, everything else to standard error. A reader that closes our
//!   output early (`scan | head`) is no failure.
//! - CLI-3 A command that only reads neither creates nor changes a store, and needs no right to write.
//!   A store that was not closed is recovered in memory.
//! - CLI-4 Memory does not grow with the input or with the output: both are streamed.
//! - CLI-5 The store is closed before the process ends, in any case. A write is reported as done only
//!   if `close` succeeded.
//!
//! Keys and values are bytes. Arguments are taken as the operating system gives them; `--hex`
//! takes and prints hexadecimal, for bytes that cannot be typed.

mod args;
mod bench;
mod bench_args;
mod connect;
mod dump_log;
mod failure;
mod help;
mod hex;
mod import;
mod info;
mod kv;
mod manual;
mod messages;
mod output;
mod remote;
mod rows;
mod scan;
mod serve;
mod store;
mod torture;
mod torture_args;
mod upkeep;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use self::bench_args::{BenchCli, Child};
use self::failure::{CommandResult, Failure, Status};
use self::messages::complain;
use crate::tools::bench::engine::Engine;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// Runs the command in these arguments. The first one is the program's name.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(connect::mark(args)) {
        Ok(cli) => conclude(run(cli.command)),
        Err(error) => explain(&error),
    }
}

/// `bench` as a separate program, which measures `peers` too.
pub fn bench_with(peers: &[Box<dyn Engine>]) -> ExitCode {
    match BenchCli::try_parse() {
        Ok(BenchCli { child: Some(Child::BenchChild), .. }) => conclude(bench::do_errand(peers)),
        Ok(BenchCli { args, .. }) => conclude(bench::bench(args, peers)),
        Err(error) => explain(&error),
    }
}

/// The exit status of a command (CLI-1). Prints its failure.
fn conclude(outcome: CommandResult) -> ExitCode {
    match outcome {
        Ok(status) => status.into(),
        Err(Failure::BrokenPipe) => Status::Done.into(),
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> CommandResult {
    match command {
        Command::Put(args) => kv::put(&args),
        Command::Get(args) => kv::get(&args),
        Command::Del(args) => kv::del(&args),
        Command::Scan(args) => scan::scan(&args),
        Command::Import(args) => import::import(&args),
        Command::Keyspaces(args) => upkeep::keyspaces(&args),
        Command::Drop(args) => upkeep::drop_keyspace(&args),
        Command::Checkpoint(args) => upkeep::checkpoint(&args),
        Command::Info(args) => info::info(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Job(args) => remote::job(&args),
        Command::DumpLog(args) => dump_log::dump_log(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Bench(command) => match command.net {
            Some(net) => bench::net(net),
            None => bench::bench(command.args, &[]),
        },
        Command::BenchChild => bench::do_errand(&[]),
        Command::Torture(args) => torture::torture(args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::man(command.as_deref()),
        Command::Hunt { mutant, seed } => {
            crate::tools::torture::hunter(&mutant, seed).map_err(Failure::Usage)?;
            Ok(Status::Done)
        }
        #[cfg(target_os = "linux")]
        Command::KillServer => {
            let action = "serve the crash suite".into();
            let failed = |source| Failure::Io { action, source };
            crate::tools::torture::kill::serve().map(|()| Status::Done).map_err(failed)
        }
    }
}

/// Prints an error of clap: help and version on standard output, others as a failure (CLI-1).
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed output is no failure (CLI-2).
        let _ = error.print();
        return Status::Done.into();
    }
    let text = error.render().to_string();
    complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}
