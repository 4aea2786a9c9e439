"""Holds examples/client.py to the pinned packets: python3 golden.py CLIENT.PY PACKETS.TXT

Every request is made by the client and compared byte by byte; every answer is read by it and
compared with what it says; every packet is cut short and damaged.
"""

import importlib.util
import sys

sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("client", sys.argv[1])
c = importlib.util.module_from_spec(spec)
spec.loader.exec_module(c)

pinned = {}
for line in open(sys.argv[2], encoding="ascii"):
    if line.strip() and not line.startswith("#"):
        name, _, digits = line.partition(" ")
        pinned[name] = bytes.fromhex(digits)

WRITE = "00112233445566778899aabbccddeeff-3-10040"
OPERATION = "00112233445566778899aabbccddeeff-3-op-1"
OPS = [("users", b"alan", b"1912"), ("people", b"ada", None)]
PAGE = c.range_page("users", c.included(b"a"), c.excluded(b"b"), limit=100)
ALL = c.range_stream("users", c.UNBOUNDED, c.UNBOUNDED, descending=True)
NAME = c.text("users")

requests = {
    "Hello": (c.HELLO, 1, c.hello(client="example 1.0")),
    "Hello.token": (c.HELLO, 1, c.hello("s3cret", "example 1.0", options=[("zone", "a")])),
    "Ping": (c.PING, 2, b""),
    "Cancel": (c.CANCEL, 0, c.u(300)),
    "Credit": (c.CREDIT, 0, c.u(7) + c.u(16)),
    "Get": (c.GET, 3, c.get("users", b"ada"), 250),
    "Put": (c.PUT, 4, c.put("users", b"ada", b"1815")),
    "Put.async": (c.PUT, 5, c.put("users", b"ada", b"1815", "async")),
    "Put.job_once": (c.PUT, 6, c.put("users", b"ada", b"1815", "job", b"r-1"), 1000),
    "Delete": (c.DELETE, 7, c.delete("users", b"ada")),
    "Delete.job_once": (c.DELETE, 8, c.delete("users", b"ada", "job", b"r-1")),
    "Batch": (c.BATCH, 9, c.batch(OPS, "async", b"r-1")),
    "Batch.empty": (c.BATCH, 10, c.batch([])),
    "Range": (c.RANGE, 11, PAGE),
    "Range.stream": (c.RANGE, 12, ALL),
    "Keyspaces": (c.KEYSPACES, 13, b""),
    "CreateKeyspace": (c.CREATE_KEYSPACE, 14, NAME + c.u(0)),
    "CreateKeyspace.accept": (c.CREATE_KEYSPACE, 15, NAME + c.u(1)),
    "DropKeyspace": (c.DROP_KEYSPACE, 16, NAME),
    "Stats": (c.STATS, 17, b""),
    "Watermarks": (c.WATERMARKS, 18, b""),
    "Flush": (c.FLUSH, 19, b""),
    "Checkpoint": (c.CHECKPOINT, 20, c.u(0)),
    "Checkpoint.job": (c.CHECKPOINT, 21, c.u(1)),
    "Verify": (c.VERIFY, 22, c.u(0)),
    "Verify.job": (c.VERIFY, 23, c.u(1)),
    "JobStatus": (c.JOB_STATUS, 24, c.text(WRITE)),
    "JobWait": (c.JOB_WAIT, 25, c.text(WRITE) + c.u(30_000)),
    "JobWatch": (c.JOB_WATCH, 26, c.sequence(c.text, [WRITE, OPERATION]) + c.u(8)),
    "WatchWatermarks": (c.WATCH_WATERMARKS, 27, c.u(1) + c.u(100)),
    "JobCancel": (c.JOB_CANCEL, 28, c.text(OPERATION)),
}

MARKS = {"incarnation": 3, "appended": 70_000, "visible": 69_000, "durable": 65_600,
         "checkpoint": 250}
ROWS = [(b"ada", b"1815"), (b"alan", b"")]
FIGURES = {"sync_commits": 12, "cache_hits": 1 << 40}
WELCOME = {"version": 1, "store": "00112233445566778899aabbccddeeff", "incarnation": 3,
           "server": "syncline 0.1.0", "max_body": 16 << 20, "max_in_flight": 1024,
           "max_subscriptions": 64, "idle_timeout_ms": 300_000, "options": {}}
VERIFIED = {"problems": ["page 9 is neither reached nor free"], "keyspaces": 2, "keys": 1000,
            "pages": 40, "free_blocks": 7}
GOODBYE = {"code": 50, "message": "the server is shutting down", "drain_ms": 10_000}


def written(durable, applied):
    return {"incarnation": 3, "lsn": 0x10040, "durable": durable, "applied": applied}


def job(job, name, what=None):
    return {"job": job, "state": (name, what)}


FULL = c.Failure(65, "data: no space left on the device", {"file": "data", "needed": "8192"})
answers = {
    "Welcome": WELCOME,
    "Error": c.Failure(76, 'there is no keyspace "users"', {"name": "users"}),
    "Error.version": c.Failure(5, "this server speaks version 1", {"min": "1", "max": "1"}),
    "Pong": None,
    "Done": None,
    "Value": b"1815",
    "Value.none": None,
    "Written": written(True, "now"),
    "Written.before": written(False, "before"),
    "Entries": {"at": (3, 0x10040), "rows": ROWS, "next": b"alice"},
    "Entries.part": {"at": (3, 0x10040), "rows": ROWS, "next": None},
    "Names": ["people", "users"],
    "Figures": {"marks": MARKS, "figures": FIGURES},
    "Marks": MARKS,
    "Verified": VERIFIED,
    "Job.queued": job(OPERATION, "queued"),
    "Job": job(WRITE, "appended"),
    "Job.durable": job(WRITE, "durable"),
    "Job.lost": job(WRITE, "lost"),
    "Job.running": job(OPERATION, "running", (3, 900)),
    "Job.done": job(OPERATION, "done", "9 pages"),
    "Job.failed": job(OPERATION, "failed", FULL),
    "Job.cancelled": job(OPERATION, "cancelled"),
    "Job.interrupted": job(OPERATION, "interrupted"),
    "JobEvent": {**job(WRITE, "durable"), "skipped": 0},
    "MarksEvent": {"marks": MARKS, "skipped": 2},
    "Goodbye": GOODBYE,
}


def plain(value):
    """Failures compare by what they say."""
    if isinstance(value, c.Failure):
        return ("failure", value.code, value.message, value.detail)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def refused(data):
    try:
        return c.parse(data) is None
    except c.Protocol:
        return True


assert set(pinned) == set(requests) | set(answers), set(pinned) ^ (set(requests) | set(answers))
for name, (kind, id, body, *deadline) in requests.items():
    made = c.packet(kind, body, id, *deadline)
    assert made == pinned[name], f"{name}:\n{made.hex()}\n{pinned[name].hex()}"
for name, expected in answers.items():
    id, kind, flags, body, size = c.parse(pinned[name])
    found = c.answer(kind, body)
    assert plain(found) == plain(expected), f"{name}: {plain(found)}"
    assert size == len(pinned[name])
    assert flags == (name in ("Entries.part", "JobEvent", "MarksEvent"))
    for cut in range(len(body)):
        try:
            c.answer(kind, body[:cut])
        except (c.Protocol, UnicodeDecodeError):
            continue
        raise AssertionError(f"{name}: {cut} bytes of the body are taken for all of it")
for name, data in pinned.items():
    assert all(c.parse(data[:cut]) is None for cut in range(len(data))), name
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert refused(damaged), f"{name}: bit {bit}"
print(f"{len(requests)} requests and {len(answers)} answers are right")
