#!/usr/bin/env python3
"""A client for a served Syncline store, in one file, with nothing but Python's standard library.

It was written from PROTOCOL.md, whose section numbers are given below, and shows what a client in
another language needs. It sends one request at a time; the protocol allows many.

    python3 examples/client.py ADDR get KEY
    python3 examples/client.py ADDR put KEY VALUE [--mode sync|async|job] [--once RETRY_KEY]
    python3 examples/client.py ADDR delete KEY [--mode ...] [--once ...]
    python3 examples/client.py ADDR batch put:KEY=VALUE delete:KEY ... [--mode ...] [--once ...]
    python3 examples/client.py ADDR range [--from KEY] [--to KEY] [--limit N] [--reverse] [--stream]
    python3 examples/client.py ADDR job status|wait|watch|cancel ID ...
    python3 examples/client.py ADDR keyspaces | create NAME | drop NAME
    python3 examples/client.py ADDR ping | stats | watermarks | flush
    python3 examples/client.py ADDR checkpoint | verify [--mode job]

ADDR is HOST:PORT or unix:PATH. --keyspace NAME (default "default"), --token SECRET.
Exit status: 0 done, 1 no such key or a job that came to a bad end, 2 an error.
"""

import argparse
import socket
import struct
import sys
import zlib

MAX_BODY = 16 << 20
MORE = 1

# Section 4: the kinds.
HELLO, PING, CANCEL, CREDIT = 1, 2, 3, 4
GET, PUT, DELETE, BATCH, RANGE = 16, 17, 18, 19, 20
KEYSPACES, CREATE_KEYSPACE, DROP_KEYSPACE = 32, 33, 34
STATS, WATERMARKS, FLUSH, CHECKPOINT, VERIFY = 40, 41, 42, 43, 44
JOB_STATUS, JOB_WAIT, JOB_WATCH, WATCH_WATERMARKS, JOB_CANCEL = 48, 49, 50, 51, 53
WELCOME, ERROR, PONG, DONE = 128, 129, 130, 131
VALUE, WRITTEN, ENTRIES, NAMES = 144, 145, 146, 147
FIGURES, MARKS, JOB, JOB_EVENT = 148, 149, 150, 151
MARKS_EVENT, VERIFIED, GOODBYE = 152, 153, 160

MODES = ["sync", "async", "job"]
STATES = ["queued", "appended", "durable", "lost", "running", "done", "failed", "cancelled",
          "interrupted"]
FINAL = {"durable", "lost", "done", "failed", "cancelled", "interrupted"}


class Failure(Exception):
    """An error that the server answered with (section 7)."""

    def __init__(self, code, message, detail):
        super().__init__(message)
        self.code, self.message, self.detail = code, message, detail


class Protocol(Exception):
    """Bytes that are not what PROTOCOL.md says."""


# Section 2: values as bytes.


def u(number):
    """An unsigned integer: a byte up to 250, else a tag and 2, 4 or 8 bytes."""
    if number < 251:
        return bytes([number])
    if number < 1 << 16:
        return b"\xfb" + struct.pack("<H", number)
    if number < 1 << 32:
        return b"\xfc" + struct.pack("<I", number)
    return b"\xfd" + struct.pack("<Q", number)


def blob(data):
    """Bytes: their number, then they."""
    return u(len(data)) + data


def text(string):
    return blob(string.encode())


def optional(encode, value):
    return b"\0" if value is None else b"\1" + encode(value)


def sequence(encode, items):
    return u(len(items)) + b"".join(encode(item) for item in items)


class Reader:
    """Takes values from the front of a body."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, count):
        if count > len(self.body) - self.at:
            raise Protocol("a body ends too early")
        self.at += count
        return self.body[self.at - count : self.at]

    def u(self):
        first = self.take(1)[0]
        if first < 251:
            return first
        form = {251: "<H", 252: "<I", 253: "<Q"}.get(first)
        if form is None:
            raise Protocol(f"{first} begins no integer")
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def byte(self, below):
        value = self.take(1)[0]
        if value >= below:
            raise Protocol(f"{value} where less than {below} is expected")
        return value

    def blob(self):
        return self.take(self.u())

    def text(self):
        return self.blob().decode()

    def optional(self, read):
        return read() if self.byte(2) else None

    def sequence(self, read):
        return [read() for _ in range(self.u())]

    def pairs(self, read):
        return self.sequence(lambda: (self.text(), read()))

    def end(self):
        if self.at != len(self.body):
            raise Protocol("a body has bytes left over")


# Section 1: packets.


def packet(kind, body=b"", id=0, deadline_ms=0, flags=0):
    rest = struct.pack("<QBBHI", id, kind, flags, 0, deadline_ms) + body
    return struct.pack("<II", len(body), zlib.crc32(rest)) + rest


def parse(buffer):
    """The first packet of a buffer as (id, kind, flags, body, size), or None if it is not whole."""
    if len(buffer) < 24:
        return None
    length, crc = struct.unpack_from("<II", buffer)
    if length > MAX_BODY:
        raise Protocol(f"a body of {length} bytes")
    size = 24 + length
    if len(buffer) < size:
        return None
    if zlib.crc32(buffer[8:size]) != crc:
        raise Protocol("a wrong checksum")
    id, kind, flags, zero, _ = struct.unpack_from("<QBBHI", buffer, 8)
    if flags & ~MORE or zero:
        raise Protocol("bits set that must be zero")
    return id, kind, flags, bytes(buffer[24:size]), size


# Section 5: the bodies of requests.


def hello(token=None, client="client.py 1", max_body=MAX_BODY, options=()):
    versions = u(1) + u(1)
    pairs = sequence(lambda pair: text(pair[0]) + text(pair[1]), options)
    return b"syncline" + versions + text(client) + optional(text, token) + u(max_body) + pairs


def get(keyspace, key):
    return text(keyspace) + blob(key)


def put(keyspace, key, value, mode="sync", once=None):
    return text(keyspace) + blob(key) + blob(value) + writing(mode, once)


def delete(keyspace, key, mode="sync", once=None):
    return text(keyspace) + blob(key) + writing(mode, once)


def writing(mode, once):
    return u(MODES.index(mode)) + optional(blob, once)


def batch(ops, mode="sync", once=None):
    """`ops`: (keyspace, key, value), with None for the value to delete the key."""

    def op(change):
        keyspace, key, value = change
        if value is None:
            return u(1) + text(keyspace) + blob(key)
        return u(0) + text(keyspace) + blob(key) + blob(value)

    return writing(mode, once) + sequence(op, ops)


UNBOUNDED = (0, None)


def included(key):
    return (1, key)


def excluded(key):
    return (2, key)


def bound(end):
    tag, key = end
    return u(tag) + (b"" if key is None else blob(key))


def range_page(keyspace, lower, upper, descending=False, limit=None, max_bytes=1 << 16):
    return range_start(keyspace, lower, upper, descending, limit) + u(0) + u(max_bytes) + u(0)


def range_stream(keyspace, lower, upper, descending=False, limit=None, credit=4):
    return range_start(keyspace, lower, upper, descending, limit) + u(1) + u(credit) + u(0)


def range_start(keyspace, lower, upper, descending, limit):
    ends = bound(lower) + bound(upper)
    return text(keyspace) + ends + u(int(descending)) + optional(u, limit)


# Section 6: the bodies of answers.




def marks(r):
    names = ["incarnation", "appended", "visible", "durable", "checkpoint"]
    return {name: r.u() for name in names}


def failure(r):
    return Failure(r.u(), r.text(), dict(r.pairs(r.text)))


def job_state(r):
    """The state's name and what belongs to it, if anything does."""
    tag = r.u()
    if tag >= len(STATES):
        raise Protocol(f"no job is in state {tag}")
    name = STATES[tag]
    if name == "running":
        return name, (r.u(), r.u())
    if name == "done":
        return name, r.text()
    if name == "failed":
        return name, failure(r)
    return name, None


def entries(r):
    at = (r.u(), r.u())
    rows = r.sequence(lambda: (r.blob(), r.blob()))
    return {"at": at, "rows": rows, "next": r.optional(r.blob)}


def welcome(r):
    head = {"version": r.u(), "store": r.take(16).hex(), "incarnation": r.u(), "server": r.text()}
    limits = ["max_body", "max_in_flight", "max_subscriptions", "idle_timeout_ms"]
    head.update({name: r.u() for name in limits})
    return {**head, "options": dict(r.pairs(r.text))}


def verified(r):
    problems = r.sequence(r.text)
    return {"problems": problems,
            **{name: r.u() for name in ["keyspaces", "keys", "pages", "free_blocks"]}}


ANSWERS = {
    WELCOME: welcome,
    ERROR: failure,
    PONG: lambda r: None,
    DONE: lambda r: None,
    VALUE: lambda r: r.optional(r.blob),
    WRITTEN: lambda r: {"incarnation": r.u(), "lsn": r.u(), "durable": bool(r.byte(2)),
                        "applied": ["now", "before"][r.byte(2)]},
    ENTRIES: entries,
    NAMES: lambda r: r.sequence(r.text),
    FIGURES: lambda r: {"marks": marks(r), "figures": dict(r.pairs(r.u))},
    MARKS: marks,
    JOB: lambda r: {"job": r.text(), "state": job_state(r)},
    JOB_EVENT: lambda r: {"job": r.text(), "state": job_state(r), "skipped": r.u()},
    MARKS_EVENT: lambda r: {"marks": marks(r), "skipped": r.u()},
    VERIFIED: verified,
    GOODBYE: lambda r: {"code": r.u(), "message": r.text(), "drain_ms": r.u()},
}


def answer(kind, body):
    if kind not in ANSWERS:
        raise Protocol(f"no answer is of kind {kind}")
    reader = Reader(body)
    message = ANSWERS[kind](reader)
    reader.end()
    return message


# Section 3: a connection.


class Client:
    def __init__(self, address, token=None, timeout=60):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address[len("unix:") :])
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.last_id = bytearray(), 0
        self.welcome = self.ask(HELLO, hello(token))

    def send(self, kind, body=b"", deadline_ms=0):
        self.last_id += 1
        self.socket.sendall(packet(kind, body, self.last_id, deadline_ms))
        return self.last_id

    def steer(self, kind, body):
        """Cancel and Credit belong to no request of their own, and are not answered."""
        self.socket.sendall(packet(kind, body))

    def receive(self):
        while True:
            found = parse(self.buffer)
            if found:
                id, kind, flags, body, size = found
                del self.buffer[:size]
                return id, flags, answer(kind, body)
            data = self.socket.recv(1 << 16)
            if not data:
                raise Protocol("the server has ended the connection")
            self.buffer += data

    def next_of(self, wanted):
        """The next packet that answers request `wanted`: (whether more follow, message)."""
        while True:
            id, flags, message = self.receive()
            if isinstance(message, Failure) and id in (0, wanted):
                raise message
            if id == wanted:
                return bool(flags & MORE), message

    def ask(self, kind, body=b"", deadline_ms=0):
        return self.next_of(self.send(kind, body, deadline_ms))[1]

    def stream(self, kind, body):
        """Every packet of a stream or a watch, with a credit for each that has come."""
        id, more = self.send(kind, body), True
        while more:
            more, message = self.next_of(id)
            if more:
                self.steer(CREDIT, u(id) + u(1))
            yield message

    def rows(self, keyspace, lower, upper, descending=False, limit=None, stream=False):
        if stream:
            body = range_stream(keyspace, lower, upper, descending, limit)
            for part in self.stream(RANGE, body):
                yield from part["rows"]
            return
        while True:
            part = self.ask(RANGE, range_page(keyspace, lower, upper, descending, limit))
            yield from part["rows"]
            limit = limit and limit - len(part["rows"])
            if part["next"] is None or limit == 0:
                return
            end = included(part["next"])
            lower, upper = (lower, end) if descending else (end, upper)

    def job_id(self, written):
        """A write's job id, from its receipt: it is good in any later process."""
        store, mark = self.welcome["store"], self.welcome["options"].get("mark")
        if mark is None:  # a server from before there were marks
            return f'{store}-{written["incarnation"]:x}-{written["lsn"]:x}'
        text = f'{store}-{written["incarnation"]:x}.{mark}-{written["lsn"]:x}'
        return f'{text}-{zlib.crc32(text.encode()):08x}'


# The command line.


def show(key, value):
    out = sys.stdout.buffer
    out.write(key + b"\t" + value + b"\n")


def told(job):
    name, what = job["state"]
    print(job["job"], name, *([] if what is None else [what]), flush=True)
    return name not in ("lost", "failed", "interrupted")


def write(client, kind, body):
    result = client.ask(kind, body)
    if "job" in result:
        return told(result)
    durable = "durable" if result["durable"] else "appended"
    print(client.job_id(result), durable, result["applied"])
    return True


def parse_op(keyspace, argument):
    verb, _, rest = argument.partition(":")
    if verb == "put":
        key, _, value = rest.partition("=")
        return keyspace, key.encode(), value.encode()
    if verb == "delete":
        return keyspace, rest.encode(), None
    raise SystemExit(f"{argument}: put:KEY=VALUE or delete:KEY is expected")


def run_job(client, args):
    verb, jobs = args.arguments[0], args.arguments[1:]
    if verb == "watch":
        body = sequence(text, jobs) + u(4)
        return all([told(event) for event in client.stream(JOB_WATCH, body)])
    if verb == "wait":
        body = text(jobs[0]) + u(args.timeout_ms)
        return told(client.ask(JOB_WAIT, body))
    return told(client.ask({"status": JOB_STATUS, "cancel": JOB_CANCEL}[verb], text(jobs[0])))


def run_range(client, args):
    lower = included(args.lower.encode()) if args.lower else UNBOUNDED
    upper = excluded(args.upper.encode()) if args.upper else UNBOUNDED
    keyspace = args.keyspace
    for key, value in client.rows(keyspace, lower, upper, args.reverse, args.limit, args.stream):
        show(key, value)
    return True


def run(client, args):
    """Does a command; whether it came to a good end."""
    command, keyspace, given = args.command, args.keyspace, args.arguments
    raw = [argument.encode() for argument in given]
    once = args.once.encode() if args.once else None
    if command == "get":
        value = client.ask(GET, get(keyspace, raw[0]))
        if value is not None:
            sys.stdout.buffer.write(value + b"\n")
        return value is not None
    if command == "put":
        return write(client, PUT, put(keyspace, raw[0], raw[1], args.mode, once))
    if command == "delete":
        return write(client, DELETE, delete(keyspace, raw[0], args.mode, once))
    if command == "batch":
        ops = [parse_op(keyspace, argument) for argument in given]
        return write(client, BATCH, batch(ops, args.mode, once))
    if command == "range":
        return run_range(client, args)
    if command == "job":
        return run_job(client, args)
    simple = {
        "ping": (PING, b""),
        "keyspaces": (KEYSPACES, b""),
        "create": (CREATE_KEYSPACE, b"".join(map(text, given)) + u(1)),
        "drop": (DROP_KEYSPACE, b"".join(map(text, given))),
        "stats": (STATS, b""),
        "watermarks": (WATERMARKS, b""),
        "flush": (FLUSH, b""),
        # Answered at the end, or at once with a job.
        "checkpoint": (CHECKPOINT, u(int(args.mode == "job"))),
        "verify": (VERIFY, u(int(args.mode == "job"))),
    }
    if command not in simple:
        raise SystemExit(f"{command}: no such command; --help tells which there are")
    kind, body = simple[command]
    result = client.ask(kind, body)
    if isinstance(result, dict) and "job" in result:
        return told(result)
    print("ok" if result is None else result)
    return True


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("command")
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--keyspace", default="default")
    parser.add_argument("--token")
    parser.add_argument("--mode", choices=MODES, default="sync")
    parser.add_argument("--once")
    parser.add_argument("--from", dest="lower")
    parser.add_argument("--to", dest="upper")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--reverse", action="store_true")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--timeout-ms", type=int, default=30_000)
    args = parser.parse_intermixed_args()
    try:
        return 0 if run(Client(args.address, args.token), args) else 1
    except Failure as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
    except (OSError, Protocol) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
