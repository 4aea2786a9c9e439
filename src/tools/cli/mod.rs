//! The command line: `syncline COMMAND DIR ...`, the store's directory always first. `bench` and
//! `torture` have no store and make their own.
//!
//! ```text
//!   args, net_args, torture_args, help  what may be said         failure   what is answered when it went wrong
//!     |                                         |
//!   kv, scan, import, info, verify, upkeep, dump_log, bench, torture, manual      the commands
//!     |         |
//!   output    rows          bytes out as raw, hex or JSON; lines of TSV or JSON in
//! ```
//!
//! Rules that every command keeps:
//!
//! - CLI-1 The exit status is 0 for done, 1 for "not found" or "not clean", 2 for a wrong call or a
//!   failure; `failure` has the table. A failure prints one line, `syncline: ...`, on standard
//!   error.
//! - CLI-2 Results go to standard output, everything else to standard error. Whoever closes our
//!   output early (`scan | head`) has what he wanted: that is no failure.
//! - CLI-3 A command that only reads never creates a store, and changes nothing of one: it needs no
//!   right to write. A store that was not closed is recovered in memory for it.
//! - CLI-4 Memory does not grow with the input or with the output: both are streamed.
//! - CLI-5 The store is closed before the process ends, whatever happened, and what `close` says
//!   counts: a write is not reported as done before.
//!
//! Keys and values are bytes. Arguments are taken as the operating system gives them; `--hex`
//! takes and prints hexadecimal for what cannot be typed.

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
use self::bench_args::{BenchCli, Writer};
use self::failure::{Failure, Outcome, Status};
use self::messages::complain;
use crate::tools::bench::engine::Engine;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// Runs the command that these arguments give; the first is the program's name.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(connect::mark(args)) {
        Ok(cli) => conclude(run(cli.command)),
        Err(error) => explain(&error),
    }
}

/// `bench` as a program of its own, which measures `peers` as well.
pub fn bench_with(peers: &[Box<dyn Engine>]) -> ExitCode {
    match BenchCli::try_parse() {
        Ok(BenchCli { writer: Some(Writer::BenchWriter(job)), .. }) => {
            conclude(bench::write_until_killed(&job, peers))
        }
        Ok(BenchCli { args, .. }) => conclude(bench::bench(args, peers)),
        Err(error) => explain(&error),
    }
}

/// Tells the shell how it went (CLI-1).
fn conclude(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(status) => status.into(),
        Err(Failure::BrokenPipe) => Status::Done.into(),
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Outcome {
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
        Command::BenchWriter(job) => bench::write_until_killed(&job, &[]),
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

/// What clap says: help and version on standard output, everything else as a failure (CLI-1).
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has gone away wanted no more help.
        let _ = error.print();
        return Status::Done.into();
    }
    let text = error.render().to_string();
    complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}
