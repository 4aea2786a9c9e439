//! The bytes of the protocol: pinned, documented, split, cut, flipped and random.

mod document;
mod golden;
mod hostile;
mod properties;
pub(crate) mod samples;

use super::packet::{HEADER, Packet, Progress, decode};
use super::{MAX_BODY, Request, Response};

/// The only packet in `bytes`.
fn only(bytes: &[u8]) -> Packet<'_> {
    match decode(bytes, MAX_BODY) {
        Ok(Progress::Packet(packet)) => {
            assert_eq!(packet.len_in_buffer(), bytes.len());
            packet
        }
        other => panic!("{other:?}"),
    }
}

/// Reads a packet's message and writes it again.
fn again(packet: &Packet<'_>) -> Vec<u8> {
    let (head, mut out) = (packet.head, Vec::new());
    if head.kind < 128 {
        let request = Request::decode(packet).expect("a request");
        assert_eq!(request.kind().number(), head.kind);
        request.encode(head.id, head.deadline_ms, MAX_BODY, &mut out).expect("it fits");
    } else {
        let response = Response::decode(packet).expect("an answer");
        assert_eq!(response.kind().number(), head.kind);
        response.encode_part(head.id, head.part, MAX_BODY, &mut out).expect("it fits");
    }
    out
}

/// Bytes in hexadecimal, the header apart from the body.
fn hex(packet: &[u8]) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{} {}", digits(&packet[..HEADER]), digits(&packet[HEADER..])).trim_end().to_owned()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("two digits")
    };
    digits.chunks(2).map(byte).collect()
}
