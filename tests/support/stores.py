"""Stores with some of everything in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from anetcon.store import layout, manifest
from anetcon.store.seal import Sealer
from tests.support.records import T0, Making, start, whole


def sealed(store: Path, seals: int = 3) -> Path:
    """A store with so many seals, in each some of every kind of file, and a segment that is not sealed."""
    making = Making(store).audited("203.0.113.7")
    sealer = Sealer(store, node="gw1")
    for number in range(seals):
        making.add(*whole(src_port=number + 1), *whole(7200, src_port=100 + number), start(src_port=200 + number))
        gap = {"node": "gw1", "from": T0, "to": T0 + number + 1, "cause": "overrun"}
        making.add(gap, table="gaps").rotate()
        assert sealer.seal()
    manifest.save(store, manifest.replay(store))
    return making.add(*whole(src_port=999)).close()


def rechained(store: Path, gone: str = "", **changes: tuple[str, object]) -> None:
    """Write another chain that fits, as whoever can write the store can: without the line of the file `gone`, and with
    a key of the line of a file changed: `key=(file, value)`."""
    layout.state_path(store).unlink(missing_ok=True)
    kept, head = list[bytes](), "0" * 64
    for line in layout.manifest_path(store).read_bytes().splitlines():
        said = json.loads(line)
        if said["kind"] == "state" or (gone and said.get("file") == gone):
            continue
        said |= {key: value for key, (file, value) in changes.items() if said.get("file") == file}
        said["removes"] = [each for each in said.get("removes", []) if each != gone]
        kept.append(json.dumps(said | {"prev": head}).encode() + b"\n")
        head = hashlib.sha256(kept[-1]).hexdigest()
    layout.manifest_path(store).write_bytes(b"".join(kept))
