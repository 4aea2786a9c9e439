#!/usr/bin/env python3
"""Turns results of the benchmark into the tables of BENCHMARKS.md and docs/bench.

    python3 benches/tables.py peers RESULTS.json...    # against the fastest peer
    python3 benches/tables.py all RESULTS.json...      # every figure
    python3 benches/tables.py window RESULTS.json...   # what `Async` would lose

RESULTS.json is what `--json` writes.
"""

import json
import sys

OURS, FLOOR, LMDB = "syncline", "floor", "lmdb"
ORDER = ["commit", "window", "read", "scan", "mixed", "hot", "recover", "flush", "load", "large"]
SURVIVES = {"nothing": "nothing", "process_end": "a kill", "power_loss": "a power loss", None: "-"}


def number(value):
    """Three digits that count, or all of a whole number."""
    if value >= 999.5:
        return f"{value:,.0f}"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def size(value_bytes):
    return f"{value_bytes // 1024} KiB" if value_bytes % 1024 == 0 and value_bytes else f"{value_bytes} B"


def group_of(row):
    keys = ("workload", "variant", "guarantee", "threads", "value_bytes", "batch", "distribution")
    return tuple(row.get(key) for key in keys)


def groups(rows):
    """Rows that measure the same thing, in the order in which they came; families as in ORDER."""
    found = {}
    for row in rows:
        found.setdefault(group_of(row), []).append(row)
    return sorted(found.items(), key=lambda item: ORDER.index(item[0][0]))


def case(group, separator):
    _, variant, _, _, value_bytes, batch, distribution = group
    rows = [f"{batch:,} rows a commit"] if batch > 1 else []
    return separator.join([variant, size(value_bytes), *rows, distribution])


def measure(row):
    """What is compared in a workload, and whether more of it is better."""
    if row["workload"] == "recover":
        return row["p50_us"], False
    if row["workload"] == "hot" and row.get("device_bytes_per_user_byte") is not None:
        return row["device_bytes_per_user_byte"], False
    return row["ops_per_s"], True


def ratio(ours, other):
    mine, more_is_better = measure(ours)
    theirs, _ = measure(other)
    over, under = (mine, theirs) if more_is_better else (theirs, mine)
    return f"{over / under:.2f}x" if under else ""


def against_peers(rows):
    print("| workload | survives | threads | ours | best peer | ratio | best but LMDB | ratio |")
    print("|---|---|--:|--:|---|--:|---|--:|")
    for group, members in groups(rows):
        ours = next((row for row in members if row["engine"] == OURS), None)
        if ours is None or group[0] == "flush":
            continue
        peers = [row for row in members if row["engine"] not in (OURS, FLOOR)]
        peers = [row for row in peers if measure(row)[0] is not None]
        peers.sort(key=lambda row: measure(row)[0], reverse=measure(ours)[1])
        best = peers[:1]
        rest = [row for row in peers if row["engine"] != LMDB][:1]
        cells = []
        for choice in (best, rest):
            for row in choice:
                cells += [f"{row['engine']} {number(measure(row)[0])}", ratio(ours, row)]
            cells += ["", ""] * (1 - len(choice))
        name = f"{group[0]}, {case(group, ', ')}"
        survives = SURVIVES[group[2]]
        print(f"| {name} | {survives} | {group[3]} | {number(measure(ours)[0])} | {' | '.join(cells)} |")


def flushes(rows):
    print("| case | how | flushes/s | p50 us | p99 us |")
    print("|---|---|--:|--:|--:|")
    for row in rows:
        figures = " | ".join(number(row[key]) for key in ("ops_per_s", "p50_us", "p99_us"))
        mode = row["mode"].replace("|", ", ")
        print(f"| {row['variant']}, {size(row['value_bytes'])} | {mode} | {figures} |")


def figures(rows):
    print("| case | thr | engine | mode | ops/s | rows/s | p50 us | p99 us | B/B |")
    print("|---|--:|---|---|--:|--:|--:|--:|--:|")
    for group, members in groups(rows):
        survives = "" if group[2] is None else f"; survives {SURVIVES[group[2]]}"
        first, threads = case(group, ", ") + survives, group[3]
        rank = {FLOOR: 0, OURS: 1}
        members.sort(key=lambda row: (rank.get(row["engine"], 2), row["engine"], row["mode"]))
        for row in members:
            engine = f"**{OURS}**" if row["engine"] == OURS else row["engine"]
            rows_per_s = row["ops_per_s"] * row["rows_per_op"]
            values = [row["ops_per_s"], rows_per_s, row["p50_us"], row["p99_us"]]
            device = row.get("device_bytes_per_user_byte")
            cells = [number(value) for value in values] + ["" if device is None else number(device)]
            print(f"| {first} | {threads} | {engine} | {row['mode']} | {' | '.join(cells)} |")
            first, threads = "", ""


def everything(rows):
    for family in ORDER:
        members = [row for row in rows if row["workload"] == family]
        if members:
            print(f"\n### {family}\n")
            (flushes if family == "flush" else figures)(members)


def window(rows):
    print("| `flush_interval` | commits, p50 | p99 | longest, ms |")
    print("|---|--:|--:|--:|")
    for row in (row for row in rows if row["workload"] == "window"):
        figure = {figure["name"]: figure["value"] for figure in row["figures"]}
        cells = [figure[name] for name in ("lost_commits_p50", "lost_commits_p99", "lost_ms_max")]
        print(f"| {row['variant'].removeprefix('flush_interval ')} | {' | '.join(map(number, cells))} |")


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("peers", "all", "window"):
        sys.exit(__doc__)
    rows = []
    for name in sys.argv[2:]:
        with open(name, encoding="utf-8") as file:
            rows += json.load(file)["results"]
    {"peers": against_peers, "all": everything, "window": window}[sys.argv[1]](rows)


if __name__ == "__main__":
    main()
