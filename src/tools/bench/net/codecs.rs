//! The cost of a request as bytes: ours, JSON, and RESP (the protocol of Redis), each written and read
//! in the usual way of its own programs.
//!
//! Ours has a checksum, an id, a mode and a keyspace in it; RESP has none of these. JSON has text only,
//! so its keys and values are in hexadecimal.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::measure;
use super::super::record::Row;
use super::super::rows::key;
use super::super::values::Value;
use super::common::{Found, NetSettings, figure, row};
use crate::net::proto::{MAX_BODY, Mode, Progress, Put, Request, decode};

/// One put, as JSON.
#[derive(Serialize, Deserialize)]
struct JsonPut<'a> {
    id: u64,
    op: &'a str,
    keyspace: &'a str,
    key: String,
    value: String,
    mode: &'a str,
}

/// One row per form: the time to write and to read one put.
pub(super) fn rows(settings: &NetSettings) -> Vec<Row> {
    let key = key(7);
    let mut value = Value::of(settings.value_bytes);
    let value = value.row(7);
    let put = Put { keyspace: "bench", key: &key, value, mode: Mode::Async, once: None };
    let bincode_write = |out: &mut Vec<u8>| {
        Request::Put(put).encode(7, 0, MAX_BODY, out).expect("a short request");
    };
    let bincode_read = |bytes: &[u8]| {
        let Ok(Progress::Packet(packet)) = decode(bytes, MAX_BODY) else { unreachable!("whole") };
        matches!(Request::decode(&packet), Ok(Request::Put(_)))
    };
    let json_write = |out: &mut Vec<u8>| {
        let (key, value) = (hex(&key), hex(value));
        let put = JsonPut { id: 7, op: "put", keyspace: "bench", key, value, mode: "async" };
        serde_json::to_writer(out, &put).expect("plain text");
    };
    let json_read = |bytes: &[u8]| {
        let put: JsonPut<'_> = serde_json::from_slice(bytes).expect("written above");
        unhex(&put.key).len() + unhex(&put.value).len() > 0
    };
    let resp_write = |out: &mut Vec<u8>| resp(&[b"SET", &key, value], out);
    let resp_read = |bytes: &[u8]| resp_parts(bytes).is_some_and(|parts| parts.len() == 3);
    vec![
        form(settings, "bincode", bincode_write, bincode_read),
        form(settings, "JSON", json_write, json_read),
        form(settings, "RESP", resp_write, resp_read),
    ]
}

fn form(
    settings: &NetSettings,
    name: &str,
    write: impl Fn(&mut Vec<u8>),
    read: impl Fn(&[u8]) -> bool,
) -> Row {
    let time = settings.measure_time.min(Duration::from_millis(200));
    let mut bytes = Vec::new();
    write(&mut bytes);
    assert!(read(&bytes), "{name} is read as it was written");
    let mut out = Vec::new();
    let write_ns = each(time, || {
        out.clear();
        write(black_box(&mut out));
    });
    let read_ns = each(time, || {
        black_box(read(black_box(&bytes)));
    });
    let mut latency_ns = measure::new_histogram();
    latency_ns.saturating_record((write_ns + read_ns) as u64);
    let figures = vec![
        figure("write", write_ns, "ns"),
        figure("read", read_ns, "ns"),
        figure("size", bytes.len() as f64, "bytes"),
    ];
    let elapsed = Duration::from_secs_f64((write_ns + read_ns) / 1e9);
    let found = Found { ops: 1, elapsed, latency_ns, figures };
    let name = Row {
        workload: "patterns".into(),
        variant: "one put as bytes, written and read".into(),
        engine: name.into(),
        mode: "codec".into(),
        threads: 1,
        value_bytes: settings.value_bytes,
        seconds: time.as_secs_f64(),
        keys: settings.keys,
        ..Row::default()
    };
    row(name, &[found]).expect("one round")
}

/// Nanoseconds per call.
fn each(time: Duration, mut call: impl FnMut()) -> f64 {
    let (begun, mut calls) = (Instant::now(), 0_u64);
    loop {
        (0..256).for_each(|_| call());
        calls += 256;
        let elapsed = begun.elapsed();
        if elapsed >= time {
            return elapsed.as_nanos() as f64 / calls as f64;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn resp(parts: &[&[u8]], out: &mut Vec<u8>) {
    let number = |mark: u8, number: usize, out: &mut Vec<u8>| {
        out.push(mark);
        out.extend_from_slice(number.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    number(b'*', parts.len(), out);
    for part in parts {
        number(b'$', part.len(), out);
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn resp_parts(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    fn number(bytes: &[u8], mark: u8) -> Option<(usize, &[u8])> {
        let rest = bytes.strip_prefix(&[mark])?;
        let end = rest.iter().position(|byte| *byte == b'\r')?;
        let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        Some((number, rest.get(end + 2..)?))
    }
    let (count, mut rest) = number(bytes, b'*')?;
    let mut parts = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let (len, after) = number(rest, b'$')?;
        parts.push(after.get(..len)?);
        rest = after.get(len + 2..)?;
    }
    Some(parts)
}
