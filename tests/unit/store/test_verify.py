"""Whatever is done to a store is found, or is said not to be provable."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import InputError, StoreError
from anetcon.store import layout, manifest
from anetcon.store.checked import Checked
from anetcon.store.entry import Why
from anetcon.store.limits import Limits
from anetcon.store.seal import Sealer
from anetcon.store.verify import Result, Scope, Verifier, Wrong
from tests.support.examples import examples
from tests.support.records import DAY, T0
from tests.support.stores import sealed

Tamper = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a store, which no test changes."""
    return sealed(tmp_path_factory.mktemp("made") / "store")


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "store"))


def verified(store: Path, known: str | None = None, scope: Scope | None = None) -> Result:
    """What is found."""
    return Verifier(store, scope or Scope(), Checked(None)).run(known)


def counted(store: Path, kind: str) -> Path:
    """The oldest file of a kind that counts."""
    return store / manifest.replay(store).of(kind)[0].file


def flip(path: Path, at: int = -20) -> None:
    """Change one bit of a byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def lines(store: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the manifest's lines."""
    path = layout.manifest_path(store)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def rewritten(store: Path) -> None:
    """Remove the first file of connections, and write a chain that fits without it: what root can do."""
    gone = counted(store, "connections")
    gone.unlink()
    layout.state_path(store).unlink()
    kept, head = [], "0" * 64
    for line in layout.manifest_path(store).read_bytes().splitlines():
        said = json.loads(line)
        if said.get("file") != str(gone.relative_to(store)) and said["kind"] != "state":
            kept.append(json.dumps(said | {"prev": head}, separators=(",", ":")).encode() + b"\n")
            head = hashlib.sha256(kept[-1]).hexdigest()
    layout.manifest_path(store).write_bytes(b"".join(kept))


def last_commit(text: list[bytes]) -> int:
    """Where the last commit but that of the saved state begins."""
    ends = [number for number, line in enumerate(text) if b'"kind":"commit"' in line]
    return ends[-2] + 1


def test_a_store_is_whole(made: Path) -> None:
    """Every file is read, and what is not sealed is told; nothing is proven until a head is given."""
    result = verified(made)
    assert result.findings == []
    assert result.days.keys() == {"2026-11-20", "addresses", "gaps", "open"}
    assert (result.days["2026-11-20"].files, result.days["2026-11-20"].rows) == (6, 6)
    assert [(each.table, each.rows) for each in result.unsealed] == [("connections", 2)]
    assert (result.proven, result.known) == (False, None)
    again = verified(made, result.head)
    assert (again.known, again.proven) == (again.lines, False)  # a segment is not sealed
    assert all(day.proven == day.files for day in again.days.values())


@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        *((lambda store, kind=kind: flip(counted(store, kind)), Wrong.CHANGED) for kind in ("connections", "open")),
        *((lambda store, kind=kind: flip(counted(store, kind), 40), Wrong.CHANGED) for kind in ("gaps", "addresses")),
        (lambda store: counted(store, "connections").write_bytes(b""), Wrong.CHANGED),
        (lambda store: shutil.copy(counted(store, "gaps"), counted(store, "connections")), Wrong.CHANGED),
        (lambda store: counted(store, "connections").unlink(), Wrong.MISSING),
        (lambda store: counted(store, "gaps").rename(store / "gaps/2020-01.00000001.parquet"), Wrong.MISSING),
        (lambda store: shutil.copy(counted(store, "open"), store / "open/mine.parquet"), Wrong.ADDED),
        (lambda store: shutil.copy(counted(store, "gaps"), store / "gaps/2020-01.00000001.parquet"), Wrong.ADDED),
        (lambda store: shutil.copy(counted(store, "open"), store / "open/00000099.parquet"), Wrong.ROLLED_BACK),
        (lambda store: flip(layout.manifest_path(store), 300), Wrong.CHAIN),
        (lambda store: lines(store, lambda text: text[1:]), Wrong.CHAIN),
        (lambda store: lines(store, lambda text: [text[1], text[0], *text[2:]]), Wrong.CHAIN),
        (lambda store: lines(store, lambda text: text[: last_commit(text)]), Wrong.ROLLED_BACK),
        (lambda store: flip(layout.state_path(store)), Wrong.CHANGED),
        (lambda store: flip(max((store / "journal/connections").glob("*.arrows")), 900), Wrong.DAMAGED),
        (lambda store: max((store / "journal/connections").glob("*.arrows")).unlink(), Wrong.DAMAGED),
    ],
)
def test_what_is_found(store: Path, tamper: Tamper, wrong: Wrong) -> None:
    """Each change is found as what it is, and named by its path."""
    tamper(store)
    found = verified(store).findings
    assert wrong in {each.wrong for each in found}, found
    assert all(each.path in each.says for each in found)


def test_a_chain_that_was_rewritten(store: Path) -> None:
    """Who can write the whole store makes it look whole; the head that was noted before is not in its chain."""
    head = verified(store).head
    rewritten(store)
    assert verified(store).findings == []
    assert [each.wrong for each in verified(store, head).findings] == [Wrong.ROLLED_BACK]


def removing(store: Path) -> bytes:
    """A commit that removes the first file of connections, with a carriage return within."""
    state = manifest.replay(store)
    gone = counted(store, "connections")
    gone.unlink()
    said = {"prev": state.head, "kind": "commit", "why": "seal", "seal": state.seal + 1, "through": state.through}
    said |= {"removes": [str(gone.relative_to(store))], "time": "2026-11-20T13:05:09.000000Z", "format": 3}
    return json.dumps(said).replace(', "why"', ',\r"why"').encode() + b"\n"


def test_a_seal_that_removes_connections(store: Path) -> None:
    """Whoever writes the store can say so, and the chain holds; no seal of ours does, so it is told."""
    state = manifest.replay(store)
    gone = counted(store, "connections")
    manifest.commit(store, state, Why.SEAL, T0, (), [str(gone.relative_to(store))])
    gone.unlink()
    (found,) = verified(store).findings
    assert (found.wrong, "as no seal does" in found.says) == (Wrong.CHAIN, True)


def test_a_line_with_a_carriage_return(store: Path) -> None:
    """Nobody here writes one: it is a line that was changed, and no end of the chain that a noted head could prove."""
    head = verified(store).head
    line = removing(store)
    lines(store, lambda text: [*text, line])
    found = verified(store, head)
    assert Wrong.CHAIN in {each.wrong for each in found.findings}
    with pytest.raises(StoreError, match="was changed"):
        manifest.replay(store)


def test_a_chain_that_is_shorter_than_what_counts(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was replayed and was not compared with the noted head is told."""
    chain = list(manifest.chain(store))
    monkeypatch.setattr(manifest, "chain", lambda _: iter(chain[:-1]))
    found = verified(store, chain[-2].digest)
    assert Wrong.CHAIN in {each.wrong for each in found.findings}


def test_a_store_that_was_rolled_back(tmp_path: Path) -> None:
    """So it is with yesterday's copy of all of it."""
    store = sealed(tmp_path / "store", 1)
    copy = shutil.copytree(store, tmp_path / "copy")
    sealer = Sealer(store, node="gw1")
    while sealer.seal():
        pass
    head = verified(store).head
    shutil.rmtree(store)
    copy.rename(store)
    assert verified(store).findings == []
    assert [each.wrong for each in verified(store, head).findings] == [Wrong.ROLLED_BACK]


def test_what_is_sealed_later_is_proven_by_no_earlier_head(tmp_path: Path) -> None:
    """A head proves what stood before it: the files behind it are counted apart."""
    store = sealed(tmp_path / "store", 1)
    head = verified(store).head
    sealer = Sealer(store, node="gw1")
    while sealer.seal():
        pass
    result = verified(store, head)
    assert (result.findings, result.proven) == ([], False)
    assert result.known is not None
    assert result.known < result.lines
    assert (result.days["2026-11-20"].proven, result.days["2026-11-20"].files) == (2, 3)
    assert verified(store, result.head).proven
    assert not verified(store, result.head, Scope(T0, None)).proven  # not all of it was read


@given(st.data())
@examples(0.6)
def test_any_byte(made: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whichever byte of a file that counts, of the manifest or of its saved state is another one, it is found by who
    has noted the head; who has not does not see a change of the last line alone."""
    copy = Path(shutil.copytree(made, tmp_path_factory.mktemp("any") / "store"))
    text, head = layout.manifest_path(copy).read_bytes(), verified(made).head
    names = [*sorted(manifest.replay(copy).files()), "manifest.jsonl", "manifest.state"]
    path = copy / data.draw(st.sampled_from(names))
    at = data.draw(st.integers(0, path.stat().st_size - 1))
    changed = bytearray(path.read_bytes())
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    last = path.name == "manifest.jsonl" and at >= text.rindex(b"\n", 0, -1) + 1
    assert verified(copy, head).findings
    assert last or verified(copy).findings


def test_a_line_of_a_newer_version(store: Path) -> None:
    """It is no finding: that version has to be used."""
    head = verified(store).head
    line = json.dumps({"prev": head, "kind": "commit", "why": "later", "seal": 9}).encode() + b"\n"
    lines(store, lambda text: [*text, line])
    with pytest.raises(StoreError, match="newer version"):
        verified(store)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A path that is mistyped is no store that is whole."""
    with pytest.raises(StoreError, match="there is no store in"):
        verified(tmp_path / "mistyped")


def test_only_what_is_asked_for(made: Path) -> None:
    """A window reads the files that may have rows in it; everything else is checked all the same."""
    assert verified(made, scope=Scope(T0 + DAY, None)).days.keys() == {"addresses", "open"}
    assert verified(made, scope=Scope(None, T0 - DAY)).days.keys() == {"addresses"}


def test_what_retention_removes_meanwhile_is_not_missing(tmp_path: Path) -> None:
    """A file that was there at the beginning and counts no more is not looked for; nor is a new one a stranger."""
    store = sealed(tmp_path / "store")
    sealer = Sealer(store, clock=lambda: T0 + 30 * DAY, limits=Limits(age=DAY), node="gw1")
    removed = list[object]()

    def meanwhile(_: int) -> None:
        if not removed:
            removed.append(sealer.retain())
            assert sealer.seal()

    result = Verifier(store, Scope(), Checked(None)).run(None, meanwhile)
    assert removed[0] is not None
    assert result.findings == []


def test_it_goes_on_where_it_was(store: Path, tmp_path: Path) -> None:
    """What was read is not read again, unless it was touched; a torn line of the note counts for nothing."""

    class Stopped(Exception):  # noqa: N818 - nothing failed
        """By hand."""

    note, seen = tmp_path / "note", list[int]()

    def stop(more: int) -> None:
        seen.append(more)
        if len(seen) == 4:
            raise Stopped

    checked = Checked(note)
    with pytest.raises(Stopped):
        Verifier(store, Scope(), checked).run(None, stop)
    checked.close()
    with note.open("a") as file:
        file.write('{"file": "torn')
    first = Verifier(store, Scope(), Checked(note)).run()
    assert (first.findings, first.before) == ([], 3)
    files = sum(day.files for day in first.days.values())
    flip(counted(store, "connections"))
    second = Verifier(store, Scope(), Checked(note)).run()
    assert [each.wrong for each in second.findings] == [Wrong.CHANGED]
    assert second.before == files - 1


def test_a_file_to_go_on_with_that_is_another(tmp_path: Path) -> None:
    """It is refused, and not written to."""
    note = tmp_path / "note"
    note.write_text("[1]\n")
    with pytest.raises(InputError, match="no file that `anetcon verify` made"):
        Checked(note)
    assert note.read_text() == "[1]\n"
    with pytest.raises(InputError, match="Is a directory"):
        Checked(tmp_path)


@pytest.mark.parametrize("name", ["format1", "format2"])
def test_older_stores(name: str) -> None:
    """A store that an older version wrote is whole."""
    (store,) = {path.parent for path in (Path(__file__).parents[2] / "data" / name).rglob("manifest.jsonl")}
    result = verified(store)
    assert result.findings == []
    assert result.lines > 0
