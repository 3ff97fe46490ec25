"""One question is asked of one state, which is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.journal import read
from anetcon.store import manifest, snapshot
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.state import State
from tests.support.asking import Answer
from tests.support.records import SECOND, T0, Making, start, whole

DOWN = {"node": "gw1", "netns": None, "from": T0 + SECOND, "to": T0 + 2 * SECOND, "cause": "daemon-down", "lost": None}
ADDRESS = {"node": "gw1", "netns": "qrouter-1", "netns_inode": 1, "interface": "qg-1", "address": "203.0.113.7"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two seals, and behind them two segments of connections, one of them written to, and one of three other tables."""
    making = Making(tmp_path / "store").audited()
    for number in range(4):
        making.add(*whole(src_port=number), start(src_port=100 + number), start(netns="other", src_port=200 + number))
        making.add(DOWN, table="gaps").add(ADDRESS | {"from": T0, "to": None}, table="addresses").alive(T0 + number)
        if number < 3:
            making.rotate()
        if number < 2:
            assert Sealer(making.path, lambda: T0 + 60 * SECOND).seal()
    return making.path


WHO = ("who", "203.0.113.7:40213", "--at", "2026-11-20T13:05:09Z")


@pytest.mark.parametrize(
    "question",
    [
        WHO,
        (*WHO, "--to", "198.51.100.9", "--within", "1h"),
        (*WHO, "--netns", "other", "--node", "gw1"),
        ("search", "--host", "10.0.0.5", "--netns", "other"),
        ("gaps", "--netns", "other"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_a_question_reads_everything_once(
    store: Path, monkeypatch: pytest.MonkeyPatch, question: tuple[str, ...], kept: bool
) -> None:
    """One replay of the manifest, and one pass of checksums over each segment that is not sealed."""
    whole_one, whole_line = manifest._behind, read._checked
    replays, lines = [], list[bytes]()

    def replay(path: Path, state: State, data: bytes) -> State:
        replays.append(path)
        return whole_one(path, state, data)

    def checked(view: memoryview, raw: bytes) -> bytes | None:
        lines.append(raw)
        return whole_line(view, raw)

    monkeypatch.setattr(manifest, "_behind", replay)
    monkeypatch.setattr(read, "_checked", checked)
    monkeypatch.setattr(snapshot, "KEPT_ROWS", 1_000 if kept else 0)
    assert Answer(*question, "--store", store).status in (0, 1, 3)
    assert replays == [store]
    through = manifest.replay(store).through
    unsealed = [
        index for index in (store / "journal").glob("*/*.index") if int(index.stem) > through.get(index.parent.name, 0)
    ]
    assert len(unsealed) >= 5
    assert sorted(lines) == sorted(line for index in unsealed for line in index.read_bytes().split(b"\n")[:-1])


def test_rows_are_unpacked_again_where_they_are_many(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same answers."""
    found = []
    for most in (0, 1_000):
        monkeypatch.setattr(snapshot, "KEPT_ROWS", most)
        view = Store(store)
        found.append(view.whole(lambda view=view: [view.connections().read_all() for _ in range(2)]))  # type: ignore[misc]
    assert found[0] == found[1]
    assert found[0][0] == found[0][1]
    assert len(found[0][0]) == 12
