"""The manifest: what counts after which crash, and what is damage."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.store import layout, manifest

T = 1_795_179_909_000_000


def entry(kind: str, file: str, **more: Any) -> dict[str, Any]:
    """What a seal says of a file."""
    said = {"kind": kind, "file": file, "sha256": "0" * 64, "bytes": 10, "rows": 2}
    return said | {"start": manifest.rfc3339(T), "end": manifest.rfc3339(T + 5)} | more


def three_seals(store: Path) -> manifest.State:
    """A manifest with three seals."""
    state = manifest.State()
    for seal in (1, 2, 3):
        files = [
            entry("connections", layout.connections_file("n", "2026-11-20", seal, False)),
            entry("gaps", layout.interval_file("gaps", "2026-11" if seal < 3 else "2026-12", seal)),
        ]
        if seal < 3:
            files.append(entry("open", layout.open_file(seal), end=None))
        manifest.append(store, state, files, {"connections": seal * 10}, T)
    return state


def test_what_is_appended_is_replayed(tmp_path: Path) -> None:
    """Connections add up; `open` is replaced by each seal, an interval table's file by one of its month."""
    state = three_seals(tmp_path)
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("connections")] == [1, 2, 3]
    assert [e.file for e in state.of("gaps")] == ["gaps/2026-11.00000002.parquet", "gaps/2026-12.00000003.parquet"]
    assert state.of("open") == []
    assert state.through == {"connections": 30}


def test_files_that_an_import_takes_the_place_of(tmp_path: Path) -> None:
    """They count no more; what it brings in their place does, and what was open still is. A seal's files stay."""
    state = three_seals(tmp_path)
    manifest.append(tmp_path, state, [entry("open", layout.open_file(4), end=None)], state.through, T)
    sealed, old = (layout.connections_file("n", "2026-11-20", seal, False) for seal in (2, 5))
    manifest.append(tmp_path, state, [entry("connections", old)], state.through, T, "import")
    kept = layout.kept_file(old, 6)
    manifest.append(tmp_path, state, [entry("connections", kept)], state.through, T, "import", [old, sealed])
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("connections")] == [1, 2, 3, 6]
    assert (len(state.of("open")), state.last_seal()) == (1, 3)


def test_what_an_import_is_from(tmp_path: Path) -> None:
    """It is in the import's line alone; a line of before there was such a thing is read."""
    state = three_seals(tmp_path)
    read = manifest.Read(name=r"/var/log/a\x0ab.log", bytes=7, sha256="0" * 64)
    manifest.append(tmp_path, state, [], state.through, T, "import", sources=[read])
    assert manifest.replay(tmp_path) == state
    lines = [json.loads(line) for line in layout.manifest_path(tmp_path).read_text().splitlines()]
    assert [line.get("sources") for line in lines[:-1]] == [None] * (len(lines) - 1)
    assert lines[-1]["sources"] == [{"name": r"/var/log/a\x0ab.log", "bytes": 7, "sha256": "0" * 64}]


def test_lines_are_as_promised(tmp_path: Path) -> None:
    """Each line is one JSON object with the digest of the line before it; the seal's line is the last."""
    three_seals(tmp_path)
    lines = layout.manifest_path(tmp_path).read_bytes().splitlines(keepends=True)
    parsed = [json.loads(line) for line in lines]
    for before, line in zip([None, *lines], parsed, strict=False):
        assert line["prev"] == ("0" * 64 if before is None else hashlib.sha256(before).hexdigest())
    assert list(parsed[0]) == ["prev", "kind", "seal", "file", "sha256", "bytes", "rows", "from", "to", "format"]
    assert parsed[0]["from"] == "2026-11-20T13:05:09.000000Z"
    assert parsed[3] == {
        "prev": parsed[3]["prev"],
        "kind": "seal",
        "seal": 1,
        "through": {"connections": 10},
        "format": 2,
        "time": "2026-11-20T13:05:09.000000Z",
    }


def test_no_manifest_is_an_empty_store(tmp_path: Path) -> None:
    """Before the first seal nothing counts."""
    assert manifest.replay(tmp_path) == manifest.State()


def test_a_tail_torn_anywhere_is_ignored(tmp_path: Path) -> None:
    """Cut at any byte, the manifest says what the last whole seal said, and the next seal goes on from there."""
    state = three_seals(tmp_path)
    path = layout.manifest_path(tmp_path)
    whole = path.read_bytes()
    ends = [0]
    for line in whole.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    seals = [end for end, line in zip(ends[1:], whole.splitlines(), strict=True) if b'"kind":"seal"' in line]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = manifest.replay(tmp_path)
        assert found.seal == sum(end <= size for end in seals)
        assert found.size == max((end for end in seals if end <= size), default=0)
    manifest.append(tmp_path, found, [], {"connections": 99}, T)
    assert manifest.replay(tmp_path).through == {"connections": 99}
    assert manifest.replay(tmp_path).seal == state.seal


def test_a_zeroed_tail_is_ignored(tmp_path: Path) -> None:
    """What a power cut leaves of an append can be zeros."""
    state = three_seals(tmp_path)
    path = layout.manifest_path(tmp_path)
    for tail in (bytes(100), bytes(100) + b"\n"):
        path.write_bytes(path.read_bytes()[: state.size] + tail)
        assert manifest.replay(tmp_path) == state


def test_a_byte_changed_anywhere_is_damage(tmp_path: Path) -> None:
    """Whichever byte before the last line is flipped, it is said; only the last line has none behind it to say so."""
    three_seals(tmp_path)
    path = layout.manifest_path(tmp_path)
    whole = path.read_bytes()
    for at in range(whole.rindex(b"\n", 0, -1) + 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match="restore it from a backup"):
            manifest.replay(tmp_path)


def test_a_line_taken_out_is_damage(tmp_path: Path) -> None:
    """The chain shows that a line is missing."""
    three_seals(tmp_path)
    path = layout.manifest_path(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines) - 1):
        path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
        with pytest.raises(StoreError):
            manifest.replay(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_state_or_a_store_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Nothing else comes of reading rubbish."""
    store = tmp_path_factory.getbasetemp()
    layout.manifest_path(store).write_bytes(data)
    with suppress(StoreError):
        assert manifest.replay(store) == manifest.State()


def forged(store: Path, said: dict[str, Any]) -> None:
    """A manifest of one seal with this file line, whose chain is good."""
    seal = {"kind": "seal", "seal": 1, "through": {"connections": 1}, "time": manifest.rfc3339(T)}
    head, text = manifest.FIRST, b""
    for values in (said, seal):
        line = json.dumps({"prev": head} | values).encode() + b"\n"
        head, text = hashlib.sha256(line).hexdigest(), text + line
    layout.manifest_path(store).write_bytes(text)


GOOD = {
    "kind": "connections",
    "seal": 1,
    "file": "node=n/date=2026-11-20/00000001.parquet",
    "rows": 1,
    "from": "2026-11-20T13:05:09.000000Z",
}


@pytest.mark.parametrize(
    "lie",
    [
        {"from": "x"},
        {"from": "2026-02-30T00:00:00.000000Z"},
        {"to": "2026-11-20T13:05:09"},
        {"latest": "2026-11-20T13:05:09"},
        {"file": "gaps/2026-11-20.00000001.parquet"},
        {"file": "routes/2026-11-20-.00000001.parquet"},
        {"file": "../../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "node=n/date=2026-11-20/../../../00000001.parquet"},
        {"file": "open/00000001.parquet\n"},
        {"file": ""},
        {"rows": -5},
        {"bytes": 1 << 70},
        {"kind": "retention", "file": "", "before": "now"},
        {"kind": "import", "file": "", "replaced": ["/etc/passwd"]},
        {"kind": "seal", "file": "", "through": {"../..": 1}},
        {"kind": "import", "file": "", "sources": [{"name": "x", "bytes": -1, "sha256": "0" * 64}]},
        {"kind": "import", "file": "", "sources": [{"name": "x", "bytes": 1, "sha256": "0"}]},
    ],
)
def test_a_lie_in_a_good_chain_is_damage(tmp_path: Path, lie: dict[str, Any]) -> None:
    """Who forges the chain as well is told which line nobody here writes; no file outside of the store is opened."""
    forged(tmp_path, GOOD | {"file": "node=..n%2F/date=2026-11-20/long-kept.00000001.parquet"})
    assert len(manifest.replay(tmp_path).connections) == 1
    forged(tmp_path, GOOD | lie)
    with pytest.raises(StoreError, match=r"line 1 .*restore it from a backup"):
        manifest.replay(tmp_path)


def test_a_line_of_a_newer_version(tmp_path: Path) -> None:
    """Of a kind that is not known here: it is said that it is newer, and nothing is guessed."""
    forged(tmp_path, GOOD | {"kind": "compact", "file": ""})
    with pytest.raises(StoreError, match=r"line 1 is of a newer version of anetcon: use that one"):
        manifest.replay(tmp_path)


VALUES = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=9), st.sampled_from(list(GOOD.values())), st.just([""])
)
KEYS = st.sampled_from([*(f.encode_name for f in msgspec.structs.fields(manifest.Entry) if f.name != "prev"), "other"])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_line_is_believed_or_a_store_error(tmp_path_factory: pytest.TempPathFactory, lie: dict[str, Any]) -> None:
    """What is believed can be worked with."""
    store = tmp_path_factory.getbasetemp()
    forged(store, GOOD | lie)
    with suppress(StoreError):
        state = manifest.replay(store)
        state.doomed(T)
        assert all(entry.covers(T, T) in (True, False) for entry in state.connections)
        assert [state.touching(table, T, T) for table in layout.INTERVALS]
        assert manifest.retire(store, state, T, T) is not None


@pytest.mark.parametrize("failing", ["pwrite", "fsync"])
def test_an_append_that_fails_commits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """A full disk, or one that cannot sync, leaves the manifest as it was, and the same seal can be tried again."""
    state = three_seals(tmp_path)
    before = layout.manifest_path(tmp_path).read_bytes()
    pwrite = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        return pwrite(descriptor, data[: len(data) // 2], offset)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, half if failing == "pwrite" else broken)
        with pytest.raises(OSError, match=r"No space left|Input/output"):
            manifest.append(tmp_path, state, [entry("open", layout.open_file(4))], {}, T)
    assert layout.manifest_path(tmp_path).read_bytes() == before
    assert state.seal == 3
    manifest.append(tmp_path, state, [entry("open", layout.open_file(4))], {}, T)
    assert manifest.replay(tmp_path) == state


def test_an_unreadable_manifest_is_a_store_error(tmp_path: Path) -> None:
    """The message names the file."""
    layout.manifest_path(tmp_path).mkdir()
    with pytest.raises(StoreError, match=r"manifest\.jsonl"):
        manifest.replay(tmp_path)


def test_parts_of_a_day(tmp_path: Path) -> None:
    """A part replaces its own former self; those of which every time is past are not read, and go with retention; the
    current one is always read, and stays, and a month of before goes when its month is over."""
    state = manifest.State()
    files = [
        (layout.interval_file("routes", "2026-10", 1), None),
        (layout.part_file("routes", "2026-11-20", 1, 2), 0),
        (layout.part_file("routes", "2026-11-20", 1, 3), 1),
        (layout.part_file("routes", "2026-11-20", 2, 4), 2),
        (layout.part_file("routes", "2026-11-23", 1, 5), 3),
    ]
    for file, days in files:
        latest = None if days is None else manifest.rfc3339(T + days * layout.DAY)
        manifest.append(tmp_path, state, [entry("routes", file, end=None, latest=latest)], {}, T)
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("routes")] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", None, None)] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", T + layout.DAY, None)] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", T + layout.DAY + 1, None)] == [1, 4, 5]
    assert [e.seal for e in state.touching("routes", T + 9 * layout.DAY, None)] == [1, 5]
    assert [e.seal for e in state.touching("routes", None, T - 1)] == [5]
    assert [(time - T) // layout.DAY for time, _ in state.aging()] == [1, 2]
    assert [e.seal for e in manifest.retire(tmp_path, state, T + layout.DAY + 1, T)] == [3, 1]
    assert state.removed == (T, T + layout.DAY + 1, 0)
    assert [e.seal for e in manifest.retire(tmp_path, state, T + 99 * layout.DAY, T)] == [4]
    assert manifest.replay(tmp_path) == state
