//! The cost of encoding and decoding a request and its answer: this protocol, JSON, and RESP.
//!
//! | encoding | bytes |
//! |---|---|
//! | packet | the whole packet of this protocol: header, checksum, bincode body |
//! | body | its body alone, to compare with encodings that have no checksum |
//! | json | one object by serde_json, read into a struct that borrows its texts |
//! | resp | an array of bulk strings, as in Redis, written by hand |
//!
//! The comparison favours the others: keys and values are text that needs no escapes (JSON would need
//! base64 for bytes), RESP carries no request id, deadline, keyspace or mode, and neither has a
//! checksum. All encode into one reused buffer, and decode by borrowing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::net::proto::{self, Get, MAX_BODY, Mode, Progress, Put, Request, Response};
use crate::tools::present::text::{Align, Grid};

const KEYSPACE: &str = "default";
const KEY: &str = "user:00000000042";
const ID: u64 = 4711;
const HEADER: usize = proto::HEADER;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A get of a key of 16 bytes.
    Get,
    /// An asynchronous put of such a key, with a value.
    Put,
    /// The answer to the get: the value.
    Value,
}

/// An encoding of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A whole packet.
    Packet,
    /// A packet's body.
    Body,
    /// A JSON object.
    Json,
    /// The protocol of Redis.
    Resp,
}

impl Message {
    /// All messages.
    pub const ALL: [Message; 3] = [Message::Get, Message::Put, Message::Value];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Message::Get => "get",
            Message::Put => "put",
            Message::Value => "value",
        }
    }
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Encoding; 4] =
        [Encoding::Packet, Encoding::Body, Encoding::Json, Encoding::Resp];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Packet => "packet",
            Encoding::Body => "body",
            Encoding::Json => "json",
            Encoding::Resp => "resp",
        }
    }
}

/// The cost of one message in one encoding.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// `get`, `put` or `value`.
    pub message: &'static str,
    /// `packet`, `body`, `json` or `resp`.
    pub encoding: &'static str,
    /// Bytes of the value.
    pub value_bytes: usize,
    /// Bytes of the message.
    pub bytes: usize,
    /// Time to encode it.
    pub encode_ns: f64,
    /// Time to decode it.
    pub decode_ns: f64,
}

/// One message in one encoding, ready to be encoded and decoded again and again.
#[derive(Debug)]
pub struct Codec {
    message: Message,
    encoding: Encoding,
    value: String,
    bytes: Vec<u8>,
    out: Vec<u8>,
}

impl Codec {
    /// A message with a value of `value_bytes` bytes, if it has a value.
    pub fn new(message: Message, encoding: Encoding, value_bytes: usize) -> Codec {
        let value = "v".repeat(value_bytes);
        let mut codec = Codec { message, encoding, value, bytes: Vec::new(), out: Vec::new() };
        codec.encode();
        codec.bytes = codec.out.clone();
        codec
    }

    /// Encodes the message, and returns its length.
    pub fn encode(&mut self) -> usize {
        let Codec { message, encoding, value, out, .. } = self;
        out.clear();
        match encoding {
            Encoding::Packet | Encoding::Body => packet(*message, value, out),
            Encoding::Json => json(*message, value, out),
            Encoding::Resp => resp(*message, value, out),
        }
        if *encoding == Encoding::Body {
            return out.len() - HEADER;
        }
        out.len()
    }

    /// Decodes the message, and returns the bytes of the key and the value in it.
    pub fn decode(&self) -> usize {
        let (message, bytes) = (self.message, &self.bytes[..]);
        match self.encoding {
            Encoding::Packet => match proto::decode(bytes, MAX_BODY) {
                Ok(Progress::Packet(packet)) => read_message(&packet),
                other => panic!("{other:?}"),
            },
            Encoding::Body => {
                let kind = bytes[16];
                let head = proto::Head { id: ID, kind, part: proto::Part::Last, deadline_ms: 0 };
                read_message(&proto::Packet { head, body: &bytes[HEADER..] })
            }
            Encoding::Json => read_json(message, bytes),
            Encoding::Resp => read_resp(message, bytes),
        }
    }

    /// The message's length, and how long coding takes: the fastest of a few tries that last
    /// `budget` together.
    pub fn measure(&mut self, budget: Duration) -> Cost {
        let bytes = self.encode();
        let encode_ns = fastest(budget / 2, || self.encode());
        let decode_ns = fastest(budget / 2, || self.decode());
        let (message, encoding) = (self.message.name(), self.encoding.name());
        Cost { message, encoding, value_bytes: self.value.len(), bytes, encode_ns, decode_ns }
    }
}

/// The costs of every message in every encoding, for values of 100 and of 4096 bytes.
pub fn costs(each: Duration) -> Vec<Cost> {
    let mut costs = Vec::new();
    for message in Message::ALL {
        for value_bytes in [100, 4096] {
            if message == Message::Get && value_bytes > 100 {
                continue;
            }
            for encoding in Encoding::ALL {
                costs.push(Codec::new(message, encoding, value_bytes).measure(each));
            }
        }
    }
    costs
}

/// The text below the table.
pub const LEGEND: &str = "\
key: 16 bytes. body: the packet without header and checksum. json and resp carry no checksum, resp
no request id, deadline, keyspace or mode either. The fastest of many tries.
";

/// The costs as a table.
pub fn table(costs: &[Cost]) -> String {
    let left = |name| (name, Align::Left);
    let right = |name| (name, Align::Right);
    let mut grid = Grid::new(&[
        left("message"),
        left("encoding"),
        right("value"),
        right("bytes"),
        right("encode ns"),
        right("decode ns"),
    ]);
    for cost in costs {
        grid.row([
            cost.message.to_owned(),
            cost.encoding.to_owned(),
            cost.value_bytes.to_string(),
            cost.bytes.to_string(),
            format!("{:.0}", cost.encode_ns),
            format!("{:.0}", cost.decode_ns),
        ]);
    }
    let mut out = String::new();
    grid.print(&mut out);
    out
}

fn fastest(budget: Duration, mut work: impl FnMut() -> usize) -> f64 {
    const TIMES: u32 = 1000;
    let end = Instant::now() + budget;
    let mut best = f64::INFINITY;
    loop {
        let begun = Instant::now();
        for _ in 0..TIMES {
            black_box(work());
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(TIMES));
        if Instant::now() >= end {
            return best;
        }
    }
}

fn packet(message: Message, value: &str, out: &mut Vec<u8>) {
    let (keyspace, key, value) = (black_box(KEYSPACE), black_box(KEY).as_bytes(), value.as_bytes());
    let done = match message {
        Message::Get => Request::Get(Get { keyspace, key }).encode(ID, 0, MAX_BODY, out),
        Message::Put => {
            let put = Put { keyspace, key, value, mode: Mode::Async, once: None };
            Request::Put(put).encode(ID, 0, MAX_BODY, out)
        }
        Message::Value => Response::Value(Some(value)).encode(ID, MAX_BODY, out),
    };
    done.expect("it fits");
}

fn read_message(packet: &proto::Packet<'_>) -> usize {
    if packet.head.kind >= 128 {
        return match Response::decode(packet) {
            Ok(Response::Value(Some(value))) => value.len(),
            other => panic!("{other:?}"),
        };
    }
    match Request::decode(packet) {
        Ok(Request::Get(get)) => get.key.len(),
        Ok(Request::Put(put)) => put.key.len() + put.value.len(),
        other => panic!("{other:?}"),
    }
}

/// A request in JSON.
#[derive(Serialize, Deserialize)]
struct JsonRequest<'a> {
    op: &'a str,
    id: u64,
    keyspace: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
}

/// An answer in JSON.
#[derive(Serialize, Deserialize)]
struct JsonValue<'a> {
    id: u64,
    value: &'a str,
}

fn json(message: Message, value: &str, out: &mut Vec<u8>) {
    let (keyspace, key) = (black_box(KEYSPACE), black_box(KEY));
    let (op, value, mode) = match message {
        Message::Get => ("get", None, None),
        Message::Put => ("put", Some(value), Some("async")),
        Message::Value => {
            serde_json::to_writer(out, &JsonValue { id: ID, value }).expect("texts");
            return;
        }
    };
    let request = JsonRequest { op, id: ID, keyspace, key, value, mode };
    serde_json::to_writer(out, &request).expect("texts");
}

fn read_json(message: Message, bytes: &[u8]) -> usize {
    if message == Message::Value {
        let answer: JsonValue<'_> = serde_json::from_slice(bytes).expect("an answer");
        return answer.value.len();
    }
    let request: JsonRequest<'_> = serde_json::from_slice(bytes).expect("a request");
    request.key.len() + request.value.map_or(0, str::len)
}

fn resp(message: Message, value: &str, out: &mut Vec<u8>) {
    let key = black_box(KEY);
    match message {
        Message::Get => array(&["GET", key], out),
        Message::Put => array(&["SET", key, value], out),
        Message::Value => bulk(value, out),
    }
}

fn array(parts: &[&str], out: &mut Vec<u8>) {
    length(b'*', parts.len(), out);
    parts.iter().for_each(|part| bulk(part, out));
}

fn bulk(part: &str, out: &mut Vec<u8>) {
    length(b'$', part.len(), out);
    out.extend_from_slice(part.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn length(tag: u8, number: usize, out: &mut Vec<u8>) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(tag);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn read_resp(message: Message, bytes: &[u8]) -> usize {
    if message == Message::Value {
        return read_bulk(bytes).0.len();
    }
    let (count, mut rest) = read_length(b'*', bytes);
    let mut parts = [&b""[..]; 3];
    for part in parts.iter_mut().take(count) {
        (*part, rest) = read_bulk(rest);
    }
    match parts[0] {
        b"GET" => parts[1].len(),
        b"SET" => parts[1].len() + parts[2].len(),
        other => panic!("{other:?}"),
    }
}

fn read_bulk(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = read_length(b'$', bytes);
    let (part, rest) = rest.split_at(len);
    (part, rest.strip_prefix(b"\r\n").expect("the end of a line"))
}

fn read_length(tag: u8, bytes: &[u8]) -> (usize, &[u8]) {
    assert_eq!(bytes[0], tag);
    let (mut at, mut number) = (1, 0);
    while bytes[at].is_ascii_digit() {
        number = number * 10 + usize::from(bytes[at] - b'0');
        at += 1;
    }
    (number, bytes[at..].strip_prefix(b"\r\n").expect("the end of a line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_gives_back_key_and_value() {
        for message in Message::ALL {
            for encoding in Encoding::ALL {
                let mut codec = Codec::new(message, encoding, 300);
                let expected = match message {
                    Message::Get => 16,
                    Message::Put => 316,
                    Message::Value => 300,
                };
                assert_eq!(codec.decode(), expected, "{message:?} {encoding:?}");
                assert!(codec.encode() >= expected);
            }
        }
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let costs = costs(Duration::ZERO);
        assert_eq!(costs.len(), 20);
        let table = table(&costs);
        assert!(costs.iter().all(|cost| table.contains(cost.encoding)), "{table}");
        let bytes = |encoding| costs.iter().find(|cost| cost.encoding == encoding).unwrap().bytes;
        assert_eq!((bytes("body"), bytes("packet")), (25, 49));
    }
}
