"""Writes of one connection, sent without waiting for answers, take effect in the order in which they
were sent. Written from PROTOCOL.md, section 8, with the packets of `examples/client.py`.

    python3 tests/python/order.py CLIENT ADDRESS

The store has to be larger than its cache: the rows that are written first are ten times as many.
"""

import importlib.util
import random
import sys

ROWS, ROW_BYTES = 12_000, 1000
ROUNDS, AT_ONCE = 300, 8


def load(path):
    spec = importlib.util.spec_from_file_location("client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pipe:
    """Sends packets without waiting, and gathers the answers by id."""

    def __init__(self, proto, client):
        self.proto, self.client = proto, client
        self.id, self.out, self.open = 1000, [], set()

    def add(self, kind, body):
        self.id += 1
        self.out.append(self.proto.packet(kind, body, self.id))
        self.open.add(self.id)
        return self.id

    def answers(self):
        self.client.socket.sendall(b"".join(self.out))
        self.out, found = [], {}
        while self.open:
            id, _, message = self.client.receive()
            if isinstance(message, self.proto.Failure):
                raise message
            self.open.remove(id)
            found[id] = message
        return found


def fill(proto, pipe):
    for first in range(0, ROWS, 200):
        rows = range(first, first + 200)
        ops = [("default", row_key(row), bytes(ROW_BYTES)) for row in rows]
        pipe.add(proto.BATCH, proto.batch(ops, "async"))
        pipe.answers()


def row_key(row):
    return b"row %05d" % row


def change(proto, pipe, rng, key, number):
    """Adds one write of a key, of any kind, and returns the value that it leaves."""
    value = b"%d " % number + b"x" * rng.choice([0, 20, 20, 40_000])
    value = rng.choice([value, value, None])
    once = rng.choice([None, None, b"%d %s" % (number, key)])
    if rng.random() < 0.3:
        ops = [("default", key, b"before"), ("default", key, value)]
        pipe.add(proto.BATCH, proto.batch(ops, "async", once))
    elif value is None:
        pipe.add(proto.DELETE, proto.delete("default", key, "async", once))
    else:
        pipe.add(proto.PUT, proto.put("default", key, value, "async", once))
    return value


def main():
    proto = load(sys.argv[1])
    pipe = Pipe(proto, proto.Client(sys.argv[2]))
    rng = random.Random(7)
    fill(proto, pipe)
    for _ in range(ROUNDS):
        keys = [row_key(rng.randrange(ROWS)) + b" %x" % rng.getrandbits(64) for _ in range(2)]
        expected = {}
        for number in range(AT_ONCE):
            key = rng.choice(keys)
            expected[key] = change(proto, pipe, rng, key, number)
        gets = {pipe.add(proto.GET, proto.get("default", key)): key for key in expected}
        for id, answer in pipe.answers().items():
            key = gets.get(id)
            if key is not None and answer != expected[key]:
                found, last = [value and value[:8] for value in (answer, expected[key])]
                sys.exit(f"{key} is {found}, and {last} was written last")
    print(f"{ROUNDS * AT_ONCE} writes are in order")


main()
