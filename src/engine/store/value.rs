//! [`Value`] and [`Entry`], the results of reads: copies that pin nothing and borrow nothing (CACHE-9).

use std::fmt;
use std::ops::Deref;

/// Values up to this length are stored in the `Value` itself.
const SHORT: usize = 190;

/// A value that was read: an owned copy of its bytes, which dereferences to `[u8]`.
///
/// It borrows nothing, holds up no other thread, and may outlive the store.
#[derive(Clone)]
pub struct Value(ValueBytes);

#[derive(Clone)]
enum ValueBytes {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const _: () = assert!(SHORT <= u8::MAX as usize);

impl Value {
    #[inline]
    pub(crate) fn copy(value: &[u8]) -> Self {
        if value.len() > SHORT {
            return Value(ValueBytes::Long(value.into()));
        }
        let mut bytes = [0; SHORT];
        bytes[..value.len()].copy_from_slice(value);
        Value(ValueBytes::Short { len: value.len() as u8, bytes })
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Value(ValueBytes::Long(bytes.into_boxed_slice()))
    }

    /// The value as a vector. Copies only a short value.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            ValueBytes::Long(bytes) => bytes.into_vec(),
            ValueBytes::Short { .. } => self.to_vec(),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            ValueBytes::Short { len, bytes } => &bytes[..usize::from(*len)],
            ValueBytes::Long(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

/// A key and its value, as iterators return them: an owned copy, like a [`Value`].
#[derive(Clone)]
pub struct Entry {
    /// The key, followed by the value unless that is in `apart`.
    bytes: Box<[u8]>,
    key_len: usize,
    /// A value that was stored out of line.
    apart: Option<Box<[u8]>>,
}

impl Entry {
    pub(crate) fn copy(key: &[u8], value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Entry { bytes: bytes.into_boxed_slice(), key_len: key.len(), apart: None }
    }

    pub(crate) fn with_long(key: &[u8], value: Vec<u8>) -> Self {
        Entry { bytes: key.into(), key_len: key.len(), apart: Some(value.into_boxed_slice()) }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.apart.as_deref().unwrap_or(&self.bytes[self.key_len..])
    }

    /// The key and the value as vectors.
    pub fn into_pair(self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key().to_vec();
        let value = match self.apart {
            Some(value) => value.into_vec(),
            None => self.bytes[self.key_len..].to_vec(),
        };
        (key, value)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": \"{}\"", self.key().escape_ascii(), self.value().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_entries_of_all_lengths_keep_their_bytes() {
        for len in (0..300).chain([SHORT, SHORT + 1, 100_000]) {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            for value in [Value::copy(&bytes), Value::owned(bytes.clone())] {
                assert_eq!(&*value, &bytes[..]);
                assert_eq!(value.clone(), bytes);
                assert_eq!(value.into_vec(), bytes);
            }
            for entry in [Entry::copy(b"key", &bytes), Entry::with_long(b"key", bytes.clone())] {
                assert_eq!((entry.key(), entry.value()), (&b"key"[..], &bytes[..]));
                assert_eq!(entry.into_pair(), (b"key".to_vec(), bytes.clone()));
            }
        }
    }
}
