//! Entry points of the fuzz targets in `fuzz/` for every decoder of untrusted bytes. (The target of the
//! whole store, `store_model`, runs the programs of `tests/model`.)
//!
//! ```text
//!   fuzz/fuzz_targets/*.rs      libFuzzer, without an end
//!            |
//!   fuzzing::{record, page, superblock, token, packet}
//!            |
//!   unit tests here             random and mutated bytes, on every run of the tests
//! ```
//!
//! Each function hands any bytes to decoders, and panics if one of these rules is broken. Built for
//! tests and under `--cfg fuzzing` only.
//!
//! - FUZZ-1 a decoder never panics, whatever the bytes;
//! - FUZZ-2 the encoder writes decoded values as the same bytes;
//! - FUZZ-3 a page that passes its check can be read through without a panic;
//! - FUZZ-4 a stream gives the same packets wherever it is cut.
//!
//! Checksums reject random bytes, so each function also repairs the checksum of its input and tries
//! again: that reaches the code behind the checksum.

#[cfg(feature = "server")]
mod packet;

#[cfg(feature = "server")]
pub use self::packet::packet;

use crate::engine::base::codec::{crc32, put_u32, put_u64};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret, StoreId};
use crate::engine::commit::{Op, Operations, Payload};
use crate::engine::log::format::{
    MIN_ROOM, RECORD_HEADER, Salt, SegmentHeader, decode_record, segment_number,
};
use crate::engine::space::map_page::{self, Node as MapNode};
use crate::engine::space::superblock::{SLOT_BYTES, Superblock};
use crate::engine::space::{PAGE_HEADER, PageAddr, PageId, header};
use crate::engine::store::Token;
use crate::engine::tree::{Node, Value, blob};

const STORE: StoreId = StoreId([7; 16]);
/// Of format version 1, whose salt can be known in advance: a corpus can hold valid records.
const LIFE: Life = Life {
    store: STORE,
    incarnation: Incarnation::new(3),
    mark: LifeMark::NONE,
    secret: Secret::NONE,
};
/// The LSN at which the record is decoded.
const AT: Lsn = Lsn::new(1 << 20);

/// A whole conversation with a server, in any pieces.
#[cfg(feature = "server")]
pub fn session(bytes: &[u8]) {
    crate::net::server::session(bytes);
}

/// The log: a record, a segment's header, a payload, a file name.
pub fn record(bytes: &[u8]) {
    let salt = Salt::of(&LIFE);
    let _ = decode_record(bytes, AT, salt);
    let mut repaired = bytes.to_vec();
    if repaired.len() as u64 >= MIN_ROOM {
        let len = u32::try_from(bytes.len() - RECORD_HEADER).expect("a short input");
        put_u32(&mut repaired, 8, len % 64);
        put_u64(&mut repaired, 16, AT.get());
        let payload_end = RECORD_HEADER + (len % 64).min(len) as usize;
        let payload_crc = crc32(&[&repaired[RECORD_HEADER..payload_end]]);
        put_u32(&mut repaired, 4, payload_crc);
        let crc =
            crc32(&[&STORE.0, &LIFE.incarnation.get().to_le_bytes(), &repaired[4..RECORD_HEADER]]);
        put_u32(&mut repaired, 0, crc);
        if let Ok(record) = decode_record(&repaired, AT, salt) {
            assert_eq!(record.header.encode(salt), repaired[..RECORD_HEADER], "FUZZ-2");
        }
    }
    segment_header(bytes);
    operations(bytes);
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = segment_number(name);
    }
}

fn segment_header(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    if bytes.len() < 64 {
        return;
    }
    let mut page = bytes.to_vec();
    page.resize(4096, 0);
    page[..8].copy_from_slice(b"SYNCLOG\0");
    page[8..12].copy_from_slice(&2u32.to_le_bytes());
    page[64] |= 1;
    let crc = crc32(&[&page[..12], &page[16..]]);
    put_u32(&mut page, 12, crc);
    let header =
        SegmentHeader::decode(&page).expect("FUZZ-2: magic, version and checksum are right");
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header), "FUZZ-2");
}

fn operations(bytes: &[u8]) {
    let mut payload = Payload::default();
    let mut ended = false;
    for op in Operations::new(bytes) {
        assert!(!ended, "FUZZ-1: an error ends a payload");
        match op {
            Ok(op) => payload.push(op),
            Err(_) => ended = true,
        }
    }
    let again: Result<Vec<Op<'_>>, _> = Operations::new(&payload.bytes).collect();
    assert_eq!(again.expect("FUZZ-2").len(), payload.operations, "FUZZ-2");
}

/// The data file: a page of any kind.
pub fn page(bytes: &[u8]) {
    let size = match bytes.len() {
        ..4097 => 4096,
        4097..8193 => 8192,
        8193..16385 => 16384,
        _ => 32768,
    };
    let mut page = bytes.to_vec();
    page.resize(size, 0);
    let id = header::page_id(&page);
    let _ = header::check(&page, STORE, id, PageAddr::NONE);
    let crc = header::seal(&mut page, STORE);
    header::check(&page, STORE, id, PageAddr::new(2, crc)).expect("FUZZ-2");
    read_node(&page);
    read_map(&page);
    for level in 0..=2 {
        match blob::children(&page, level) {
            Ok(blob::Children::Bytes(part)) => assert!(part.len() <= size - PAGE_HEADER),
            Ok(blob::Children::Pages(pages)) => assert!(pages.count() <= size / 8),
            Err(_) => {}
        }
    }
}

/// FUZZ-3, for a node of a tree.
fn read_node(page: &[u8]) {
    let node = Node::new(page);
    if node.check().is_err() {
        return;
    }
    let mut key = Vec::new();
    for slot in 0..node.count() {
        key.clear();
        node.append_key(slot, &mut key);
        if !node.is_leaf() {
            assert_ne!(node.child(slot), PageId::NONE);
            assert!(node.child_index(&key) <= slot);
            continue;
        }
        assert_eq!(node.search(&key), Ok(slot), "FUZZ-3: a key is found where it is");
        if let Value::Inline(value) = node.value(slot) {
            assert!(value.len() <= page.len());
        }
    }
}

fn read_map(page: &[u8]) {
    let (kind, level, id) = (header::kind(page), header::level(page), header::page_id(page));
    let place = MapNode { level, index: id.0 & ((1 << 48) - 1) };
    let Ok(words) = map_page::decode(page, kind, place) else { return };
    let mut again = vec![0; page.len()];
    map_page::encode(&mut again, kind, place, header::lsn(page), &words);
    assert_eq!(again[4..], page[4..], "FUZZ-2");
}

/// The superblock.
pub fn superblock(bytes: &[u8]) {
    let _ = Superblock::decode(bytes);
    let mut slot = bytes.to_vec();
    slot.resize(SLOT_BYTES, 0);
    slot[..8].copy_from_slice(b"SYNCDATA");
    slot[12..16].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32(&[&slot[..8], &slot[12..]]);
    put_u32(&mut slot, 8, crc);
    if let Ok(superblock) = Superblock::decode(&slot) {
        assert_eq!(superblock.encode()[..], slot, "FUZZ-2");
    }
}

/// The token of a receipt.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<Token>() {
        let again = token.to_string().parse::<Token>();
        assert_eq!(again.ok(), Some(token), "FUZZ-2");
    }
}

#[cfg(all(test, not(syncline_shuttle)))]
mod tests;
