//! Properties: any message is decoded as it was encoded, wherever the stream of packets is split.

use proptest::prelude::*;

use super::super::packet::HEADER;
use super::super::*;
use super::{again, only};

/// The random parts that messages are made of.
#[derive(Clone, Debug)]
struct Material {
    texts: Vec<String>,
    bytes: Vec<Vec<u8>>,
    numbers: Vec<u64>,
    choice: u8,
    ops: OpsBuffer,
}

impl Material {
    fn text(&self, at: usize) -> &str {
        &self.texts[at % self.texts.len()]
    }

    fn bytes(&self, at: usize) -> &[u8] {
        &self.bytes[at % self.bytes.len()]
    }

    fn long(&self, at: usize) -> u64 {
        self.numbers[at % self.numbers.len()]
    }

    fn short(&self, at: usize) -> u32 {
        self.long(at) as u32
    }

    fn once(&self) -> Option<&[u8]> {
        let key = self.bytes(3);
        (!key.is_empty() && self.choice & 1 == 0).then(|| &key[..key.len().min(MAX_ONCE)])
    }

    fn mode(&self) -> Mode {
        [Mode::Sync, Mode::Async, Mode::Job][self.choice as usize % 3]
    }

    fn bound(&self, at: usize) -> Bound<'_> {
        match (self.choice as usize >> at) % 3 {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.bytes(at)),
            _ => Bound::Excluded(self.bytes(at)),
        }
    }

    fn pairs(&self) -> Vec<(Text<'_>, Text<'_>)> {
        self.texts.iter().map(|text| (text.as_str().into(), self.text(1).into())).collect()
    }

    fn marks(&self) -> Marks {
        Marks {
            incarnation: self.short(0),
            appended: self.long(1),
            visible: self.long(2),
            durable: self.long(3),
            checkpoint: self.long(4),
        }
    }

    fn failure(&self) -> Failure<'_> {
        let code = Code::from_number(self.long(5) as u16);
        Failure { code, message: self.text(0).into(), detail: self.pairs() }
    }

    fn state(&self) -> JobState<'_> {
        match self.choice % 9 {
            0 => JobState::Queued,
            1 => JobState::Appended,
            2 => JobState::Durable,
            3 => JobState::Lost,
            4 => JobState::Running { done: self.long(0), total: self.long(1) },
            5 => JobState::Done { summary: self.text(0).into() },
            6 => JobState::Failed { failure: self.failure() },
            7 => JobState::Cancelled,
            _ => JobState::Interrupted,
        }
    }

    fn range(&self) -> Range<'_> {
        let is_page = self.choice & 1 == 0;
        Range {
            keyspace: self.text(0),
            lower: self.bound(0),
            upper: self.bound(1),
            order: if self.choice & 2 == 0 { Order::Ascending } else { Order::Descending },
            limit: (self.choice & 4 == 0).then(|| self.long(0)),
            delivery: match is_page {
                true => Delivery::Page { max_bytes: self.short(1) },
                false => Delivery::Stream { credit: self.short(1) },
            },
            at: At::Latest,
        }
    }

    fn request(&self, kind: Kind) -> Option<Request<'_>> {
        let (keyspace, key) = (self.text(0), self.bytes(0));
        let (mode, once) = (self.mode(), self.once());
        let is_even = self.choice & 1 == 0;
        let answer = if is_even { Answer::AtEnd } else { Answer::Job };
        let existing = if is_even { Existing::Refuse } else { Existing::Accept };
        let (credit, id, job) = (self.short(0), self.long(1), self.text(0));
        let options = self.texts.iter().map(|text| (text.as_str(), self.text(1))).collect();
        Some(match kind {
            Kind::Hello => Request::Hello(Hello {
                magic: self.long(0).to_le_bytes(),
                min_version: self.long(1) as u16,
                max_version: self.long(2) as u16,
                client: self.text(0),
                token: is_even.then(|| self.text(1)),
                max_body: self.short(3),
                options,
            }),
            Kind::Ping => Request::Ping,
            Kind::Cancel => Request::Cancel(Cancel { id }),
            Kind::Credit => Request::Credit(Credit { id, more: credit }),
            Kind::Get => Request::Get(Get { keyspace, key }),
            Kind::Put => Request::Put(Put { keyspace, key, value: self.bytes(1), mode, once }),
            Kind::Delete => Request::Delete(Delete { keyspace, key, mode, once }),
            Kind::Batch => Request::Batch(Batch { mode, once, ops: self.ops.ops() }),
            Kind::Range => Request::Range(self.range()),
            Kind::Keyspaces => Request::Keyspaces,
            Kind::CreateKeyspace => {
                Request::CreateKeyspace(CreateKeyspace { name: keyspace, existing })
            }
            Kind::DropKeyspace => Request::DropKeyspace(DropKeyspace { name: keyspace }),
            Kind::Stats => Request::Stats,
            Kind::Watermarks => Request::Watermarks,
            Kind::Flush => Request::Flush,
            Kind::Checkpoint => Request::Checkpoint(Checkpoint { answer }),
            Kind::Verify => Request::Verify(Verify { answer }),
            Kind::JobStatus => Request::JobStatus(JobStatus { job }),
            Kind::JobWait => Request::JobWait(JobWait { job, timeout_ms: credit }),
            Kind::JobWatch => {
                let jobs = self.texts.iter().map(String::as_str).collect();
                Request::JobWatch(JobWatch { jobs, credit })
            }
            Kind::WatchWatermarks => {
                Request::WatchWatermarks(WatchWatermarks { credit, min_interval_ms: self.short(1) })
            }
            Kind::JobCancel => Request::JobCancel(JobCancel { job }),
            _ => return None,
        })
    }

    /// An answer of a kind, except entries, which have their own test.
    fn response(&self, kind: Kind) -> Option<Response<'_>> {
        let is_even = self.choice & 1 == 0;
        let applied = if is_even { Applied::Now } else { Applied::Before };
        let receipt = CommitPosition { incarnation: self.short(0), lsn: self.long(1) };
        let texts = || self.texts.iter().map(|text| text.as_str().into()).collect();
        let (job, skipped) = (self.text(1).into(), self.long(2));
        Some(match kind {
            Kind::Welcome => Response::Welcome(Welcome {
                version: self.long(0) as u16,
                store: [self.choice; 16],
                incarnation: self.short(1),
                server: self.text(0).into(),
                max_body: self.short(2),
                max_in_flight: self.short(3),
                max_subscriptions: self.short(4),
                idle_timeout_ms: self.short(5),
                options: self.pairs(),
            }),
            Kind::Error => Response::Error(self.failure()),
            Kind::Pong => Response::Pong,
            Kind::Done => Response::Done,
            Kind::Value => Response::Value(is_even.then(|| self.bytes(0))),
            Kind::Written => Response::Written(Written { receipt, durable: is_even, applied }),
            Kind::Names => Response::Names(texts()),
            Kind::Figures => {
                let numbered = self.texts.iter().zip(self.numbers.iter());
                let figures = numbered.map(|(text, number)| (text.as_str().into(), *number));
                Response::Figures(Figures { marks: self.marks(), figures: figures.collect() })
            }
            Kind::Marks => Response::Marks(self.marks()),
            Kind::Job => Response::Job(Job { job, state: self.state() }),
            Kind::JobEvent => Response::JobEvent(JobEvent { job, state: self.state(), skipped }),
            Kind::MarksEvent => Response::MarksEvent(MarksEvent { marks: self.marks(), skipped }),
            Kind::Verified => Response::Verified(Verified {
                problems: texts(),
                keyspaces: self.long(0),
                keys: self.long(1),
                pages: self.long(2),
                free_blocks: self.long(3),
            }),
            Kind::Goodbye => Response::Goodbye(Goodbye {
                code: Code::from_number(self.long(0) as u16),
                message: self.text(0).into(),
                drain_ms: self.short(1),
            }),
            _ => return None,
        })
    }
}

/// Numbers, among them those at which a varint becomes longer.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..300u64,
        Just(65_535),
        Just(65_536),
        Just(u64::from(u32::MAX)),
        Just(u64::from(u32::MAX) + 1),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn material() -> impl Strategy<Value = Material> {
    let texts = prop::collection::vec("\\PC{0,20}", 1..5);
    let bytes = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5);
    let numbers = prop::collection::vec(number(), 1..7);
    (texts, bytes, numbers, any::<u8>()).prop_map(|(texts, bytes, numbers, choice)| {
        let mut ops = OpsBuffer::new();
        for (at, key) in bytes.iter().enumerate().take(usize::from(choice) % 5) {
            let keyspace = texts[at % texts.len()].as_str();
            match at % 2 {
                0 => ops.push(&Op::Put { keyspace, key, value: &bytes[0] }),
                _ => ops.push(&Op::Delete { keyspace, key }),
            }
        }
        Material { texts, bytes, numbers, choice, ops }
    })
}

/// A stream with a message of every kind, and the offsets of the messages.
fn stream(material: &Material) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut starts) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let start = out.len();
        let id = material.long(kind.number() as usize);
        if let Some(request) = material.request(*kind) {
            request.encode(id, material.short(2), MAX_BODY, &mut out).expect("it fits");
            let packet = only(&out[start..]);
            assert_eq!(Request::decode(&packet).as_ref(), Ok(&request));
            assert_eq!((packet.head.id, packet.head.deadline_ms), (id, material.short(2)));
        } else if let Some(response) = material.response(*kind) {
            let part = if material.choice & 8 == 0 { Part::Last } else { Part::More };
            response.encode_part(id, part, MAX_BODY, &mut out).expect("it fits");
            let packet = only(&out[start..]);
            assert_eq!(Response::decode(&packet).as_ref(), Ok(&response));
            assert_eq!((packet.head.id, packet.head.part), (id, part));
        } else {
            assert_eq!(*kind, Kind::Entries);
            continue;
        }
        assert_eq!(again(&only(&out[start..])), out[start..]);
        starts.push(start);
    }
    (out, starts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_message_comes_back_as_it_was(material in material()) {
        stream(&material);
    }

    /// Bytes that come in pieces give the same packets.
    #[test]
    fn any_split_of_the_bytes_gives_the_same_packets(
        material in material(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (bytes, starts) = stream(&material);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut read, mut at, mut found) = (0, 0, Vec::new());
        for cut in cuts {
            read = cut;
            loop {
                match decode(&bytes[at..read], MAX_BODY).expect("whole packets") {
                    Progress::NeedMore(missing) => {
                        prop_assert!(missing > 0 && read + missing <= bytes.len() || read == bytes.len());
                        break;
                    }
                    Progress::Packet(packet) => {
                        found.push(at);
                        at += packet.len_in_buffer();
                    }
                }
            }
        }
        prop_assert_eq!((at, read), (bytes.len(), bytes.len()));
        prop_assert_eq!(found, starts);
    }

    #[test]
    fn damage_is_never_another_packet(
        material in material(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let (mut bytes, starts) = stream(&material);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let start = *starts.iter().rfind(|start| **start <= at).expect("the first is 0");
        match decode(&bytes[start..], MAX_BODY) {
            Err(_) => {}
            Ok(Progress::NeedMore(_)) => prop_assert!(at - start < 4),
            Ok(Progress::Packet(packet)) => prop_assert!(false, "{packet:?}"),
        }
    }

    #[test]
    fn entries_come_back_as_they_were(
        rows in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)),
            0..300,
        ),
        next in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        lsn in number(),
        id in number(),
        before in 0..3usize,
    ) {
        let mut out = vec![9; before];
        let at = CommitPosition { incarnation: 7, lsn };
        let mut writer = EntriesWriter::new(at, &mut out);
        let mut expected_len = writer.body_len(&out) + 1;
        for (key, value) in &rows {
            prop_assert!(writer.fits(key, value, 40, MAX_BODY, &out));
            prop_assert!(!writer.fits(key, value, 40, writer.body_len(&out) as u32, &out));
            writer.push(key, value, &mut out);
            expected_len += varint_len(key.len()) + key.len() + varint_len(value.len()) + value.len();
        }
        prop_assert_eq!((writer.len(), writer.is_empty()), (rows.len() as u64, rows.is_empty()));
        writer.finish(id, Part::More, next.as_deref(), MAX_BODY, &mut out).expect("it fits");
        let packet = only(&out[before..]);
        if next.is_none() {
            prop_assert_eq!(packet.body.len(), expected_len);
        }
        let Ok(Response::Entries(entries)) = Response::decode(&packet) else { panic!("entries") };
        prop_assert_eq!((entries.at, entries.next), (at, next.as_deref()));
        let found: Vec<(Vec<u8>, Vec<u8>)> =
            entries.rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(found, rows);
        prop_assert_eq!(&again(&packet)[..], &out[before..]);
    }
}

fn varint_len(number: usize) -> usize {
    if number < 251 { 1 } else { 3 }
}

#[test]
fn entries_that_do_not_fit_are_removed_from_the_output() {
    let mut out = b"before".to_vec();
    let at = CommitPosition { incarnation: 1, lsn: 1 };
    let mut writer = EntriesWriter::new(at, &mut out);
    writer.push(&[1; 100], &[2; 100], &mut out);
    let len = writer.body_len(&out) + 1;
    let refused = writer.finish(1, Part::Last, None, len as u32 - 1, &mut out);
    assert_eq!(refused, Err(TooLarge { len, max: len as u32 - 1 }));
    assert_eq!(out, b"before");
    EntriesWriter::new(at, &mut out).abandon(&mut out);
    assert_eq!(out, b"before");
}

#[test]
fn packets_of_the_largest_size_are_read_back() {
    let value = vec![0x5a; MAX_BODY as usize - 5 - 1];
    let mut out = Vec::new();
    Response::Value(Some(&value)).encode(1, MAX_BODY, &mut out).expect("it fits to the byte");
    assert_eq!(out.len(), HEADER + MAX_BODY as usize);
    assert_eq!(Response::decode(&only(&out)), Ok(Response::Value(Some(&value))));
}

#[test]
fn job_ids_are_parsed_back_and_other_text_is_refused() {
    // The examples of PROTOCOL.md, of incarnations with and without a mark.
    let write = "00112233445566778899aabbccddeeff-3.9f3c2b7a10d4e856-10040-d3e8f750";
    let operation = "00112233445566778899aabbccddeeff-3.9f3c2b7a10d4e856-op-1-e527b6b3";
    for text in [super::samples::WRITE, super::samples::OPERATION, write, operation] {
        let id: JobId = text.parse().expect("a job id");
        assert_eq!(id.to_string(), text);
        assert_eq!(matches!(id, JobId::Operation { .. }), text.contains("op"));
    }
    let store = "00112233445566778899aabbccddeeff";
    for bad in [
        "".to_owned(),
        store.to_owned(),
        format!("{store}-3-op"),
        format!("{store}-3-op-"),
        format!("{store}-3-op-g"),
        format!("{store}-3-op-1-2"),
        format!("{store}-3-op-1-op-2"),
        format!("{store}-op-1"),
        format!("{store}-op-3-1"),
        format!("{store}-3-OP-1"),
        operation[..operation.len() - 1].to_owned(),
        operation.replace("-op-1", "-op-2"),
        write.replace("-10040", "-op-10040"),
    ] {
        assert!(bad.parse::<JobId>().is_err(), "{bad}");
    }
}
