//! The commands and their arguments.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench_args::BenchCommand;
use super::connect::Remote;
use super::failure::Failure;
use super::help::{self, usage};
use super::hex::decode_hex;
use super::torture_args::TortureArgs;
use crate::engine::commit::check_name;
use crate::net::service::check_public;
use crate::{CommitMode, Error};

/// An embedded, transactional, ordered key-value store.
///
/// Exit status: 0 done, 1 not found or not clean, 2 wrong call or failure. Of `torture`: 1 a
/// promise was broken, 3 the store got stuck, 4 the suite itself failed.
#[derive(Debug, Parser)]
#[command(name = "syncline", version, after_help = help::ALL)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put a value, creating store and keyspace if needed
    #[command(override_usage = usage!("put", "<KEY> <VALUE>"), after_help = help::PUT)]
    Put(PutArgs),
    /// Print the value of a key
    #[command(override_usage = usage!("get", "<KEY>"), after_help = help::GET)]
    Get(GetArgs),
    /// Delete a key
    #[command(override_usage = usage!("del", "<KEY>"), after_help = help::DEL)]
    Del(KeyArgs),
    /// Print keys and values in key order
    #[command(override_usage = usage!("scan"), after_help = help::SCAN)]
    Scan(ScanArgs),
    /// Put every line of a file
    #[command(override_usage = usage!("import", "<FILE>"), after_help = help::IMPORT)]
    Import(ImportArgs),
    /// Print the names of all keyspaces
    #[command(override_usage = usage!("keyspaces"), after_help = help::KEYSPACES)]
    Keyspaces(DirArgs),
    /// Drop a keyspace with all that is in it
    #[command(override_usage = usage!("drop", "<NAME>"), after_help = help::DROP)]
    Drop(DropArgs),
    /// Print the figures of the store
    #[command(override_usage = usage!("info"), after_help = help::INFO)]
    Info(InfoArgs),
    /// Check every page and every invariant of the store
    #[command(override_usage = usage!("verify"), after_help = help::VERIFY)]
    Verify(DirArgs),
    /// Write everything to the data file, so that the next open has nothing to replay
    #[command(override_usage = usage!("checkpoint"), after_help = help::CHECKPOINT)]
    Checkpoint(DirArgs),
    /// Print the state of a job of a server
    #[command(
        override_usage = "syncline job [OPTIONS] --connect <ADDR> <ID>",
        after_help = help::JOB
    )]
    Job(JobArgs),
    /// Print the records of the log without opening the store
    #[command(after_help = help::DUMP_LOG)]
    DumpLog(DumpLogArgs),
    /// Serve a store to other processes, until SIGTERM or Ctrl-C
    #[command(after_help = help::SERVE)]
    Serve(ServeArgs),
    /// Measure this machine: the cost of commits and reads against the bare hardware
    Bench(Box<BenchCommand>),
    /// Measure a store in a process of its own: started by `bench` itself
    #[command(name = crate::tools::bench::CHILD, hide = true)]
    BenchChild,
    /// Break the store in every way that it must survive, and judge the result
    ///
    /// No store of yours is touched: everything happens on simulated disks and in a directory for
    /// temporary files. Each recovery must keep the same promise: it gives the first k commits,
    /// whole. k is at least the number ever reported durable, and at most the number submitted.
    ///
    /// Exit status: 0 all held, 1 a promise was broken (safety), 2 wrong call, 3 the store got stuck
    /// (liveness), 4 the suite itself failed. The gravest counts.
    Torture(TortureArgs),
    /// Print the completion script of a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, for `man`
    #[command(after_help = help::MAN)]
    Man {
        /// The command [default: all of syncline]
        command: Option<String>,
    },
    /// Serve the crash suite: started by `torture` itself
    #[cfg(target_os = "linux")]
    #[command(name = crate::tools::torture::kill::SERVER, hide = true)]
    KillServer,
    /// Hunt one mutant: started by `torture` itself
    #[command(hide = true, name = crate::tools::torture::HUNTER)]
    Hunt {
        /// Its name.
        mutant: String,
        /// The seed of the random numbers.
        seed: u64,
    },
}

/// A store, and a keyspace in it.
#[derive(Debug, Args)]
pub(super) struct KeyspaceArgs {
    /// The store's directory
    pub(super) dir: PathBuf,
    /// The keyspace
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = keyspace_name)]
    pub(super) keyspace: String,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// The marker, in the place of the directory
    #[arg(hide = true, value_name = "ADDR")]
    pub(super) marker: String,
    /// The job's id
    pub(super) id: String,
    /// Wait for its end, at most this long
    #[arg(long, value_name = "SECONDS")]
    pub(super) wait: Option<f64>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// The encoding of bytes on the command line.
#[derive(Debug, Args)]
pub(super) struct Encoding {
    /// Keys and values are hexadecimal, in arguments and in the output
    #[arg(long)]
    pub(super) hex: bool,
}

impl Encoding {
    /// The bytes of an argument.
    pub(super) fn decode(&self, argument: &OsStr) -> Result<Vec<u8>, Failure> {
        let bytes = argument.as_encoded_bytes();
        if !self.hex {
            return Ok(bytes.to_vec());
        }
        decode_hex(bytes).map_err(|problem| {
            Failure::Usage(format!("{:?} is not hexadecimal: {problem}", argument.display()))
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    pub(super) place: KeyspaceArgs,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(super) key: OsString,
    /// The value; `-` for standard input, @FILE for the content of a file, byte for byte
    #[arg(allow_negative_numbers = true)]
    pub(super) value: OsString,
    /// Take the value literally, even if it is `-` or begins with `@`
    #[arg(long)]
    pub(super) literal: bool,
    #[command(flatten)]
    pub(super) encoding: Encoding,
    /// When the commit is acknowledged. In a directory it is durable at the end in either mode, since
    /// the store is closed; at a server only with `sync`
    #[arg(long, value_enum, default_value_t = Mode::Sync)]
    pub(super) mode: Mode,
    /// Have the server answer at once, and print the job's id
    #[arg(long, requires = "connect", conflicts_with = "mode")]
    pub(super) job: bool,
    /// Apply the put at most once, even if it is sent again with this key (1 to 64 bytes), while the
    /// server keeps the key. Says on standard error whether it was applied now or before, if known
    #[arg(long, value_name = "KEY", requires = "connect")]
    pub(super) once: Option<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    pub(super) place: KeyspaceArgs,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(super) key: OsString,
    #[command(flatten)]
    pub(super) encoding: Encoding,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) at: KeyArgs,
    /// Print no newline after the value
    #[arg(long)]
    pub(super) raw: bool,
}

#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    pub(super) place: KeyspaceArgs,
    /// Only keys that start with this
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(super) prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long)]
    pub(super) from: Option<OsString>,
    /// Only keys before this one
    #[arg(long)]
    pub(super) to: Option<OsString>,
    /// At most this many rows
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    pub(super) reverse: bool,
    /// How rows are printed; `--format json` is what `import --format jsonl` reads
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    #[command(flatten)]
    pub(super) encoding: Encoding,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub(super) place: KeyspaceArgs,
    /// The file to read, or `-` for standard input
    pub(super) file: PathBuf,
    /// The form of a line: key TAB value, or {"key": "..", "value": ".."}, with "key_hex" and
    /// "value_hex" for bytes that are not UTF-8. Blank lines are skipped
    #[arg(long, value_enum, default_value_t = ImportFormat::Tsv)]
    pub(super) format: ImportFormat,
    /// When each batch is acknowledged. At the end everything is durable in either mode
    #[arg(long, value_enum, default_value_t = Mode::Sync)]
    pub(super) mode: Mode,
    /// Rows in one commit
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) batch: u64,
}

#[derive(Debug, Args)]
pub(super) struct DirArgs {
    /// The store's directory
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct DropArgs {
    /// The store's directory
    pub(super) dir: PathBuf,
    /// The keyspace
    #[arg(value_parser = keyspace_name)]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// The store's directory
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) remote: Remote,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DumpLogArgs {
    /// The store's directory
    pub(super) dir: PathBuf,
    /// At most this many records
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
}

/// Each setting can be a flag, in the environment (SYNCLINE_MAX_CONNECTIONS=100), or in a file
/// (max_connections = 100). A flag overrides the environment, which overrides the file.
#[derive(Debug, Args)]
#[command(after_long_help = help::serve())]
pub(super) struct ServeArgs {
    /// The store's directory; an empty or missing one becomes a store
    pub(super) dir: PathBuf,
    /// The addresses to listen on [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) listen: Vec<String>,
    /// A Unix socket to listen on as well
    #[arg(long, value_name = "PATH")]
    pub(super) unix: Option<String>,
    /// The address of /livez, /readyz, /health and /metrics, for probes and Prometheus
    #[arg(long, value_name = "ADDR")]
    pub(super) metrics: Option<String>,
    /// The file of tokens; without it every client has all rights
    #[arg(long, value_name = "FILE")]
    pub(super) tokens: Option<String>,
    /// The certificate chain for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<String>,
    /// Authorities, in PEM: over TLS the server accepts only clients with their certificates
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_client_ca: Option<String>,
    /// The store's cache, in MiB [default: 256]
    #[arg(long, value_name = "MIB")]
    pub(super) cache_mib: Option<String>,
    /// The most bytes that all clients may leave unread, in MiB [default: 256]
    #[arg(long, value_name = "MIB")]
    pub(super) max_output_mib: Option<String>,
    /// The level of the log: error, warn, info, debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log: Option<String>,
    /// The form of the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
    /// A file of settings
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Any other setting, such as max_connections=100
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) set: Vec<String>,
}

fn keyspace_name(text: &str) -> Result<String, Error> {
    check_name(text).and_then(|()| check_public(text))?;
    Ok(text.to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Mode {
    /// Acknowledged when the device has confirmed a flush
    Sync,
    /// Acknowledged when the record survives the process
    Async,
}

impl From<Mode> for CommitMode {
    fn from(mode: Mode) -> CommitMode {
        match mode {
            Mode::Sync => CommitMode::Sync,
            Mode::Async => CommitMode::Async,
        }
    }
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The bytes as they are: key, TAB, value
    Raw,
    /// The same in hexadecimal
    Hex,
    /// One JSON object per row
    Json,
}

/// The form of a line in an imported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ImportFormat {
    /// key, TAB, value
    Tsv,
    /// One JSON object
    Jsonl,
}
