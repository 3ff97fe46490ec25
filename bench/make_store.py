"""A store of generated realistic connections: `python -m bench.make_store --rows 10000000 --out DIR`.

Written by the sealer's own code, a seal for every 50,000 rows or every `--seal-minutes`, spread over `--days`; with
connections still open, gaps, addresses, neighbours and the manifest that goes with them. The same seed gives the same
store. Prints the bytes a connection takes at rest.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.gaps import Cause, Gap
from anetcon.journal.write import Writer
from anetcon.record import FAMILIES, Family, arrow_schema
from anetcon.store import layout, manifest
from anetcon.store.draft import Draft
from anetcon.store.entry import Entry, Why
from anetcon.store.seal import SAVED_SEALS
from anetcon.store.state import State
from anetcon.store.writer import FileWriter
from bench.realistic import SECOND, World, generate, started, world

NODE = "net-1"
SEAL_ROWS = 50_000
LAST = 1_795_179_909 * SECOND  # 2026-11-20T13:05:09Z, the newest end


def make(out: Path, rows: int, days: float = 30, seed: int = 1, last: int = LAST, minutes: float = 0) -> State:
    """Make the store; what its manifest says then."""
    if layout.manifest_path(out).exists():
        raise SystemExit(f"there is a store in {out} already: name an empty folder")
    layout.make_folder(out)
    rng = np.random.default_rng(seed)
    of = world(rng)
    seals = max(1, round(days * 1440 / minutes) if minutes else rows // SEAL_ROWS)
    first = last - int(days * layout.DAY)
    bounds = np.linspace(first, last, seals + 1).astype(np.int64).tolist()
    state = State()
    for number, (begin, end) in enumerate(pairwise(bounds), 1):
        count = rows * number // seals - rows * (number - 1) // seals
        table = generate(rng, count, first=begin, seconds=(end - begin) / SECOND, node=NODE, of=of)
        writer, draft = FileWriter(out, state, end), Draft.of(table)
        files = writer.closed(draft, draft.every())
        if number == seals:
            files += _rest(writer, of, rng, first, last)
        manifest.commit(out, state, Why.SEAL, end, files, through={"connections": 1})
        if number - state.saved >= SAVED_SEALS:
            manifest.save(out, state)
    with Writer(layout.journal_folder(out, "connections"), "connections") as journal:
        journal.rotate()
        journal.heartbeat(last, last)
    return state


def _rest(writer: FileWriter, of: World, rng: np.random.Generator, first: int, last: int) -> list[Entry]:
    """The files that are not of connections that ended."""
    router = [{"node": NODE, "netns": name, "netns_inode": int(of.inodes[n])} for n, name in enumerate(of.routers)]
    four = FAMILIES[Family.IPV4]
    gaps = [
        Gap(None, first, first + 5 * SECOND, Cause.DAEMON_DOWN, node=NODE).row(),
        Gap(of.routers[0], last - 60 * SECOND, None, Cause.OVERRUN, 3, NODE).row(),
    ]
    own: list[dict[str, Any]] = [
        {**row, "interface": "qg-0", "address": _packed(of.public[n]), "from": first, "to": None}
        for n, row in enumerate(router)
    ]
    neighbours: list[dict[str, Any]] = [
        {
            **router[of.router_of[n]],
            "interface": "qr-0",
            "address": _packed(inner),
            "mac": b"\xfa\x16\x3e" + rng.bytes(3),
            "from": first,
            "to": None,
        }
        for n, inner in enumerate(of.inner)
    ]
    files = []
    for table, rows in (("gaps", gaps), ("addresses", own), ("neighbours", neighbours)):
        made = pa.Table.from_pylist([{**row, "family": four} for row in rows], arrow_schema(table))
        if table in layout.MONTHLY:
            files += writer.month(table, made)
        else:
            files += writer.parts(table, [made], arrow_schema("gaps").empty_table())
    still_open = Draft.of(started(generate(rng, 1_000, first=last, seconds=60, node=NODE, of=of)))
    return [*files, writer.opened(still_open, still_open.every())]


def _packed(number: int) -> bytes:
    return bytes(10) + b"\xff\xff" + int(number).to_bytes(4, "big")


def main() -> None:
    """Make one, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seal-minutes", type=float, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    state = make(options.out, options.rows, options.days, options.seed, minutes=options.seal_minutes)
    files = state.of("connections")
    size = sum(entry.bytes for entry in files)
    rows = sum(entry.rows for entry in files)
    print(f"{rows} connections in {len(files)} files, {size} bytes, made in {time.monotonic() - began:.1f} s")
    print(f"{size / max(rows, 1):.1f} bytes a connection at rest")


if __name__ == "__main__":
    main()
