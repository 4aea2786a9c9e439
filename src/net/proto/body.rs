//! Bodies: bincode 2 in its standard configuration (little-endian, varint), through serde.
//!
//! A body is read whole (PROTO-3). It borrows from its packet, and no memory is reserved for the length
//! that a list claims (PROTO-4): see [`super`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bincode::config::{Configuration, standard};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, IntegerType};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

pub(super) const CONFIG: Configuration = standard();

/// Why a body is not what its kind says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The reason, for people.
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    pub(super) fn new(reason: impl Into<String>) -> Malformed {
        Malformed { reason: reason.into() }
    }
}

/// A text that is borrowed from a packet, or owned.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, DeriveDeserialize,
)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    /// The text, owned.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        Text(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Cow::Owned(text))
    }
}

/// Reads a whole body (PROTO-3).
pub(super) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    let (message, used) = decode_first(body)?;
    match body.len() - used {
        0 => Ok(message),
        left => Err(Malformed::new(format!("{left} bytes too many"))),
    }
}

/// Reads the first part of a body. Returns it with the number of its bytes.
#[inline]
pub(super) fn decode_first<'a, T: Deserialize<'a>>(
    body: &'a [u8],
) -> Result<(T, usize), Malformed> {
    bincode::serde::borrow_decode_from_slice(body, CONFIG)
        .map_err(|error| Malformed::new(in_words(&error)))
}

/// The error in the words of `PROTOCOL.md`: the library's own describe its source.
#[cold]
fn in_words(error: &DecodeError) -> String {
    match error {
        DecodeError::UnexpectedEnd { .. } => "the body ends too early".into(),
        DecodeError::InvalidIntegerType {
            found: IntegerType::U128 | IntegerType::Reserved,
            ..
        } => "254 and 255 begin no number".into(),
        DecodeError::InvalidIntegerType { .. } => "a number is too long for its field".into(),
        DecodeError::Utf8 { .. } => "a text is not UTF-8".into(),
        DecodeError::InvalidBooleanValue(byte) => format!("a bool is 0 or 1, not {byte}"),
        DecodeError::UnexpectedVariant { found, .. } => {
            format!("an option begins with 0 or 1, not with {found}")
        }
        DecodeError::OtherString(_) | DecodeError::Serde(_) => {
            "a choice names a case that it does not have".into()
        }
        _ => "the body is not what its kind says".into(),
    }
}

/// Writes a body, or a part of one, at the end of `out`.
#[inline]
pub(super) fn encode(message: &impl Serialize, out: &mut Vec<u8>) {
    bincode::serde::encode_into_writer(message, Append(out), CONFIG)
        .expect("every message can be encoded");
}

struct Append<'v>(&'v mut Vec<u8>);

impl Writer for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A list that grows as it is read (PROTO-4). That of serde would reserve memory for the claimed length.
pub(super) fn growing<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Growing<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Growing<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Growing(PhantomData))
}
