//! Values and entries as reads return them.

use std::fmt;
use std::ops::Deref;

use crate::cache::PinnedPage;

/// A value that was read.
///
/// A value that fits in a page is not copied: this keeps the page in memory until it is dropped,
/// and nothing else waits for it. [`Value::into_vec`] makes a copy that outlives the store.
pub struct Value<'a>(Inner<'a>);

enum Inner<'a> {
    InPage { page: PinnedPage<'a>, start: usize, len: usize },
    Owned(Vec<u8>),
}

impl<'a> Value<'a> {
    pub(crate) fn in_page(page: PinnedPage<'a>, start: usize, len: usize) -> Self {
        Value(Inner::InPage { page, start, len })
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Value(Inner::Owned(bytes))
    }

    /// The value as bytes of its own. Copies it unless it was stored out of line.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Inner::Owned(bytes) => bytes,
            Inner::InPage { .. } => self.to_vec(),
        }
    }
}

impl Deref for Value<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::InPage { page, start, len } => &page.bytes()[*start..*start + *len],
            Inner::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value<'_> {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

/// A key and its value, as iterators return them.
#[derive(Debug)]
pub struct Entry<'a> {
    key: Vec<u8>,
    value: Value<'a>,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(key: Vec<u8>, value: Value<'a>) -> Self {
        Entry { key, value }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Both as bytes of their own.
    pub fn into_pair(self) -> (Vec<u8>, Vec<u8>) {
        (self.key, self.value.into_vec())
    }
}
