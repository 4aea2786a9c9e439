//! One packet of every kind, and more where a field has several forms.

use super::super::*;

/// The store of the samples, as in every job id.
const STORE: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
pub(crate) const WRITE: &str = "00112233445566778899aabbccddeeff-3-10040";
pub(crate) const OPERATION: &str = "00112233445566778899aabbccddeeff-3-op-1";

/// Names and packets.
pub(crate) fn packets() -> Vec<(String, Vec<u8>)> {
    let mut packets = Vec::new();
    for (name, id, deadline_ms, request) in requests(&ops()) {
        let mut out = Vec::new();
        request.encode(id, deadline_ms, MAX_BODY, &mut out).expect("a short request");
        packets.push((name.to_owned(), out));
    }
    for (name, id, part, response) in responses(&mut rows()) {
        let mut out = Vec::new();
        response.encode_part(id, part, MAX_BODY, &mut out).expect("a short answer");
        packets.push((name.to_owned(), out));
    }
    packets
}

fn ops() -> OpsBuffer {
    let mut ops = OpsBuffer::new();
    ops.push(&Op::Put { keyspace: "users", key: b"alan", value: b"1912" });
    ops.push(&Op::Delete { keyspace: "people", key: b"ada" });
    ops
}

/// An `Entries` packet with two rows.
fn rows() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = EntriesWriter::new(POSITION, &mut out);
    writer.push(b"ada", b"1815", &mut out);
    writer.push(b"alan", b"", &mut out);
    writer.finish(1, Part::Last, None, MAX_BODY, &mut out).expect("it fits");
    out
}

const POSITION: CommitPosition = CommitPosition { incarnation: 3, lsn: 0x10040 };
const MARKS: Marks =
    Marks { incarnation: 3, appended: 70_000, visible: 69_000, durable: 65_600, checkpoint: 250 };

type Asked<'a> = (&'static str, u64, u32, Request<'a>);

fn requests(ops: &OpsBuffer) -> Vec<Asked<'_>> {
    let mut all = session();
    all.extend(data(ops));
    all.extend(administration());
    all.extend(jobs());
    all
}

fn session() -> Vec<Asked<'static>> {
    let hello = Hello {
        magic: MAGIC,
        min_version: 1,
        max_version: 1,
        client: "example 1.0",
        token: None,
        max_body: MAX_BODY,
        options: Vec::new(),
    };
    let mut known = hello.clone();
    known.token = Some("s3cret");
    known.options = vec![("zone", "a")];
    vec![
        ("Hello", 1, 0, Request::Hello(hello)),
        ("Hello.token", 1, 0, Request::Hello(known)),
        ("Ping", 2, 0, Request::Ping),
        ("Cancel", 0, 0, Request::Cancel(Cancel { id: 300 })),
        ("Credit", 0, 0, Request::Credit(Credit { id: 7, more: 16 })),
    ]
}

fn data(ops: &OpsBuffer) -> Vec<Asked<'_>> {
    let put = |mode, once| {
        Request::Put(Put { keyspace: "users", key: b"ada", value: b"1815", mode, once })
    };
    let delete = Delete { keyspace: "users", key: b"ada", mode: Mode::Sync, once: None };
    let once: Option<&[u8]> = Some(b"r-1");
    let page = Range {
        keyspace: "users",
        lower: Bound::Included(b"a"),
        upper: Bound::Excluded(b"b"),
        order: Order::Ascending,
        limit: Some(100),
        delivery: Delivery::Page { max_bytes: 65_536 },
        at: At::Latest,
    };
    let stream = Range {
        keyspace: "users",
        lower: Bound::Unbounded,
        upper: Bound::Unbounded,
        order: Order::Descending,
        limit: None,
        delivery: Delivery::Stream { credit: 4 },
        at: At::Latest,
    };
    let batch = Batch { mode: Mode::Async, once, ops: ops.ops() };
    vec![
        ("Get", 3, 250, Request::Get(Get { keyspace: "users", key: b"ada" })),
        ("Put", 4, 0, put(Mode::Sync, None)),
        ("Put.async", 5, 0, put(Mode::Async, None)),
        ("Put.job_once", 6, 1000, put(Mode::Job, once)),
        ("Delete", 7, 0, Request::Delete(delete)),
        ("Delete.job_once", 8, 0, Request::Delete(Delete { mode: Mode::Job, once, ..delete })),
        ("Batch", 9, 0, Request::Batch(batch)),
        ("Batch.empty", 10, 0, Request::Batch(Batch::default_sync())),
        ("Range", 11, 0, Request::Range(page)),
        ("Range.stream", 12, 0, Request::Range(stream)),
    ]
}

fn administration() -> Vec<Asked<'static>> {
    let create = |existing| Request::CreateKeyspace(CreateKeyspace { name: "users", existing });
    let checkpoint = |answer| Request::Checkpoint(Checkpoint { answer });
    let verify = |answer| Request::Verify(Verify { answer });
    vec![
        ("Keyspaces", 13, 0, Request::Keyspaces),
        ("CreateKeyspace", 14, 0, create(Existing::Refuse)),
        ("CreateKeyspace.accept", 15, 0, create(Existing::Accept)),
        ("DropKeyspace", 16, 0, Request::DropKeyspace(DropKeyspace { name: "users" })),
        ("Stats", 17, 0, Request::Stats),
        ("Watermarks", 18, 0, Request::Watermarks),
        ("Flush", 19, 0, Request::Flush),
        ("Checkpoint", 20, 0, checkpoint(Answer::AtEnd)),
        ("Checkpoint.job", 21, 0, checkpoint(Answer::Job)),
        ("Verify", 22, 0, verify(Answer::AtEnd)),
        ("Verify.job", 23, 0, verify(Answer::Job)),
    ]
}

fn jobs() -> Vec<Asked<'static>> {
    let wait = JobWait { job: WRITE, timeout_ms: 30_000 };
    let watch = JobWatch { jobs: vec![WRITE, OPERATION], credit: 8 };
    let marks = WatchWatermarks { credit: 1, min_interval_ms: 100 };
    vec![
        ("JobStatus", 24, 0, Request::JobStatus(JobStatus { job: WRITE })),
        ("JobWait", 25, 0, Request::JobWait(wait)),
        ("JobWatch", 26, 0, Request::JobWatch(watch)),
        ("WatchWatermarks", 27, 0, Request::WatchWatermarks(marks)),
        ("JobCancel", 28, 0, Request::JobCancel(JobCancel { job: OPERATION })),
    ]
}

type Answered<'a> = (&'static str, u64, Part, Response<'a>);

fn responses(rows: &mut [u8]) -> Vec<Answered<'_>> {
    let Ok(Progress::Packet(packet)) = decode(rows, MAX_BODY) else { panic!("a packet") };
    let Ok(Response::Entries(entries)) = Response::decode(&packet) else { panic!("entries") };
    let mut all = greetings();
    all.extend(answers(entries));
    all.extend(job_states());
    all.extend(pushes());
    all
}

fn greetings() -> Vec<Answered<'static>> {
    let welcome = Welcome {
        version: 1,
        store: STORE,
        incarnation: 3,
        server: "syncline 0.1.0".into(),
        max_body: MAX_BODY,
        max_in_flight: 1024,
        max_subscriptions: 64,
        idle_timeout_ms: 300_000,
        options: Vec::new(),
    };
    let refused = Failure::new(Code::VersionMismatch, "this server speaks version 1")
        .with("min", "1")
        .with("max", "1");
    let missing =
        Failure::new(Code::NoSuchKeyspace, "there is no keyspace \"users\"").with("name", "users");
    vec![
        ("Welcome", 1, Part::Last, Response::Welcome(welcome)),
        ("Error", 4, Part::Last, Response::Error(missing)),
        ("Error.version", 1, Part::Last, Response::Error(refused)),
        ("Pong", 2, Part::Last, Response::Pong),
        ("Done", 15, Part::Last, Response::Done),
    ]
}

fn answers(entries: Entries<'_>) -> Vec<Answered<'_>> {
    let written =
        |durable, applied| Response::Written(Written { receipt: POSITION, durable, applied });
    let page = Entries { next: Some(b"alice"), ..entries };
    let names = vec!["people".into(), "users".into()];
    let figures = vec![("sync_commits".into(), 12), ("cache_hits".into(), 1 << 40)];
    let figures = Figures { marks: MARKS, figures };
    let verified = Verified {
        problems: vec!["page 9 is neither reached nor free".into()],
        keyspaces: 2,
        keys: 1000,
        pages: 40,
        free_blocks: 7,
    };
    vec![
        ("Value", 3, Part::Last, Response::Value(Some(b"1815"))),
        ("Value.none", 3, Part::Last, Response::Value(None)),
        ("Written", 4, Part::Last, written(true, Applied::Now)),
        ("Written.before", 5, Part::Last, written(false, Applied::Before)),
        ("Entries", 11, Part::Last, Response::Entries(page)),
        ("Entries.part", 12, Part::More, Response::Entries(entries)),
        ("Names", 13, Part::Last, Response::Names(names)),
        ("Figures", 17, Part::Last, Response::Figures(figures)),
        ("Marks", 18, Part::Last, Response::Marks(MARKS)),
        ("Verified", 22, Part::Last, Response::Verified(verified)),
    ]
}

fn job_states() -> Vec<Answered<'static>> {
    let job = |job: &'static str, state| Response::Job(Job { job: job.into(), state });
    let failure = Failure::new(Code::DiskFull, "data: no space left on the device")
        .with("file", "data")
        .with("needed", "8192");
    vec![
        ("Job.queued", 23, Part::Last, job(OPERATION, JobState::Queued)),
        ("Job", 6, Part::Last, job(WRITE, JobState::Appended)),
        ("Job.durable", 24, Part::Last, job(WRITE, JobState::Durable)),
        ("Job.lost", 24, Part::Last, job(WRITE, JobState::Lost)),
        ("Job.running", 24, Part::Last, job(OPERATION, JobState::Running { done: 3, total: 900 })),
        ("Job.done", 24, Part::Last, job(OPERATION, JobState::Done { summary: "9 pages".into() })),
        ("Job.failed", 24, Part::Last, job(OPERATION, JobState::Failed { failure })),
        ("Job.cancelled", 28, Part::Last, job(OPERATION, JobState::Cancelled)),
        ("Job.interrupted", 24, Part::Last, job(OPERATION, JobState::Interrupted)),
    ]
}

fn pushes() -> Vec<Answered<'static>> {
    let event = JobEvent { job: WRITE.into(), state: JobState::Durable, skipped: 0 };
    let goodbye = Goodbye {
        code: Code::ShuttingDown,
        message: "the server is shutting down".into(),
        drain_ms: 10_000,
    };
    vec![
        ("JobEvent", 26, Part::More, Response::JobEvent(event)),
        (
            "MarksEvent",
            27,
            Part::More,
            Response::MarksEvent(MarksEvent { marks: MARKS, skipped: 2 }),
        ),
        ("Goodbye", 0, Part::Last, Response::Goodbye(goodbye)),
    ]
}

impl Batch<'_> {
    fn default_sync() -> Batch<'static> {
        Batch { mode: Mode::Sync, once: None, ops: Ops::default() }
    }
}
