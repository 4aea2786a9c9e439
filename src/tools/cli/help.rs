//! The parts of `--help` beside the options: usage, with a directory and with a server, and examples.

/// The usage of a command that takes a directory or a server.
macro_rules! usage {
    ($command:literal $(, $rest:literal)?) => {
        concat!(
            "syncline ", $command, " [OPTIONS] <DIR>", $(" ", $rest,)?
            "\n       syncline ", $command, " [OPTIONS] --connect <ADDR>", $(" ", $rest)?
        )
    };
}

pub(super) use usage;

pub(super) const ALL: &str = "\
Examples:
  syncline put my-store ada 1815
  syncline get my-store ada
  syncline serve my-store
  syncline get --connect 127.0.0.1:7411 ada
  syncline help put                                what a command takes, with examples

With --connect, leave the directory out.";

pub(super) const PUT: &str = "\
Examples:
  syncline put my-store ada 1815
  syncline put my-store ada @portrait.png          the value is the content of the file
  date | syncline put my-store now -               the value is standard input
  syncline put my-store handle @ada --literal      a value that begins with @
  syncline put my-store 00ff 2a --hex
  syncline put --connect 127.0.0.1:7411 ada 1815 --once 'order 17'";

pub(super) const GET: &str = "\
Examples:
  syncline get my-store ada
  syncline get my-store ada --raw > portrait.png   no newline after the value
  syncline get --connect unix:/run/syncline.sock ada --keyspace users";

pub(super) const DEL: &str = "\
Examples:
  syncline del my-store ada
  syncline del --connect 127.0.0.1:7411 ada";

pub(super) const SCAN: &str = "\
Examples:
  syncline scan my-store                           everything, in key order
  syncline scan my-store --prefix user: --limit 10
  syncline scan my-store --from a --to n --reverse
  syncline scan my-store --format json > rows.jsonl";

pub(super) const IMPORT: &str = "\
A byte order mark of UTF-8 at the beginning of the input is skipped; elsewhere it is data.

Examples:
  syncline import my-store rows.tsv
  syncline import my-store rows.jsonl --format jsonl --keyspace users
  printf 'ada\\t1815\\n' | syncline import my-store - --mode async";

pub(super) const KEYSPACES: &str = "\
Names that begin with $ belong to the server: they are not shown, and no command takes them.

Examples:
  syncline keyspaces my-store
  syncline keyspaces --connect 127.0.0.1:7411";

pub(super) const DROP: &str = "\
Examples:
  syncline drop my-store users
  syncline drop --connect 127.0.0.1:7411 users";

pub(super) const INFO: &str = "\
Examples:
  syncline info my-store
  syncline info --connect 127.0.0.1:7411 --json";

pub(super) const VERIFY: &str = "\
Exit status: 0 clean, 1 not clean, 2 the store could not be checked.

Examples:
  syncline verify my-store
  syncline verify --connect 127.0.0.1:7411";

pub(super) const CHECKPOINT: &str = "\
Examples:
  syncline checkpoint my-store
  syncline checkpoint --connect 127.0.0.1:7411";

pub(super) const JOB: &str = "\
Exit status: 0 the job succeeded or goes on, 1 it did not succeed or is not known.

Examples:
  id=$(syncline put --connect 127.0.0.1:7411 --job ada 1815)
  syncline job --connect 127.0.0.1:7411 \"$id\" --wait 10";

pub(super) const DUMP_LOG: &str = "\
Examples:
  syncline dump-log my-store
  syncline dump-log my-store --limit 10";

pub(super) const SERVE: &str = "\
Examples:
  syncline serve my-store
  syncline serve my-store --listen 0.0.0.0:7411 --tokens tokens.toml --tls-cert cert.pem --tls-key key.pem
  syncline serve my-store --unix /run/syncline.sock --metrics 127.0.0.1:9411
  syncline serve my-store --config syncline.toml --set max_connections=100";

/// Examples, and every setting.
pub(super) fn serve() -> String {
    format!("{SERVE}\n\n{}", crate::net::server::settings_help())
}

pub(super) const COMPLETIONS: &str = "\
Examples:
  syncline completions bash > ~/.local/share/bash-completion/completions/syncline
  syncline completions fish > ~/.config/fish/completions/syncline.fish";

pub(super) const MAN: &str = "\
Examples:
  syncline man > syncline.1
  syncline man put > syncline-put.1";
