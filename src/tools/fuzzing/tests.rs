//! The fuzz targets' functions on random bytes and on mutations of valid ones.

use super::*;
use crate::engine::base::random::SplitMix64;
use crate::engine::space::map_page::Root;
use crate::engine::space::superblock::Superblock;
use crate::engine::space::{Head, INNER, LEAF};

struct Random(SplitMix64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.next()
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit as u64) as usize
    }

    /// Up to `limit` bytes. Half of the inputs are mostly zeros: lengths and counts in them are small.
    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let len = self.below(limit + 1);
        let sparse = self.below(2) == 0;
        let byte = |random: &mut Random| match sparse && random.below(8) != 0 {
            true => 0,
            false => random.next() as u8,
        };
        (0..len).map(|_| byte(self)).collect()
    }

    /// Changes a few bytes, most of them near the start, where headers are.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let reach = if self.below(3) == 0 { bytes.len() } else { bytes.len().min(160) };
            let at = self.below(reach.max(1)).min(bytes.len() - 1);
            match self.below(3) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next() as u8,
                _ => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            }
        }
        if self.below(8) == 0 {
            bytes.truncate(self.below(bytes.len()).max(1));
        }
    }
}

/// Calls `target` with random bytes, and with mutations of `valid` ones.
fn smoke(target: fn(&[u8]), valid: &[Vec<u8>], longest: usize, rounds: u64) {
    for seed in 0..rounds {
        let mut random = Random(SplitMix64::new(seed));
        let mut bytes = random.bytes(longest);
        if !valid.is_empty() && seed % 4 != 0 {
            bytes = valid[random.below(valid.len())].clone();
            random.mutate(&mut bytes);
        }
        if std::panic::catch_unwind(|| target(&bytes)).is_err() {
            panic!("broken by seed {seed}: {} bytes, {:02x?}", bytes.len(), bytes);
        }
    }
    valid.iter().for_each(|bytes| target(bytes));
}

/// A leaf of three keys: the example in the header of `tree/node`.
fn leaf() -> Vec<u8> {
    let mut page = vec![0; 4096];
    let put = |page: &mut Vec<u8>, at: usize, hex: &str| {
        for (i, byte) in hex.split_whitespace().enumerate() {
            page[at + i] = u8::from_str_radix(byte, 16).unwrap();
        }
    };
    put(&mut page, 0, "00 00 00 00 01 00 03 00  34 12 00 00 00 00 00 00  77 00 00 00 00 00 00 00");
    put(&mut page, 24, "d9 0f 01 00 02 00 03 00  03 00 00 00 00 00 00 00");
    put(&mut page, 40, "00 00 00 72 ef 0f 01 00  6e 6f 62 72 f2 0f 04 00");
    put(&mut page, 56, "74 65 70 72 d9 0f 04 00");
    put(&mut page, 4057, "00 80 72 70 65 74  00 00 01 00 00 00 00 00  99 00 00 00 00 00 00 00");
    put(&mut page, 4079, "00 00 72 01 00 72 62 6f 6e 43 36 63 61 74 63 61 72");
    Node::new(&page).check().expect("the example is valid");
    page
}

/// An inner node of one child, without fences.
fn inner() -> Vec<u8> {
    let mut page = vec![0; 4096];
    header::init(&mut page, INNER, 1, Lsn::new(5), PageId(9));
    header::set_count(&mut page, 1);
    page[24..26].copy_from_slice(&4088u16.to_le_bytes());
    page[32..34].copy_from_slice(&u16::MAX.to_le_bytes());
    page[44..46].copy_from_slice(&4088u16.to_le_bytes());
    put_u64(&mut page, 4088, 10);
    Node::new(&page).check().expect("an inner node");
    page
}

fn map() -> Vec<u8> {
    let mut page = vec![0; 4096];
    let mut words = vec![0; map_page::fanout(4096)];
    words[0] = PageAddr::new(17, 1).word();
    map_page::encode(&mut page, 5, MapNode { level: 1, index: 2 }, Lsn::new(3), &words);
    page
}

#[test]
fn log_decoders_take_any_bytes() {
    let mut payload = Payload::default();
    payload.push(Op::Put {
        keyspace: crate::engine::commit::KeyspaceId(1),
        key: b"key",
        value: b"value",
    });
    payload.push(Op::Count { keyspace: crate::engine::commit::KeyspaceId(300), count: u64::MAX });
    let header = SegmentHeader {
        life: LIFE,
        number: 4,
        segment_bytes: 1 << 20,
        sync_line: Lsn::new(99),
        made_bytes: 0,
    };
    let valid = [payload.bytes.clone(), header.encode(), b"log-000000000000000a".to_vec()];
    smoke(record, &valid, 300, 20_000);
}

#[test]
fn page_decoders_take_any_bytes() {
    assert_eq!((header::kind(&leaf()), header::kind(&inner())), (LEAF, INNER));
    smoke(page, &[leaf(), inner(), map()], 4096, 4_000);
}

#[test]
fn superblock_decoder_takes_any_bytes() {
    let head = Head { catalog_root: PageId(1), next_page_id: PageId(2), ..Head::EMPTY };
    let valid = Superblock {
        page_size: 8192,
        segment_bytes: 64 << 20,
        store: STORE,
        sequence: 3,
        blocks: 32,
        page_map: Root { addr: PageAddr::new(5, 1), height: 0, leaves: 1 },
        free_map: Root::EMPTY,
        head,
    };
    smoke(superblock, &[valid.encode().to_vec()], 200, 10_000);
}

#[test]
fn token_parser_takes_any_text() {
    let old = Token::new(&LIFE, Lsn::new(0x1234));
    let valid = Token { mark: LifeMark(0xfeed), ..old };
    smoke(token, &[valid, old].map(|token| token.to_string().into_bytes()), 80, 20_000);
}

/// Whole packets, and bodies behind the three bytes that choose their kind.
#[test]
#[cfg(feature = "server")]
fn packet_decoders_take_any_bytes() {
    let mut valid = Vec::new();
    for (_, packet) in crate::net::proto::tests::samples::packets() {
        valid.push([&[packet[16], 0, 7], &packet[24..]].concat());
        valid.push(packet);
    }
    smoke(packet, &valid, 300, 50_000);
}
