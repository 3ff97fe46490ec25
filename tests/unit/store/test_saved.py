"""The saved state of a manifest: who begins there knows what who reads everything does, whatever happened to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.store import layout, manifest, retain, saved, seal
from anetcon.store.entry import Entry, Removed, Why, rfc3339
from anetcon.store.saved import Counted
from anetcon.store.seal import Sealer
from anetcon.store.state import State
from tests.support.asking import Answer
from tests.support.crashing import CrashError, crash_at
from tests.support.examples import examples
from tests.support.records import SECOND, T0, Making, start, whole

HOUR = 3_600 * SECOND


def plain(state: State) -> dict[str, Any]:
    """A state to compare: of connections not which line was before theirs, which nobody needs to know."""
    said = asdict(state) | {"connections": [msgspec.structs.replace(each, prev="") for each in state.connections]}
    near = [state.connections.covering(*bounds) for bounds in ((None, T0), (T0, T0 + HOUR), (T0 + 3 * HOUR, None))]
    return said | {
        "near": [[each.file for each in one] for one in near],
        "ended": [each.file for each in state.connections.ended(T0 + 2 * HOUR)],
        "last": [each.file for each in state.connections.of_seals([state.last_seal() or 0])],
        "doomed": sorted(each.file for each in state.over(T0 + 5 * HOUR)),
    }


def require_same(store: Path, said: str | None = "") -> None:
    """Begun from the saved state or not: the same, and `said` (None: anything)."""
    state, slower = manifest.opened(store)
    assert plain(state) == plain(manifest.replay(store))
    assert said is None or slower == said


def step(store: Path, state: State, what: str, number: int) -> None:
    """One thing that happens to a manifest."""
    begin, end = (rfc3339(T0 + (number + more) * HOUR) for more in (0, 1))
    seal = state.seal + 1
    known: dict[str, Any] = {
        "sha256": f"{number:064x}",
        "bytes": 10 + number,
        "rows": number,
        "start": begin,
        "seal": seal,
    }

    def entry(kind: str, file: str, **more: str) -> Entry:
        return Entry(prev="", kind=kind, file=file, **known | more)

    file = entry("connections", layout.connections_file("n", "2026-11-20", seal, False), end=end)
    opened = [each.file for each in state.of("open")]
    if what == "seal":
        late = entry("connections", layout.connections_file("n", "2026-11-20", seal, True))
        files = [file, late, entry("open", layout.open_file(seal))]
        manifest.commit(store, state, Why.SEAL, T0, files, opened, through={"connections": number})
    elif what == "part":
        route = entry("routes", layout.part_file("routes", "2026-11-20", number, seal), latest=end)
        manifest.commit(store, state, Why.SEAL, T0, [route], opened)
    elif what == "import":
        gone = [each.file for each in state.connections.of_seals(state.imports)][:: number % 3 + 1]
        manifest.commit(store, state, Why.IMPORT, T0, [file], gone)
    elif what == "retention":
        before = T0 + (number - 2) * HOUR
        for removes in retain.steps(state, before):
            manifest.commit(store, state, Why.RETENTION, T0, removes=removes, before=before)
    else:
        manifest.save(store, state)


STEPS = st.lists(st.sampled_from(["seal", "seal", "part", "import", "retention", "save"]), max_size=12)


@examples(0.6)
@given(STEPS)
def test_what_is_begun_with_adds_up_to_the_same(steps: list[str]) -> None:
    """Whatever happened before a state was saved and behind it; and from an older one as well."""
    with TemporaryDirectory() as name:
        store, state, older = Path(name), State(), list[bytes]()
        for number, what in enumerate(steps, 1):
            step(store, state, what, number)
            require_same(store)
            assert plain(manifest.opened(store)[0]) == plain(state)
            if what == "save":
                older.append(layout.state_path(store).read_bytes())
        for content in older:
            layout.state_path(store).write_bytes(content)
            require_same(store)


def history(store: Path) -> State:
    """A manifest with a state in its midst."""
    state = State()
    for number, what in enumerate(["seal", "import", "seal", "part", "save", "seal", "import", "retention", "seal"], 1):
        step(store, state, what, number)
    return state


@examples(0.8)
@given(
    damage=st.sampled_from(["torn", "zeroed", "flipped", "longer", "rubbish"]),
    share=st.floats(0, 1, exclude_max=True),
    rubbish=st.binary(max_size=99),
)
def test_a_state_that_is_not_what_was_written(damage: str, share: float, rubbish: bytes) -> None:
    """Everything is read instead, and that is said."""
    with TemporaryDirectory() as name:
        store = Path(name)
        history(store)
        path = layout.state_path(store)
        content = path.read_bytes()
        at = int(share * len(content))
        made = {
            "torn": content[:at],
            "zeroed": content[:at] + bytes(len(content) - at),
            "flipped": content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :],
            "longer": content + rubbish + b"x",
            "rubbish": rubbish,
        }[damage]
        path.write_bytes(made)
        require_same(store, None)
        said = manifest.opened(store)[1]
        assert made == content or said.startswith(f"{path} ")


def test_a_state_that_is_gone_or_cannot_be_read(tmp_path: Path) -> None:
    """It is said; of a manifest without any nothing is."""
    state = State()
    step(tmp_path, state, "seal", 1)
    require_same(tmp_path)
    manifest.save(tmp_path, state)
    require_same(tmp_path)
    layout.state_path(tmp_path).unlink()
    assert "manifest.state is gone: answers take longer until the daemon" in manifest.opened(tmp_path)[1]
    layout.state_path(tmp_path).mkdir()
    assert "Is a directory" in manifest.opened(tmp_path)[1]
    require_same(tmp_path, None)


@pytest.mark.parametrize("change", ["another store's", "an older manifest", "a line before", "no manifest"])
def test_a_state_of_another_manifest(tmp_path: Path, change: str) -> None:
    """It does not fit where the chain is another: what counts is what the chain says."""
    store, other = tmp_path / "store", tmp_path / "other"
    for path in (store, other):
        path.mkdir()
    history(store)
    lines = layout.manifest_path(store).read_bytes().splitlines(keepends=True)
    bound = next(number for number, line in enumerate(lines) if b'"kind":"state"' in line)
    if change == "another store's":
        state = State()
        step(other, state, "seal", 1)
        manifest.save(other, state)
        layout.state_path(other).replace(layout.state_path(store))
    elif change == "a line before":
        layout.manifest_path(store).write_bytes(b"".join([*lines[: bound - 1], b"x", *lines[bound - 1 :]]))
        for read in (manifest.opened, manifest.replay):
            with pytest.raises(StoreError, match=f"line {bound} was changed"):
                read(store)
        return
    else:
        layout.manifest_path(store).write_bytes(b"".join(lines[:bound] if change == "an older manifest" else []))
    require_same(store, None)
    assert "does not fit the manifest" in manifest.opened(store)[1]


def test_a_line_behind_that_was_changed_is_damage(tmp_path: Path) -> None:
    """It is named by its number in the whole manifest."""
    history(tmp_path)
    path = layout.manifest_path(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-2], lines[-2].replace(b"1", b"2", 1), lines[-1]]))
    said = []
    for read in (manifest.opened, manifest.replay):
        with pytest.raises(StoreError) as error:
            read(tmp_path)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_a_line_before_that_was_changed_is_found_by_who_writes(tmp_path: Path) -> None:
    """Readers do not look there; the sealer seals nothing, and says which line it is."""
    history(tmp_path)
    path = layout.manifest_path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"rows":1', b'"rows":2', 1))
    assert manifest.opened(tmp_path)[1] == ""
    with pytest.raises(StoreError, match=r"line [12] was changed"):
        Sealer(tmp_path).pending()


def forge(store: Path, change: Callable[[saved.Rest, Counted], tuple[saved.Rest, Counted]]) -> None:
    """A state with its line as the last of the chain, by who can rewrite the store."""
    state = State()
    step(store, state, "seal", 1)
    rest = saved.Rest(**{name: getattr(state, name) for name in saved.Rest.__struct_fields__})
    content = saved.encode(*change(rest, state.connections))
    layout.state_path(store).write_bytes(content)
    line = {"prev": state.head, "kind": "state", "seal": 1, "sha256": hashlib.sha256(content).hexdigest()}
    with layout.manifest_path(store).open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def test_who_forges_the_chain_as_well_opens_no_file_outside_of_the_store(tmp_path: Path) -> None:
    """As with a line of the manifest: it is a StoreError, or not believed."""

    def outside(rest: saved.Rest, counted: Counted) -> tuple[saved.Rest, Counted]:
        entries = [msgspec.structs.replace(entry, file="../../etc/passwd") for entry in counted]
        return rest, Counted(entries)

    forge(tmp_path, outside)
    with pytest.raises(StoreError, match="no anetcon writes; remove it"):
        manifest.opened(tmp_path)[0].of("connections")

    def elsewhere(rest: saved.Rest, counted: Counted) -> tuple[saved.Rest, Counted]:
        entry = msgspec.structs.replace(rest.snapshots["open"], file="/etc/passwd")
        return msgspec.structs.replace(rest, snapshots={"open": entry}), counted

    layout.manifest_path(tmp_path).unlink()
    forge(tmp_path, elsewhere)
    require_same(tmp_path, None)
    assert "is not as it was written" in manifest.opened(tmp_path)[1]


@pytest.mark.parametrize("torn", [False, True])
def test_killed_while_it_is_saved(tmp_path: Path, torn: bool) -> None:
    """At each step: what readers begin with fits, the new one or the one before, and who writes goes on."""
    state, number, done = history(tmp_path), 0, False
    while not done:
        number += 1
        with crash_at(number, torn) as steps:
            try:
                manifest.save(tmp_path, state)
                done = steps() < number
            except CrashError:
                pass
        require_same(tmp_path)
        state = manifest.replay(tmp_path)
        step(tmp_path, state, "seal", 20 + number)
        require_same(tmp_path)
    assert number > 5


def test_the_sealer_saves_it_and_questions_say_when_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so many seals; with it, without it and with another one an answer is the same."""
    monkeypatch.setattr(seal, "SAVED_SEALS", 3)
    making = Making(tmp_path / "store").audited()
    contents = list[bytes]()
    for number in range(8):
        making.add(*whole(src_port=number), start(src_port=100 + number)).alive(T0 + number * SECOND).rotate()
        assert Sealer(making.path, lambda: T0 + 60 * SECOND).seal()
        path = layout.state_path(making.path)
        contents += [path.read_bytes()] if path.exists() else []
    making.close()
    assert len(contents) == 6
    assert len(set(contents)) == 2
    assert path.stat().st_mode & 0o777 == 0o640
    asked, span = ("--format", "json", "--store", making.path), ("--until", "2026-11-20T13:05:12Z")
    who = ("who", "203.0.113.7:40213", "--at", "2026-11-20T13:05:09Z", "--within", "2s")
    for question in ((*who, *asked), ("search", *span, *asked), ("gaps", *span, *asked)):
        path.write_bytes(contents[-1])
        answer = Answer(*question)
        assert "manifest" not in answer.err
        path.write_bytes(contents[0])
        assert Answer(*question).out == answer.out
        path.write_bytes(contents[0][:-9])
        slow = Answer(*question)
        assert slow.out == answer.out
        assert slow.err.count(f"{path} is not as it was written: answers take longer until the daemon") == 1


@pytest.mark.parametrize("lie", ["a file less", "a row more", "another segment", "nothing removed"])
def test_a_state_that_lies_is_found_when_the_daemon_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], lie: str
) -> None:
    """Readers would believe it. The sealer compares it with the lines, says so once, and writes it again."""
    making = Making(tmp_path).audited()
    for number in range(3):
        making.add(*whole(src_port=number), start(src_port=100 + number)).alive(T0 + number * SECOND).rotate()
        assert Sealer(tmp_path, lambda: T0 + 60 * SECOND).seal()
    making.close()
    state = manifest.replay(tmp_path)
    true = [entry.file for entry in state.connections]
    manifest.save(tmp_path, state)
    assert manifest.checked(tmp_path)[1] == ""
    wrong = manifest.replay(tmp_path)
    if lie == "a file less":
        wrong.connections.remove({true[0]})
    elif lie == "a row more":
        (first, *rest) = wrong.connections
        wrong.connections = Counted([msgspec.structs.replace(first, rows=2), *rest])
    elif lie == "another segment":
        wrong.through = wrong.through | {"connections": 2}
    else:
        wrong.removed = Removed(0, 1, 7)
    manifest.save(tmp_path, wrong)
    assert manifest.opened(tmp_path)[1] == ""
    capfd.readouterr()
    Sealer(tmp_path, lambda: T0 + 60 * SECOND).pending()
    said = capfd.readouterr().err
    path = layout.state_path(tmp_path)
    assert f"{path} differs from the manifest: earlier answers may be wrong; written again now" in said
    assert len(said.split()) <= 25
    require_same(tmp_path)
    assert [entry.file for entry in manifest.opened(tmp_path)[0].connections] == true
    Sealer(tmp_path).pending()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("damage", ["gone", "torn", "another store's"])
def test_a_state_that_does_not_fit_is_written_again_when_the_daemon_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    """So that questions do not take longer until so many more seals; a store that never had one gets none then."""
    store = Making(tmp_path / "store").add(*whole()).rotate().close()
    assert Sealer(store, lambda: T0 + 60 * SECOND).seal()
    assert not Sealer(store).pending()
    assert not layout.state_path(store).exists()
    manifest.save(store, manifest.replay(store))
    path = layout.state_path(store)
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        other = {name: getattr(State(), name) for name in saved.Rest.__struct_fields__}
        path.write_bytes(saved.encode(saved.Rest(**other), Counted()))
    assert manifest.opened(store)[1]
    capfd.readouterr()
    assert not Sealer(store).pending()
    said = capfd.readouterr().err
    assert said.count("answers take longer until the daemon writes it again; written again now") == 1
    assert len(said.split()) <= 25
    require_same(store)
