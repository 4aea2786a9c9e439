//! The protocol: any bytes as a stream of packets, as a body of any kind, and cut in two.

use crate::net::proto::{Begun, Head, MAX_BODY, Packet, Part, Progress, Request, Response, decode};

/// Longer than the body of any input.
const LIMIT: u32 = 1 << 16;

/// Packets, and the messages in them.
///
/// Beyond FUZZ-1 and FUZZ-2: a stream gives the same packets wherever it is cut (FUZZ-4), and a message
/// that is written and read again is the same one (PROTO-5). Its bytes may be fewer: a decoder also
/// takes numbers in longer forms than the encoder writes.
pub fn packet(bytes: &[u8]) {
    stream(bytes);
    let [kind, flags, cut, body @ ..] = bytes else { return };
    let part = if flags & 1 == 0 { Part::Last } else { Part::More };
    let (id, deadline_ms) = (u64::from(*cut), u32::from(*flags));
    let head = Head { id, kind: *kind, part, deadline_ms };
    let mut out = Vec::new();
    let begun = Begun::new(&mut out);
    out.extend_from_slice(body);
    begun.finish(&mut out, head, MAX_BODY).expect("a short body");
    assert_eq!(first(&out), Some(Packet { head, body }), "FUZZ-2");
    message(&Packet { head, body });
    // The packet twice in one stream, which is read in two pieces.
    let both = [&out[..], &out[..]].concat();
    let cut = usize::from(*cut) % both.len();
    let whole = both[..cut].len() / out.len();
    assert_eq!(stream(&both[..cut]), whole * out.len(), "FUZZ-4");
    assert_eq!(stream(&both), both.len(), "FUZZ-4");
}

/// The bytes that whole packets take.
fn stream(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(packet) = first(&bytes[at..]) {
        message(&packet);
        at += packet.len_in_buffer();
    }
    at
}

fn first(bytes: &[u8]) -> Option<Packet<'_>> {
    match decode(bytes, LIMIT) {
        Ok(Progress::Packet(packet)) => Some(packet),
        Ok(Progress::NeedMore(missing)) => {
            assert!(missing > 0, "a packet is missing no bytes");
            None
        }
        Err(_) => None,
    }
}

fn message(packet: &Packet<'_>) {
    let (head, mut out) = (packet.head, Vec::new());
    let request = Request::decode(packet);
    let response = Response::decode(packet);
    assert!(request.is_err() || response.is_err(), "kinds are one or the other");
    if let Ok(request) = request {
        if let Request::Batch(batch) = request {
            assert_eq!(batch.ops.count() as u64, batch.ops.len(), "FUZZ-2");
        }
        request.encode(head.id, head.deadline_ms, MAX_BODY, &mut out).expect("it fits");
        assert_eq!(Request::decode(&first(&out).expect("FUZZ-2")), Ok(request), "PROTO-5");
    } else if let Ok(response) = response {
        if let Response::Entries(entries) = response {
            assert_eq!(entries.rows.count() as u64, entries.rows.len(), "FUZZ-2");
        }
        response.encode_part(head.id, head.part, MAX_BODY, &mut out).expect("it fits");
        assert_eq!(Response::decode(&first(&out).expect("FUZZ-2")), Ok(response), "PROTO-5");
    }
}
