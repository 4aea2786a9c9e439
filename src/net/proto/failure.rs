//! Errors on the wire: a code for programs, a message for people, and details by name.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::body::{self, Text};
use crate::engine::base::error::Error;

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Later,
    Never,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $retry:ident;)*) => {
        /// The kind of an error, by what the client can do about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A code of a later version.
            Other(u16),
        }

        impl Code {
            /// Every code that this software knows, in order.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code's number on the wire.
            pub fn number(self) -> u16 {
                match self {
                    $(Code::$name => $number,)*
                    Code::Other(number) => number,
                }
            }

            /// The code of this number.
            pub fn from_number(number: u16) -> Code {
                match number {
                    $($number => Code::$name,)*
                    other => Code::Other(other),
                }
            }

            /// The code's name, as in `PROTOCOL.md`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$name => stringify!($name),)*
                    Code::Other(_) => "Other",
                }
            }

            fn retry(self) -> Retry {
                match self {
                    $(Code::$name => Retry::$retry,)*
                    Code::Other(_) => Retry::Never,
                }
            }
        }
    };
}

codes! {
    /// The body is not what its kind says.
    Malformed = 1, Never;
    /// The checksum is wrong, or bits are set that must be zero. The connection ends.
    BrokenPacket = 2, Never;
    /// The packet, or the answer to it, is longer than agreed.
    TooLarge = 3, Never;
    /// The server does not know this kind of request.
    Unsupported = 4, Never;
    /// The server speaks none of the client's versions. The connection ends.
    VersionMismatch = 5, Never;
    /// A request before `Hello`, a second `Hello`, or no magic. The connection ends.
    BadHandshake = 6, Never;
    /// The id is 0, or that of a request in flight.
    BadId = 7, Never;
    /// The token is missing or wrong. The connection ends.
    Unauthenticated = 16, Never;
    /// The token does not allow it.
    Denied = 17, Never;
    /// The server is overloaded. Nothing was done.
    TooBusy = 32, Later;
    /// The server has its maximum of connections. The connection ends.
    TooManyConnections = 33, Later;
    /// The connection has its maximum of requests in flight. Nothing was done.
    TooManyInFlight = 34, Later;
    /// The connection has its maximum of streams and watches.
    TooManySubscriptions = 35, Later;
    /// The client did not send `Hello`, or finish a packet, in time. The connection ends.
    TooSlow = 36, Later;
    /// The client did not read its answers in time. The connection ends.
    NotReading = 37, Later;
    /// The client was silent for too long. The connection ends.
    Idle = 38, Later;
    /// The deadline passed. Without a detail `job`, nothing was done.
    DeadlineExceeded = 48, Later;
    /// The client cancelled the request. Without a detail `job`, nothing was done.
    Cancelled = 49, Never;
    /// The server shuts down.
    ShuttingDown = 50, Later;
    /// A bug in the server.
    Internal = 51, Never;
    /// No job has this id, or its outcome is no longer known.
    NoSuchJob = 52, Never;
    /// [`Error::Io`].
    Io = 64, Never;
    /// [`Error::DiskFull`].
    DiskFull = 65, Later;
    /// [`Error::Corrupt`].
    Corrupt = 66, Never;
    /// [`Error::Missing`].
    Missing = 67, Never;
    /// [`Error::Version`].
    FormatVersion = 68, Never;
    /// [`Error::WrongStore`].
    WrongStore = 69, Never;
    /// [`Error::Locked`].
    Locked = 70, Later;
    /// [`Error::ReadOnly`].
    ReadOnly = 71, Never;
    /// [`Error::NotAStore`].
    NotAStore = 72, Never;
    /// [`Error::KeyTooLong`].
    KeyTooLong = 73, Never;
    /// [`Error::ValueTooLong`].
    ValueTooLong = 74, Never;
    /// [`Error::InvalidName`].
    InvalidName = 75, Never;
    /// [`Error::NoSuchKeyspace`].
    NoSuchKeyspace = 76, Never;
    /// [`Error::KeyspaceExists`].
    KeyspaceExists = 77, Never;
    /// [`Error::ForeignKeyspace`].
    ForeignKeyspace = 78, Never;
    /// [`Error::InvalidOption`].
    InvalidOption = 79, Never;
    /// [`Error::InvalidToken`].
    InvalidToken = 80, Never;
    /// [`Error::Poisoned`].
    Poisoned = 81, Never;
    /// [`Error::CacheExhausted`].
    CacheExhausted = 82, Later;
    /// [`Error::Closed`].
    Closed = 83, Never;
    /// [`Error::UnknownLife`].
    UnknownLife = 84, Never;
}

impl Code {
    /// Whether the same request may succeed later, on this or on another connection.
    pub fn is_retryable(self) -> bool {
        self.retry() == Retry::Later
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        u16::deserialize(deserializer).map(Code::from_number)
    }
}

/// The longest message of a failure, and the longest value of a detail, in bytes. Every failure fits
/// into [`MAX_HELLO`](super::MAX_HELLO) with all its details, and every client takes that.
const LONGEST_MESSAGE: usize = 2048;
const LONGEST_DETAIL: usize = 512;
/// The end of a text that was cut.
const CUT: &str = "...";

/// Why a request failed. Its layout is the same in every version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure<'a> {
    /// The kind of error.
    pub code: Code,
    /// The same for people.
    #[serde(borrow)]
    pub message: Text<'a>,
    /// Names and values: `PROTOCOL.md` says which for each code.
    #[serde(borrow, deserialize_with = "body::growing")]
    pub detail: Vec<(Text<'a>, Text<'a>)>,
}

impl<'a> Failure<'a> {
    /// A failure without details. A message of more than 2048 bytes is cut, and ends in `...`.
    pub fn new(code: Code, message: impl Into<Text<'a>>) -> Failure<'a> {
        Failure { code, message: cut(message.into(), LONGEST_MESSAGE), detail: Vec::new() }
    }

    /// Adds a detail. A value of more than 512 bytes is cut, and ends in `...`.
    #[must_use]
    pub fn with(mut self, name: impl Into<Text<'a>>, value: impl Into<Text<'a>>) -> Failure<'a> {
        self.detail.push((name.into(), cut(value.into(), LONGEST_DETAIL)));
        self
    }

    /// The detail of this name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        let found = self.detail.iter().find(|(known, _)| &**known == name);
        found.map(|(_, value)| &**value)
    }

    /// The job of a write that is in the log nevertheless.
    pub fn job(&self) -> Option<&str> {
        self.detail("job")
    }

    /// The failure, owned.
    pub fn into_owned(self) -> Failure<'static> {
        let Failure { code, message, detail } = self;
        let owned = |(name, value): (Text<'_>, Text<'_>)| (name.into_owned(), value.into_owned());
        let detail = detail.into_iter().map(owned).collect();
        Failure { code, message: message.into_owned(), detail }
    }
}

/// A text of at most `max` bytes.
fn cut(text: Text<'_>, max: usize) -> Text<'_> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max - CUT.len());
    format!("{}{CUT}", &text[..end]).into()
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for Failure<'_> {}

impl From<&Error> for Failure<'static> {
    fn from(error: &Error) -> Failure<'static> {
        let failure = |code| Failure::new(code, error.to_string());
        match error {
            Error::Io { file, .. } => failure(Code::Io).with("file", file.clone()),
            Error::DiskFull { file, needed } => failure(Code::DiskFull)
                .with("file", file.clone())
                .with("needed", needed.to_string()),
            Error::Corrupt { file, offset, .. } => {
                failure(Code::Corrupt).with("file", file.clone()).with("offset", offset.to_string())
            }
            Error::Missing { file, .. } => failure(Code::Missing).with("file", file.clone()),
            Error::Version { file, .. } => failure(Code::FormatVersion).with("file", file.clone()),
            Error::WrongStore { file, .. } => failure(Code::WrongStore).with("file", file.clone()),
            Error::Locked { .. } => failure(Code::Locked),
            Error::ReadOnly { file, .. } => failure(Code::ReadOnly).with("file", file.clone()),
            Error::NotAStore { .. } => failure(Code::NotAStore),
            Error::KeyTooLong { len, max } => {
                failure(Code::KeyTooLong).with("len", len.to_string()).with("max", max.to_string())
            }
            Error::ValueTooLong { len, max } => failure(Code::ValueTooLong)
                .with("len", len.to_string())
                .with("max", max.to_string()),
            Error::InvalidName { name } => failure(Code::InvalidName).with("name", name.clone()),
            Error::NoSuchKeyspace { name } => {
                failure(Code::NoSuchKeyspace).with("name", name.clone())
            }
            Error::KeyspaceExists { name } => {
                failure(Code::KeyspaceExists).with("name", name.clone())
            }
            Error::TooManyKeyspaces => failure(Code::Unsupported),
            Error::ForeignKeyspace { name } => {
                failure(Code::ForeignKeyspace).with("name", name.clone())
            }
            Error::InvalidOption { option, reason } => {
                failure(Code::InvalidOption).with("option", *option).with("reason", reason.clone())
            }
            Error::InvalidToken { token, reason } => failure(Code::InvalidToken)
                .with("token", token.clone())
                .with("reason", reason.clone()),
            Error::UnknownLife { token, incarnation } => failure(Code::UnknownLife)
                .with("token", token.clone())
                .with("incarnation", incarnation.to_string()),
            Error::Poisoned { .. } => failure(Code::Poisoned),
            Error::CacheExhausted { frames } => {
                failure(Code::CacheExhausted).with("frames", frames.to_string())
            }
            Error::Closed | Error::Forked => failure(Code::Closed),
        }
    }
}
