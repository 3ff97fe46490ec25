"""A journal torn, zeroed and flipped, asked through the commands: what cannot be read back is a gap, never silence."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.errors import NOT_FOUND
from anetcon.journal.write import segment_path, segments
from anetcon.query.times import rfc3339
from anetcon.store import layout
from anetcon.store.snapshot import Snapshot
from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router
from anetcon.testbed.traffic import Made, Server
from tests.support.asking import Answer
from tests.support.daemon import Daemon, seconds
from tests.support.frozen import frozen
from tests.support.ledger import UnaccountedError
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
FLUSHES = 3
PLACES = 25
"""At so many places of each file, and at the beginning of each line; tests/unit/journal/test_read.py does it at every
byte."""
PORT = 40_000
"""The first connection's, so that no two are alike."""


class Journal:
    """A journal of a daemon that was stopped, with a whole segment behind the one that is damaged."""

    def __init__(self, store: Path, made: list[Made]) -> None:
        self.store = store
        self.made = {each.src_port: each for each in made}
        folder = layout.journal_folder(store, "connections")
        self.data, self.index = segment_path(folder, 1), segment_path(folder, 1, "index")
        self._good = self.data.read_bytes(), self.index.read_bytes()
        self._span = ("--since", rfc3339(made[0].began - 1), "--until", rfc3339(made[-1].ended or 0))

    def mend(self) -> None:
        """As it was."""
        for path, content in zip((self.data, self.index), self._good, strict=True):
            path.write_bytes(content)

    def judge(self, what: str) -> int:
        """How many connections are found; each other one was made inside a gap. Raises UnaccountedError."""
        answer = Answer("search", "--dst", SERVER, *self._span, "--store", self.store, "--format", "json")
        found = {record["src_port"] for record in answer.json["connections"]}
        if found - set(self.made) or len(found) != len(answer.json["connections"]):
            raise UnaccountedError(f"{what}: found what was not made")
        for each in (self.made[port] for port in set(self.made) - found):
            assert each.ended is not None
            if not any(_meets(gap, each) for gap in answer.json["coverage"]["gaps"]):
                raise UnaccountedError(f"{what}: {each.src_port} is neither found nor in a gap")
        if not found and answer.status == NOT_FOUND:
            raise UnaccountedError(f"{what}: nothing found, and that is called complete")
        return len(found)


def _meets(gap: dict[str, str], each: Made) -> bool:
    begin = seconds(gap["from"]) if gap["from"] else 0.0
    end = seconds(gap["to"]) if gap["to"] else float("inf")
    return begin * 1e6 <= each.began and each.began <= end * 1e6


@pytest.fixture
def journal(daemon: Start, router: Router, tmp_path: Path) -> Journal:
    """Some connections, a flush between them; their segment is closed and not yet sealed, the next has begun."""
    auditor = daemon(router.name, store={"sync_seconds": 0.2, "flush_seconds": 0.2})
    auditor.wait_attached([router.name])
    follow, inside, made = auditor.status()["follow"]["pid"], router.instances[0], []
    router.namespace.sysctl(netfilter__nf_conntrack_tcp_timeout_close=600)  # no end of one comes in a later flush
    with frozen([follow]):
        with Server(router.world.namespace, SERVER, 8080) as server:
            for port in range(PORT, PORT + FLUSHES):
                made.append(
                    traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, "reset", source_port=port)
                )
                auditor.wait_written()
        folder = layout.journal_folder(auditor.store, "connections")
        auditor.signal_capture(signal.SIGTERM)  # it closes its segment, and the next goes on behind it
        wait_until(lambda: segments(folder)[-1] > 1, 20, "a segment is closed")
        auditor.wait_written()
        shutil.copytree(auditor.store, tmp_path / "copy", ignore=shutil.ignore_patterns("*.new"))  # some vanish
    return Journal(tmp_path / "copy", made)


def broken(journal: Journal) -> Iterator[str]:
    """The journal damaged in one way after the other."""
    for path in (journal.index, journal.data):
        good = path.read_bytes()
        ways = {
            "flipped": lambda at, good=good: good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :],
            "torn": lambda at, good=good: good[:at],
            "zeroed": lambda at, good=good: good[:at] + bytes(len(good) - at),
        }
        places = {*range(0, len(good), max(1, len(good) // PLACES))}
        if path is journal.index:
            places |= set(itertools.accumulate(map(len, good.splitlines(keepends=True)[:-1])))
        for at, name in zip(sorted(places), itertools.cycle(["flipped", "torn", "flipped", "zeroed"]), strict=False):
            path.write_bytes(ways[name](at))
            yield f"{path.name} {name} at {at}"
        journal.mend()


def test_damage_anywhere(journal: Journal) -> None:
    """Wherever the journal is torn, zeroed or flipped, what an answer does not have is in the gaps it tells of."""
    assert journal.judge("whole") == FLUSHES
    found = [journal.judge(what) for what in broken(journal)]
    assert len(found) >= 2 * PLACES
    assert set(found) == set(range(FLUSHES + 1))


def test_damage_that_is_not_told(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a store that passes over what it cannot read is found out."""
    for name in ("damaged", "torn"):
        monkeypatch.setattr(Snapshot, name, lambda _: [])

    def each() -> None:
        for what in broken(journal):
            journal.judge(what)

    with pytest.raises(UnaccountedError):
        each()
