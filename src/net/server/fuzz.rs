//! The fuzz target for sessions: any bytes, in any pieces, as the input of one client.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::mailbox::Mailbox;
use super::pool::Pool;
use super::session::Session;
use super::shared::{Limits, Shared};
use super::tokens::Authenticator;
use crate::engine::disk::SimDisk;
use crate::net::proto::{
    Hello, Kind, MAGIC, MAX_BODY, Packet, Part, Progress, Request, Response, VERSION, decode,
};
use crate::net::service::Service;
use crate::{Options, Store};

/// Longer conversations find nothing that shorter ones do not.
const LONGEST: usize = 4096;

/// Packets per turn.
const AT_A_TIME: usize = 3;

/// Plays a conversation twice, in one piece and in several, and checks three rules:
///
/// - nothing panics;
/// - the output is sound packets, with at most one last answer per id;
/// - the places where the input is cut do not change how many bytes of it are consumed.
///
/// `bytes` are packets in short form: kind, length of the body, body. All bytes after a kind of
/// 255 are sent unchanged.
pub(crate) fn session(bytes: &[u8]) {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (said, ids) = conversation(&rest[..rest.len().min(LONGEST)]);
    let whole = play(&said, said.len(), ids);
    let pieces = play(&said, usize::from(cut).max(1), ids);
    assert_eq!(whole, pieces, "bytes consumed from one piece, and from several");
}

/// Whether the input may use a request id twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    EachOnce,
    Any,
}

/// The `Hello` of a client, with id 1.
pub(super) fn greeting() -> Vec<u8> {
    let mut said = Vec::new();
    let hello = Hello {
        magic: MAGIC,
        min_version: VERSION,
        max_version: VERSION,
        client: "fuzz",
        token: None,
        max_body: MAX_BODY,
        options: Vec::new(),
    };
    Request::Hello(hello).encode(1, 0, MAX_BODY, &mut said).expect("it is short");
    said
}

fn conversation(mut bytes: &[u8]) -> (Vec<u8>, Ids) {
    let mut said = greeting();
    for id in 2.. {
        let &[kind, len, ref rest @ ..] = bytes else { break };
        if kind == u8::MAX {
            // These bytes may use an id again, which is then answered again.
            said.extend_from_slice(rest);
            return (said, Ids::Any);
        }
        let (body, rest) = rest.split_at(rest.len().min(usize::from(len)));
        bytes = rest;
        let start = said.len();
        said.extend_from_slice(&(body.len() as u32).to_le_bytes());
        said.extend_from_slice(&[0; 4]);
        said.extend_from_slice(&u64::to_le_bytes(id));
        said.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        said.extend_from_slice(body);
        let crc = crc32fast::hash(&said[start + 8..]);
        said[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
    (said, Ids::EachOnce)
}

/// Feeds `said` to a session in pieces of length `piece`. Returns the number of bytes consumed.
fn play(said: &[u8], piece: usize, ids: Ids) -> usize {
    let mut session = Session::new(Arc::clone(shared()), Arc::new(Mailbox::default()));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut input, mut used) = (Vec::new(), 0);
    for piece in said.chunks(piece) {
        input.extend_from_slice(piece);
        let mut is_unfinished = true;
        while is_unfinished && session.accepts_input() {
            session.look_ahead(&input, &mut AT_A_TIME.clone());
            let fed = session.feed(&input, Instant::now(), &mut AT_A_TIME.clone());
            input.drain(..fed.used);
            used += fed.used;
            is_unfinished = fed.is_unfinished;
        }
        session.catch_up(&mut cx, Instant::now(), &mut usize::MAX.clone());
    }
    session.hung_up();
    session.catch_up(&mut cx, Instant::now(), &mut usize::MAX.clone());
    check_output(session.output().pending(), ids);
    used
}

fn check_output(output: &[u8], ids: Ids) {
    let mut answered = std::collections::BTreeSet::new();
    for packet in packets(output) {
        let Packet { head, .. } = packet;
        let response = Response::decode(&packet).expect("the server's answers can be read");
        assert_eq!(response.kind().number(), head.kind);
        if head.part == Part::Last && head.id != 0 && head.kind != Kind::Goodbye.number() {
            let is_first = answered.insert(head.id);
            assert!(is_first || ids == Ids::Any, "request {} is answered twice", head.id);
        }
    }
}

/// The packets of a session's output. Panics if it is not made of whole packets.
pub(super) fn packets(mut output: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        if output.is_empty() {
            return None;
        }
        let Ok(Progress::Packet(packet)) = decode(output, MAX_BODY) else {
            panic!("{} bytes of output are no packet", output.len());
        };
        output = &output[packet.len_in_buffer()..];
        Some(packet)
    })
}

pub(super) fn shared() -> &'static Arc<Shared> {
    static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();
    SHARED.get_or_init(new_shared)
}

/// The shared state of sessions over a new store with an empty keyspace `rows`.
pub(super) fn new_shared() -> Arc<Shared> {
    let store = Options::new().open_on(Arc::new(SimDisk::new())).expect("a new store");
    store.keyspace("rows").expect("a new keyspace");
    shared_over(store, 16)
}

/// The shared state of sessions over `store`, with a pool of one thread and `pool_queue` places.
pub(super) fn shared_over(store: Store, pool_queue: usize) -> Arc<Shared> {
    // Tests gather many writes: reserve their space beforehand.
    #[cfg(test)]
    store.provide(2048, 16 << 20).expect("no limit");
    let service = Arc::new(Service::new(store).expect("a new store can be written"));
    let pool = Pool::start(1, pool_queue).expect("a thread");
    let memory = std::time::Duration::from_millis(100);
    let limits = Limits { memory, ..Limits::default() };
    Arc::new(Shared::new(service, pool, limits, Authenticator::new(None)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::session;
    use crate::net::proto::Kind;

    /// Well-formed requests in short form, so that the fuzzer gets past the refusals.
    fn sensible() -> impl Strategy<Value = Vec<u8>> {
        let kinds: Vec<u8> = Kind::ALL.iter().map(|kind| kind.number()).collect();
        let body = prop_oneof![
            Just(vec![]),
            Just(b"\x04rows\x01k".to_vec()),
            (0..3_u8).prop_map(|mode| [b"\x04rows\x01k\x01v".as_slice(), &[mode, 0]].concat()),
            (0..3_u8).prop_map(|mode| [b"\x04rows\x01k".as_slice(), &[mode, 0]].concat()),
            Just(b"\x04rows\x00\x00\x00\x00\x01\x05\x00".to_vec()),
            (1..20_u8, 0..4_u8).prop_map(|(id, more)| vec![id, more]),
            prop::collection::vec(any::<u8>(), 0..12),
        ];
        let one = (prop::sample::select(kinds), body)
            .prop_map(|(kind, body)| [&[kind, body.len() as u8][..], &body].concat());
        (any::<u8>(), prop::collection::vec(one, 0..40))
            .prop_map(|(cut, requests)| [&[cut][..], &requests.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_requests_in_any_pieces(bytes in sensible()) {
            session(&bytes);
        }

        #[test]
        fn any_bytes_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            session(&bytes);
        }
    }
}
