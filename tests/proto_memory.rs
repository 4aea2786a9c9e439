//! Allocations of the protocol's decoders and encoders: none for the requests and answers of the hot
//! paths, and at most a small multiple of the packet for all others (PROTO-4).
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use syncline::proto::{
    Batch, Bound, CommitPosition, Delete, Delivery, EntriesWriter, Get, MAX_BODY, Mode, Op,
    OpsBuffer, Order, Packet, Part, Progress, Put, Range, Request, Response, decode,
};

struct Counting;

thread_local! {
    /// Bytes that this thread has allocated: in all, and the most at once.
    static GIVEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (sum, most) = GIVEN.get();
        GIVEN.set((sum + layout.size(), most.max(layout.size())));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that `work` allocates, in all and at most at once.
fn allocated<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    GIVEN.set((0, 0));
    black_box(work());
    GIVEN.get()
}

fn only(bytes: &[u8]) -> Packet<'_> {
    let Ok(Progress::Packet(packet)) = decode(bytes, MAX_BODY) else { panic!("a packet") };
    packet
}

fn packet(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(1, 0, MAX_BODY, &mut out).expect("it fits");
    out
}

#[test]
fn the_hot_paths_allocate_nothing() {
    let (keyspace, key, value, once) = ("users", &b"ada"[..], &[7; 4000][..], Some(&b"1"[..]));
    let mut ops = OpsBuffer::new();
    for _ in 0..1000 {
        ops.push(&Op::Put { keyspace, key, value: b"v" });
    }
    let range = Range {
        keyspace,
        lower: Bound::Included(key),
        upper: Bound::Unbounded,
        order: Order::Ascending,
        limit: None,
        delivery: Delivery::Page { max_bytes: 1 },
        at: syncline::proto::At::Latest,
    };
    let requests = [
        Request::Get(Get { keyspace, key }),
        Request::Put(Put { keyspace, key, value, mode: Mode::Async, once }),
        Request::Delete(Delete { keyspace, key, mode: Mode::Sync, once }),
        Request::Batch(Batch { mode: Mode::Job, once, ops: ops.ops() }),
        Request::Range(range),
    ];
    for request in requests {
        let bytes = packet(&request);
        let mut out = Vec::with_capacity(bytes.len());
        let reading = allocated(|| match Request::decode(&only(&bytes)).expect("a request") {
            Request::Batch(batch) => batch.ops.count(),
            _ => 0,
        });
        assert_eq!(reading, (0, 0), "reading {:?}", request.kind());
        let writing = allocated(|| request.encode(1, 0, MAX_BODY, &mut out));
        assert_eq!(writing, (0, 0), "writing {:?}", request.kind());
        assert_eq!(out, bytes);
    }
    let mut out = Vec::with_capacity(1 << 16);
    let answering = allocated(|| {
        Response::Value(Some(value)).encode(1, MAX_BODY, &mut out).expect("it fits");
        let end = out.len();
        let mut writer = EntriesWriter::new(CommitPosition { incarnation: 1, lsn: 2 }, &mut out);
        (0..100).for_each(|_| writer.push(key, b"value", &mut out));
        writer.finish(1, Part::Last, Some(key), MAX_BODY, &mut out).expect("it fits");
        end
    });
    assert_eq!(answering, (0, 0));
    let reading = allocated(|| {
        let value = only(&out);
        let entries = only(&out[value.len_in_buffer()..]);
        let Ok(Response::Entries(entries)) = Response::decode(&entries) else { panic!("entries") };
        (Response::decode(&value).expect("a value"), entries.rows.count())
    });
    assert_eq!(reading, (0, 0));
}

/// Every kind, with the largest possible length at each position of its body.
#[test]
fn a_claimed_length_is_not_allocated() {
    let mut worst = 0;
    for kind in 0..=255u8 {
        for before in 0..40 {
            for fill in [0, 1, 2] {
                let mut body = vec![fill; before];
                body.extend([253, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
                body.extend([1; 40]);
                let mut bytes = Vec::new();
                let begun = syncline::proto::Begun::new(&mut bytes);
                bytes.extend(&body);
                let head = syncline::proto::Head { id: 1, kind, part: Part::Last, deadline_ms: 0 };
                begun.finish(&mut bytes, head, MAX_BODY).expect("it fits");
                let packet = only(&bytes);
                let reading = allocated(|| {
                    (Request::decode(&packet).is_ok(), Response::decode(&packet).is_ok())
                });
                worst = worst.max(reading.1);
            }
        }
    }
    assert!(worst <= 8192, "{worst} bytes at once, for a packet of a hundred");
}
