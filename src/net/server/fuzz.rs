//! Any bytes, in any pieces, as what one client says.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::mailbox::Mailbox;
use super::pool::Pool;
use super::session::Session;
use super::shared::{Limits, Shared};
use super::tokens::Keys;
use crate::engine::disk::SimDisk;
use crate::net::proto::{
    Hello, Kind, MAGIC, MAX_BODY, Packet, Part, Progress, Request, Response, VERSION, decode,
};
use crate::net::service::Service;
use crate::{Options, Store};

/// Longer conversations find nothing that shorter ones do not.
const LONGEST: usize = 4096;

/// Packets that are taken before the rest is looked at again.
const AT_A_TIME: usize = 3;

/// Plays a conversation twice, in one piece and in several, and holds it to the rules: nothing
/// panics, what comes out is sound packets with at most one last answer for each id, and where
/// the bytes are cut makes no difference to how far they are understood.
///
/// The bytes are packets in short: kind, length of the body, body. What comes after a kind of 255
/// is sent as it is.
pub(crate) fn session(bytes: &[u8]) {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (said, ids) = conversation(&rest[..rest.len().min(LONGEST)]);
    let whole = play(&said, said.len(), ids);
    let pieces = play(&said, usize::from(cut).max(1), ids);
    assert_eq!(whole, pieces, "where the bytes are cut makes a difference");
}

/// What is known of the requests' ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    EachOnce,
    Any,
}

/// What a client says first, with id 1.
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
            // These may name an id a second time, which is then answered a second time.
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

/// Says it in pieces of this length, of each of which a few packets are taken at a time. Returns how
/// many bytes were understood.
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

/// What a session's output consists of. Panics if that is not whole packets.
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

/// What sessions share over a new store with an empty keyspace `rows`.
pub(super) fn new_shared() -> Arc<Shared> {
    let store = Options::new().open_on(Arc::new(SimDisk::new())).expect("a new store");
    store.keyspace("rows").expect("a new keyspace");
    shared_over(store, 16)
}

/// What sessions share over this store, with a pool of one thread and a queue so long.
pub(super) fn shared_over(store: Store, pool_queue: usize) -> Arc<Shared> {
    // Many writes are gathered in tests: there is the space that they need.
    #[cfg(test)]
    store.provide(2048, 16 << 20).expect("no limit");
    let service = Arc::new(Service::new(store).expect("a new store can be written"));
    let pool = Pool::start(1, pool_queue).expect("a thread");
    let memory = std::time::Duration::from_millis(100);
    let limits = Limits { memory, ..Limits::default() };
    Arc::new(Shared::new(service, pool, limits, Keys::new(None)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::session;
    use crate::net::proto::Kind;

    /// Requests that make sense, in short form, so that more is reached than the refusals.
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
