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
from anetcon.store import layout, manifest, retain
from anetcon.store.entry import Entry, Read, Why, rfc3339
from anetcon.store.state import FIRST, State, WrongCommitError

T = 1_795_179_909_000_000

GOOD = {
    "kind": "connections",
    "seal": 1,
    "file": "node=n/date=2026-11-20/00000001.parquet",
    "rows": 1,
    "from": "2026-11-20T13:05:09.000000Z",
}


def entry(kind: str, file: str, **more: Any) -> Entry:
    """What a commit says of a file."""
    said: dict[str, Any] = {"kind": kind, "file": file, "sha256": "0" * 64, "bytes": 10, "rows": 2}
    said |= {"start": rfc3339(T), "end": rfc3339(T + 5), "seal": layout.seal_of_file(file)}
    return Entry(prev="", **said | more)


def seal(store: Path, state: State, *files: Entry, through: dict[str, int] | None = None) -> None:
    """Commit these files as a seal does."""
    removes = {*state.in_place_of(files), *(each.file for each in state.of("open"))}
    manifest.commit(store, state, Why.SEAL, T, files, sorted(removes), through=through)


def three_seals(store: Path) -> State:
    """A manifest with three seals."""
    state = State()
    for number in (1, 2, 3):
        files = [
            entry("connections", layout.connections_file("n", "2026-11-20", number, False)),
            entry("gaps", layout.interval_file("gaps", "2026-11" if number < 3 else "2026-12", number)),
        ]
        if number < 3:
            files.append(entry("open", layout.open_file(number), end=None))
        seal(store, state, *files, through={"connections": number * 10})
    return state


def test_what_is_appended_is_replayed(tmp_path: Path) -> None:
    """Connections add up; `open` is replaced by each seal, an interval table's file by one of its month."""
    state = three_seals(tmp_path)
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("connections")] == [1, 2, 3]
    assert [e.file for e in state.of("gaps")] == ["gaps/2026-11.00000002.parquet", "gaps/2026-12.00000003.parquet"]
    assert state.of("open") == []
    assert state.through == {"connections": 30}


def test_what_counts_is_what_was_added_and_not_removed(tmp_path: Path) -> None:
    """An auditor needs no more than the names in the lines, whatever the commits were for."""
    state = three_seals(tmp_path)
    old = layout.connections_file("n", "2026-11-20", 4, False)
    manifest.commit(tmp_path, state, Why.IMPORT, T, [entry("connections", old)])
    kept = layout.kept_file(old, 5)
    manifest.commit(tmp_path, state, Why.IMPORT, T, [entry("connections", kept)], [old])
    manifest.commit(tmp_path, state, Why.RETENTION, T, removes=[state.of("connections")[0].file], before=T + 6)
    lines = [json.loads(line) for line in layout.manifest_path(tmp_path).read_text().splitlines()]
    added = {line["file"] for line in lines if "file" in line}
    removed = [file for line in lines for file in line.get("removes", [])]
    assert state.files() == added - set(removed)
    assert len(removed) == len(set(removed)) == 5
    assert [line["why"] for line in lines if line["kind"] == "commit"] == [
        *("seal", "seal", "seal"),
        *("import", "import", "retention"),
    ]


def test_files_that_an_import_takes_the_place_of(tmp_path: Path) -> None:
    """They count no more; what it brings in their place does, and what was open still is."""
    state = three_seals(tmp_path)
    seal(tmp_path, state, entry("open", layout.open_file(4), end=None))
    old = layout.connections_file("n", "2026-11-20", 5, False)
    manifest.commit(tmp_path, state, Why.IMPORT, T, [entry("connections", old)])
    manifest.commit(tmp_path, state, Why.IMPORT, T, [entry("connections", layout.kept_file(old, 6))], [old])
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("connections")] == [1, 2, 3, 6]
    assert (len(state.of("open")), state.last_seal()) == (1, 3)


def test_what_an_import_is_from(tmp_path: Path) -> None:
    """It is in the import's line alone."""
    state = three_seals(tmp_path)
    read = Read(name=r"/var/log/a\x0ab.log", bytes=7, sha256="0" * 64)
    manifest.commit(tmp_path, state, Why.IMPORT, T, sources=[read])
    assert manifest.replay(tmp_path) == state
    lines = [json.loads(line) for line in layout.manifest_path(tmp_path).read_text().splitlines()]
    assert [line.get("sources") for line in lines[:-1]] == [None] * (len(lines) - 1)
    assert lines[-1]["sources"] == [{"name": r"/var/log/a\x0ab.log", "bytes": 7, "sha256": "0" * 64}]


def test_lines_are_as_promised(tmp_path: Path) -> None:
    """Each line is one JSON object with the digest of the line before it; the commit's line is the last."""
    three_seals(tmp_path)
    lines = layout.manifest_path(tmp_path).read_bytes().splitlines(keepends=True)
    parsed = [json.loads(line) for line in lines]
    for before, line in zip([None, *lines], parsed, strict=False):
        assert line["prev"] == ("0" * 64 if before is None else hashlib.sha256(before).hexdigest())
    assert list(parsed[0]) == ["prev", "kind", "seal", "file", "sha256", "bytes", "rows", "from", "to", "format"]
    assert parsed[0]["from"] == "2026-11-20T13:05:09.000000Z"
    assert parsed[7] == {
        "prev": parsed[7]["prev"],
        "kind": "commit",
        "why": "seal",
        "seal": 2,
        "format": 3,
        "removes": ["gaps/2026-11.00000001.parquet", "open/00000001.parquet"],
        "through": {"connections": 20},
        "time": "2026-11-20T13:05:09.000000Z",
    }


def test_no_manifest_is_an_empty_store(tmp_path: Path) -> None:
    """Before the first seal nothing counts."""
    assert manifest.replay(tmp_path) == State()


def test_a_tail_torn_anywhere_is_ignored(tmp_path: Path) -> None:
    """Cut at any byte, the manifest says what the last whole seal said, and the next seal goes on from there."""
    state = three_seals(tmp_path)
    path = layout.manifest_path(tmp_path)
    whole = path.read_bytes()
    ends = [0]
    for line in whole.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    seals = [end for end, line in zip(ends[1:], whole.splitlines(), strict=True) if b'"kind":"commit"' in line]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = manifest.replay(tmp_path)
        assert found.seal == sum(end <= size for end in seals)
        assert found.size == max((end for end in seals if end <= size), default=0)
    seal(tmp_path, found, through={"connections": 99})
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
        assert manifest.replay(store) == State()


SEAL = {"kind": "commit", "why": "seal", "seal": 1, "through": {"connections": 1}, "time": rfc3339(T)}


def forged(store: Path, *said: dict[str, Any]) -> None:
    """A manifest of these lines, whose chain is good; the last is that of a seal."""
    head, text = FIRST, b""
    for values in (*said, SEAL):
        line = json.dumps({"prev": head} | values).encode() + b"\n"
        head, text = hashlib.sha256(line).hexdigest(), text + line
    layout.manifest_path(store).write_bytes(text)


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
        {"file": "open/00000001.parquet"},
        {"file": "node=n/date=2026-11-20/00000002.parquet"},
        {"kind": "commit", "why": "retention", "file": ""},
        {"kind": "commit", "why": "seal", "file": "", "removes": ["/etc/passwd"]},
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
    with pytest.raises(StoreError, match=r"line [12] .*restore it from a backup"):
        manifest.replay(tmp_path)


@pytest.mark.parametrize(
    ("commit", "adds", "why"),
    [
        ({"removes": ["open/00000009.parquet"]}, [], "removes a file that does not count"),
        ({"removes": ["node=n/date=2026-11-20/00000009.parquet"]}, [], "removes a file that does not count"),
        ({"removes": ["open/00000002.parquet"] * 2}, [], "removes a file twice"),
        ({"seal": 5}, [], "has the number of another commit"),
        ({"seal": 2}, [entry("open", layout.open_file(2))], "has the number of another commit"),
        ({}, [entry("open", layout.open_file(3))], "adds a file beside one that it is to take the place of"),
        ({}, [entry("routes", layout.part_file("routes", "2026-11-20", 1, 2))], "adds a file of another commit"),
        ({}, [entry("routes", layout.part_file("routes", "2026-11-20", 1, 3))] * 2, "adds a file twice"),
    ],
)
@pytest.mark.parametrize("since_saved", [False, True])
def test_a_commit_that_cannot_be_one(
    tmp_path: Path, commit: dict[str, Any], adds: list[Entry], why: str, since_saved: bool
) -> None:
    """It is damage, named by its line, also behind a saved state; and none is ever written."""
    state = State()
    for number in (1, 2):
        files = [entry("connections", layout.connections_file("n", "2026-11-20", number, False))]
        seal(tmp_path, state, *files, entry("open", layout.open_file(number), end=None))
    if since_saved:
        manifest.save(tmp_path, state)
    line = Entry(prev="", kind="commit", why="seal", **{"seal": 3} | commit)
    with pytest.raises(WrongCommitError, match=why):
        state.require(adds, line)
    head, text = state.head, b""
    for values in (*adds, line):
        written = msgspec.json.encode(msgspec.structs.replace(values, prev=head)) + b"\n"
        head, text = hashlib.sha256(written).hexdigest(), text + written
    with layout.manifest_path(tmp_path).open("ab") as file:
        file.write(text)
    number = state.lines + len(adds) + 1
    for read in (manifest.replay, manifest.opened, manifest.checked):
        with pytest.raises(StoreError, match=rf"manifest\.jsonl: line {number} {why}.*; restore it from a backup"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("before", "newer"),
    [
        ((), {"kind": "compact"}),
        ((), {"kind": "commit", "why": "shipping", "through": {}, "removes": ["named/otherwise"]}),
        ((GOOD | {"file": "node=n/date=2026-11-20/day.00000001.parquet"},), {"kind": "commit", "why": "compaction"}),
    ],
)
def test_a_line_of_a_newer_version(tmp_path: Path, before: tuple[dict[str, Any]], newer: dict[str, Any]) -> None:
    """Of a kind that is not known here, or a commit for something that is not: it is said that it is newer, and nothing
    is guessed, whatever else is in the lines around it."""
    forged(tmp_path, *before, {"seal": 1} | newer)
    with pytest.raises(StoreError, match=rf"line {len(before) + 1} is of a newer version of anetcon: use that one"):
        manifest.replay(tmp_path)


VALUES = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=9), st.sampled_from(list(GOOD.values())), st.just([""])
)
KEYS = st.sampled_from([*(f.encode_name for f in msgspec.structs.fields(Entry) if f.name != "prev"), "other"])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_line_is_believed_or_a_store_error(tmp_path_factory: pytest.TempPathFactory, lie: dict[str, Any]) -> None:
    """What is believed can be worked with."""
    store = tmp_path_factory.getbasetemp()
    forged(store, GOOD | lie)
    with suppress(StoreError):
        state = manifest.replay(store)
        state.over(T)
        assert all(entry.covers(T, T) in (True, False) for entry in state.connections)
        assert [state.touching(table, T, T) for table in layout.INTERVALS]
        for removes in retain.steps(state, T):
            manifest.commit(store, state, Why.RETENTION, T, removes=removes, before=T)


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
            seal(tmp_path, state, entry("open", layout.open_file(4)))
    assert layout.manifest_path(tmp_path).read_bytes() == before
    assert state.seal == 3
    seal(tmp_path, state, entry("open", layout.open_file(4)))
    assert manifest.replay(tmp_path) == state


def test_an_unreadable_manifest_is_a_store_error(tmp_path: Path) -> None:
    """The message names the file."""
    layout.manifest_path(tmp_path).mkdir()
    with pytest.raises(StoreError, match=r"manifest\.jsonl"):
        manifest.replay(tmp_path)


def removed(store: Path, state: State, before: int) -> list[int | None]:
    """Remove what retention does at a time; the seals of these files."""
    (files,) = retain.steps(state, before)
    manifest.commit(store, state, Why.RETENTION, T, removes=files, before=before)
    return [layout.seal_of_file(file) for file in files]


def test_parts_of_a_day(tmp_path: Path) -> None:
    """A part replaces its own former self; those of which every time is past are not read, and go with retention; the
    current one is always read, and stays, and a month of before goes when its month is over."""
    state = State()
    files = [
        (layout.interval_file("routes", "2026-10", 1), None),
        (layout.part_file("routes", "2026-11-20", 1, 2), 0),
        (layout.part_file("routes", "2026-11-20", 1, 3), 1),
        (layout.part_file("routes", "2026-11-20", 2, 4), 2),
        (layout.part_file("routes", "2026-11-23", 1, 5), 3),
    ]
    for file, days in files:
        latest = None if days is None else rfc3339(T + days * layout.DAY)
        seal(tmp_path, state, entry("routes", file, end=None, latest=latest))
    assert manifest.replay(tmp_path) == state
    assert [e.seal for e in state.of("routes")] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", None, None)] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", T + layout.DAY, None)] == [1, 3, 4, 5]
    assert [e.seal for e in state.touching("routes", T + layout.DAY + 1, None)] == [1, 4, 5]
    assert [e.seal for e in state.touching("routes", T + 9 * layout.DAY, None)] == [1, 5]
    assert [e.seal for e in state.touching("routes", None, T - 1)] == [5]
    assert [(time - T) // layout.DAY for time, _ in state.aging()] == [1, 2]
    assert removed(tmp_path, state, T + layout.DAY + 1) == [1, 3]
    assert state.removed == (T, T + layout.DAY + 1, 0)
    assert removed(tmp_path, state, T + 99 * layout.DAY) == [4]
    assert manifest.replay(tmp_path) == state
