"""Manifests that older versions wrote say what they said to these versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from anetcon.store import layout, manifest
from anetcon.store.entry import OLD_COMMITS, Entry, Why, rfc3339
from anetcon.store.state import State

MANIFESTS = sorted(Path(__file__, "../../../data/old_manifests").resolve().glob("*.jsonl"))
"""Random histories of commit 0286880, each beside what its replay said: seals, imports that took the place of others'
files, retention, saved states, months and parts, clocks that went forth and back."""


def says(state: State) -> dict[str, Any]:
    """A state as it was recorded. (Where `open` is among the others, is of no meaning.)"""
    slots = [[slot, entry.file] for slot, entry in state.snapshots.items()]
    return {
        "seal": state.seal,
        "through": state.through,
        "connections": [entry.file for entry in state.connections],
        "snapshots": sorted(slots, key=lambda each: each[0] == "open"),
        "removed": state.removed and list(state.removed),
        "imports": sorted(state.imports),
        "last_seal": state.last_seal(),
        "saved": state.saved,
        "size": state.size,
        "lines": state.lines,
    }


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_what_they_said_they_say(tmp_path: Path, path: Path) -> None:
    """The same files count, in the same order, the same is told of what was removed; and a commit of today goes on."""
    shutil.copy(path, layout.manifest_path(tmp_path))
    recorded = json.loads(path.with_suffix(".says.json").read_text())
    recorded["snapshots"].sort(key=lambda each: each[0] == "open")
    state = manifest.replay(tmp_path)
    assert says(state) == recorded
    new = Entry(prev="", kind="open", seal=state.seal + 1, file=layout.open_file(state.seal + 1), rows=1)
    removes = [entry.file for entry in state.of("open")]
    manifest.commit(tmp_path, state, Why.SEAL, 0, [new], removes)
    files = sorted(state.files())
    manifest.commit(tmp_path, state, Why.RETENTION, 0, removes=files[:3], before=1 << 50)
    assert says(manifest.replay(tmp_path)) == says(state)
    assert state.files() == set(files[3:])
    assert manifest.replay(tmp_path).removed == state.removed


def test_the_manifests_have_every_kind_of_old_line() -> None:
    """So that each was read above."""
    lines = [json.loads(line) for path in MANIFESTS for line in path.read_text().splitlines()]
    assert {*OLD_COMMITS, "state", *layout.INTERVALS} < {line["kind"] for line in lines}
    assert any(line.get("replaced") for line in lines)
    assert any(line.get("latest") for line in lines)
    assert len(MANIFESTS) == 3


def test_what_is_replaced_of_a_seal_stays(tmp_path: Path) -> None:
    """A line of an import that names a file of a seal as replaced never removed it."""
    state = State()
    sealed, old = (layout.connections_file("n", "2026-11-20", number, False) for number in (1, 2))
    known: dict[str, Any] = {"prev": "", "rows": 1, "start": rfc3339(0), "end": rfc3339(1)}
    for number, file in ((1, sealed), (2, old)):
        entry = Entry(kind="connections", seal=number, file=file, **known)
        manifest.commit(tmp_path, state, Why.IMPORT if number == 2 else Why.SEAL, 0, [entry])
    line = Entry(prev="", kind="import", seal=3, replaced=(sealed, old))
    manifest._extend(tmp_path, state, [line])
    assert manifest.replay(tmp_path).files() == {sealed}
