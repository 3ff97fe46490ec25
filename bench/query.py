"""How long questions to a large store take: the whole program as typed, and inside it (imports done).

The store is made by `bench/make_store.py`; `--store` takes one made before. What is asked about is drawn from the
store itself, so that the right answer is known.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from anetcon.cli.main import app
from anetcon.testbed.daemon import ANETCON
from bench.report import Report

TIMES = 7
"""How often each kind of question is asked, each time about another connection."""
HOUR, DAY = 3_600_000_000, 86_400_000_000

Row = dict[str, Any]
ALL_OF_THEM = ("search a host, the whole store", "search port 22, one day")
"""Questions whose answer need not contain the connection they were drawn from: the first hundred are printed."""
QUESTIONS: dict[str, Callable[[Row], list[str]]] = {
    "who address:port at a time": lambda r: [
        "who",
        _end(r["nat_src_ip"], r["nat_src_port"]),
        "--at",
        _time(r["start"]),
    ],
    "who address:port, an hour around": lambda r: [
        *("who", _end(r["nat_src_ip"], r["nat_src_port"]), "--at", _time(r["start"])),
        *("--within", "1h", "--to", _address(r["dst_ip"])),
    ],
    "search a host, one hour": lambda r: [
        *("search", "--host", _address(r["dst_ip"]), "--limit", "0"),
        *("--since", _time(r["start"] - HOUR // 2), "--until", _time(r["start"] + HOUR // 2)),
    ],
    "search a host, the whole store": lambda r: ["search", "--host", _address(r["dst_ip"])],
    "search port 22, one day": lambda r: [
        *("search", "--dport", "22"),
        *("--since", _time(r["start"] - DAY // 2), "--until", _time(r["start"] + DAY // 2)),
    ],
}


def query(report: Report, rows: int, store: Path | None) -> None:
    """Ask everything; the store is made first unless it is given."""
    with tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        if store is None:
            store = Path(name) / "store"
            report.say(f"making a store of {rows:,} connections")
            making = [sys.executable, "-m", "bench.make_store", "--rows", str(rows), "--out", str(store)]
            subprocess.run(making, check=True, cwd=Path(__file__).parents[1])
        files = sorted(store.glob("node=*/date=*/*.parquet"))
        kept = sum(pq.read_metadata(file).num_rows for file in files)
        size = sum(file.stat().st_size for file in files)
        report.table("at rest", [{"connections": kept, "files": len(files), "bytes/connection": size / kept}])
        drawn = _draw(files)
        report.table("query", [_asked(name, make, drawn, store) for name, make in QUESTIONS.items()])
        report.table("match", [_matched(store, number) for number in (1, 10_000)])


def _matched(store: Path, number: int) -> dict[str, Any]:
    """A list of addresses that are nowhere in the store."""
    lines = "".join(f"{ipaddress.IPv4Address('240.0.0.1') + at * 9973}\n" for at in range(number))
    took, used = [], []
    for _ in range(3):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [*ANETCON, "match", "-", "--store", str(store), "--format", "json"]
        said = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seen = sum(row["seen"] for row in json.loads(said.stdout)["addresses"])
    return {
        "absent addresses": number,
        "seen": seen,
        "whole ms, least": 1000 * min(took),
        "cpu ms, least": 1000 * min(used),
    }


def _draw(files: Sequence[Path]) -> list[Row]:
    """Some connections with a translated source, from all over the store; times in microseconds."""
    random = np.random.default_rng(1)
    rows: list[Row] = []
    while len(rows) < TIMES:
        table = pq.ParquetFile(files[int(random.integers(len(files)))]).read_row_group(0)
        row = {name: column[0].as_py() for name, column in _one(table, random).items()}
        if row["nat_src_ip"] != row["src_ip"]:
            rows.append({**row, "start": int(row["start"].timestamp() * 1e6)})
    return rows


def _one(table: Any, random: np.random.Generator) -> dict[str, Any]:
    chosen = table.slice(int(random.integers(len(table))), 1)
    return {name: chosen.column(name) for name in chosen.column_names}


def _asked(name: str, make: Callable[[Row], list[str]], rows: Sequence[Row], store: Path) -> dict[str, Any]:
    words = [[*make(row), "--store", str(store), "--format", "json"] for row in rows]
    whole, found = [], 0
    for row, question in zip(rows, words, strict=True):
        began = time.perf_counter()
        said = subprocess.run([*ANETCON, *question], capture_output=True, text=True, check=False)
        whole.append(time.perf_counter() - began)
        found += any(_is(record, row) for record in json.loads(said.stdout)["connections"]) if said.stdout else 0
    inside = [_inside(question) for question in words]
    return {
        "question": name,
        "asked": len(rows),
        "found it": None if name in ALL_OF_THEM else found,
        "whole ms, median": 1000 * statistics.median(whole),
        "whole ms, slowest": 1000 * max(whole),
        "inside ms, median": 1000 * statistics.median(inside),
        "inside ms, slowest": 1000 * max(inside),
    }


def _inside(question: list[str]) -> float:
    """Seconds the command takes in this process, where everything is imported; asked twice, the second counts."""
    for _ in range(2):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            app(question, standalone_mode=False)
        seconds = time.perf_counter() - began
    return seconds


def _is(record: Row, row: Row) -> bool:
    return (record["src_ip"], record["src_port"]) == (_address(row["src_ip"]), row["src_port"])


def _address(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _end(packed: bytes, port: int) -> str:
    address = _address(packed)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()
