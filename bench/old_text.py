"""How fast old text comes into a store: lines a second of the whole program, against reading them at all.

The floors are of the same run: `zcat | wc -l`, which only unpacks and counts, and a loop in Python that matches a
regular expression line by line and keeps what it found, which is what a script for the purpose would do.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from anetcon.testbed.daemon import ANETCON
from bench import old_lines
from bench.report import Report

RATE = 1_000_000 / 60
"""Lines a second that are promised."""

DEAR = 8.0
"""Times the loop's time that an import may take: it also decodes, compares with what is there, and writes the store."""

FIRST, WEEK = 1_703_800_000, 7 * 86_400
NAMESPACES = 40
_LOOP = re.compile(
    r"^(\S+ +\d+ \d\d:\d\d:\d\d) (\S+) kernel: \[ *[\d.]+\] \[ANETCON\]\[([XD])\]\[(\w{8})\] "
    r".*SRC=(\S+) DST=(\S+) .*PROTO=(\w+) SPT=(\d+) DPT=(\d+)"
)


def old_text(report: Report, lines: int, rounds: int) -> None:
    """Each kind of file into a store of its own, then the same once more; `rounds` times, the best counts."""
    with tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        names = old_lines.namespaces(NAMESPACES)
        hashes = folder / "namespace.hash"
        hashes.write_text(old_lines.hash_file(names))
        report.say(f"writing {lines:,} lines in three forms")
        files = _files(folder, lines, names)
        rows = [
            _row(f"floor: {what}", lines, _best(rounds, run)) for what, run in _floors(files["gzip"], files["plain"])
        ]
        loop = rows[-1]["lines/s"]
        for kind, file in files.items():
            first: list[float] = []
            again: list[float] = []
            for number in range(rounds):
                store = folder / f"{kind}-{number}"
                for times in (first, again):
                    times.append(_timed(lambda: _import(file, store, hashes)))  # noqa: B023 - called at once
            rows += [_row(f"import, {kind}", lines, min(first)), _row(f"the same again, {kind}", lines, min(again))]
        events = _events(folder, lines // 2)
        seconds = _best(rounds, lambda: _import(events, folder / "events", hashes))
        rows.append(_row("import, conntrack -E", lines // 2 * 2, seconds))
    report.table("import", rows)
    slowest = min(rows[2:], key=lambda row: row["lines/s"])
    report.promise(
        slowest["lines/s"] >= RATE,
        f"import: {slowest['lines/s']:,} lines/s at least ({slowest['what']}), over {RATE:,.0f}",
    )
    dear = loop / min(row["lines/s"] for row in rows[2:])
    report.promise(dear <= DEAR, f"import: takes {dear:.1f} times what the loop takes, at most {DEAR:.0f}")


def _row(what: str, lines: int, seconds: float) -> dict[str, Any]:
    return {
        "what": what,
        "lines": lines,
        "seconds": seconds,
        "lines/s": round(lines / seconds),
        "million lines a minute": lines / seconds * 60 / 1e6,
    }


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _best(rounds: int, run: Callable[[], object]) -> float:
    return min(_timed(run) for _ in range(rounds))


def _files(folder: Path, lines: int, names: list[str]) -> dict[str, Path]:
    made = list(old_lines.generate(lines, FIRST, WEEK, names))
    plain = "".join(old_lines.texts(iter(made))).encode()
    fine = "".join(old_lines.texts(iter(made), rfc3339=True)).encode()
    files = {kind: folder / f"{kind}.log" for kind in ("plain", "gzip", "zstd")}
    files["plain"].write_bytes(fine)
    files["gzip"].write_bytes(gzip.compress(plain, 6))
    with pa.CompressedOutputStream(str(files["zstd"]), "zstd") as stream:
        stream.write(fine)
    return files


def _events(folder: Path, connections: int) -> Path:
    """Text of conntrack: a NEW and a DESTROY each."""
    file = folder / "events.txt"
    with file.open("w") as text:
        for number in range(connections):
            ports = number % 60_000 + 1024
            one = f"src=10.0.{number // 60_000}.5 dst=198.51.100.9 sport={ports} dport=443"
            other = f"src=198.51.100.9 dst=203.0.113.7 sport=443 dport={ports}"
            second, fraction = FIRST + number // 1000, f"{number % 1000:03d}000"
            counted = f"{one} packets=1 bytes=60 {other} packets=1 bytes=40 delta-time=1"
            text.write(f"[{second}.{fraction}]\t    [NEW] tcp      6 120 SYN_SENT {one} [UNREPLIED] {other}\n")
            text.write(f"[{second + 1}.{fraction}]\t[DESTROY] tcp      6 CLOSE {counted}\n")
    return file


def _floors(packed: Path, plain: Path) -> Sequence[tuple[str, Callable[[], object]]]:
    count = f"zcat {packed} | wc -l"
    return (
        ("zcat | wc -l", lambda: subprocess.run(count, shell=True, check=True, capture_output=True)),  # noqa: S602
        ("a loop with a regular expression", lambda: _loop(plain.with_name(packed.name))),
    )


def _loop(packed: Path) -> list[tuple[str, ...]]:
    with gzip.open(packed, "rt") as text:
        return [match.groups() for match in map(_LOOP.match, text) if match]


def _import(file: Path, store: Path, hashes: Path) -> None:
    words = ["import", str(file), "--store", str(store), "--hash-file", str(hashes)]
    subprocess.run([*ANETCON, *words], check=True, capture_output=True)
