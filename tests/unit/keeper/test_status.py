"""status.json says what is, and is written no oftener than it must be."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import Cause
from anetcon.keeper import status as statuses
from anetcon.keeper.children import Child, Reaper
from anetcon.keeper.loop import Loop
from anetcon.keeper.namespace import Namespace, Refusal, Stage
from anetcon.keeper.namespaces import Seen
from anetcon.keeper.roster import Roster
from anetcon.keeper.shared import Shared
from anetcon.keeper.status import Status
from anetcon.link import counters
from tests.support.examples import examples

WORDS = len(counters.HEADER) + len(counters.SLOT)


class Fixture:
    """A status over namespaces that a test makes up."""

    def __init__(self) -> None:
        self.descriptor = counters.create(8)
        self.memory = counters.attach(self.descriptor)
        shared = Shared(self.descriptor)
        unused = cast(Any, None)
        self.roster = Roster(unused, unused, unused, unused, unused)
        self.shared = shared
        loop = Loop()
        reaper = Reaper(loop)
        self.child = Child(loop, reaper, "it", lambda: 0)
        self.written: list[dict[str, Any]] = []
        self.able = True
        self.status = Status(self.roster, shared, cast(Any, self))

    def write(self, content: bytes) -> bool:
        """Take what would be written."""
        if self.able:
            self.written.append(json.loads(content))
        return self.able

    def found(self, name: str, inode: int) -> Namespace:
        """A namespace that is there."""
        seen = Seen(inode, newborn=True, noticed=1_600_000_000_000_000)
        namespace = self.roster.namespaces[name] = Namespace(Path("/", name), seen)
        return namespace

    def add(self, name: str, slot: int) -> Namespace:
        """An attached one."""
        assert self.shared.take() == slot
        namespace = self.roster.attached[slot] = self.found(name, slot + 100)
        namespace.attach(slot, slot + 100, cast(Any, None), 1_700_000_000_000_000)
        return namespace

    def count(self, slot: int, name: str, value: int) -> None:
        """What capture counts."""
        at = counters.HEADER_SIZE + slot * counters.SLOT_SIZE + counters.SLOT.index(name) * counters.WORD
        struct.pack_into("=Q", self.memory, at, value)

    def update(self) -> None:
        """A second passes."""
        self.status.update({"node": "here"}, self.child, self.child)


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    """One for a test."""
    with made() as fixture:
        yield fixture


@contextlib.contextmanager
def made() -> Iterator[Fixture]:
    """Signals are as before afterwards."""
    before = signal.getsignal(signal.SIGCHLD)
    fixture = Fixture()
    yield fixture
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    os.close(fixture.descriptor)


def test_every_state_and_counter_is_told(fixture: Fixture) -> None:
    """Attached, conntrack-inactive, retrying and gone ones are listed; totals sum up present and past."""
    fixture.add("one", 0)
    fixture.add("two", 1)
    fixture.count(0, "events", 5)
    fixture.count(1, "events", 7)
    fixture.count(1, "state", 1)
    fixture.found("three", 9).refuse(Refusal("permission denied", Cause.NOT_ATTACHED))
    fixture.shared.past[0] = 100
    gone = fixture.found("four", 10)
    del fixture.roster.namespaces["four"]
    gone.restore(Stage.GONE, 2**60, None)
    gone.resume(-1, False, [3, *[0] * 7], None)
    fixture.roster.gone.append(gone)
    fixture.update()
    (written,) = fixture.written
    listed = {entry["netns"]: entry for entry in written["namespaces"]}
    assert [entry["state"] for entry in listed.values()] == ["attached", "conntrack-inactive", "retrying", "gone"]
    assert [entry["events"] for entry in listed.values()] == [5, 7, 0, 3]
    assert listed["one"]["since"] == "2023-11-14T22:13:20.000000Z"
    assert listed["three"]["message"] == "permission denied"
    assert written["totals"]["events"] == 112
    assert written["totals"]["namespaces"] == 3
    assert written["version"] == 1
    assert set(counters.SLOT[:-1]) < listed["one"].keys()


@examples(0.3)
@given(
    st.lists(
        st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1), min_size=WORDS, max_size=WORDS
    )
)
def test_any_number_in_the_shared_memory_can_be_told(words: list[int]) -> None:
    """Whatever capture writes there, status.json and the line for the service manager are made."""
    with made() as fixture:
        fixture.add("one", 0)
        struct.pack_into(f"={WORDS}Q", fixture.memory, 0, *words)
        fixture.update()
        assert fixture.written[0]["capture"]["pid"] is None
        assert statuses.line(fixture.roster, counters.header(fixture.memory), [fixture.child], refused=False)


def test_nothing_is_written_while_nothing_changes(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is written at the next second, also one of the daemon's processes, and that the journal cannot be
    written; no change after five."""
    now = [1_800_000_000_000_000]
    monkeypatch.setattr(statuses, "now_us", lambda: now[0])
    fixture.add("one", 0)
    for _ in range(5):
        now[0] += 1_000_000
        fixture.update()
    assert len(fixture.written) == 1
    fixture.count(0, "starts", 1)
    fixture.update()
    assert len(fixture.written) == 2
    fixture.child.pid = 5
    fixture.update()
    assert fixture.written[2]["capture"]["pid"] == 5
    struct.pack_into("=Q", fixture.memory, counters.HEADER.index("unwritten") * counters.WORD, 1)
    fixture.update()
    assert fixture.written[3]["capture"]["unwritten"]
    now[0] += 5_000_000
    fixture.update()
    assert len(fixture.written) == 5


def test_with_many_namespaces_it_is_written_half_as_often(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes: a change is written at the next second all the same."""
    now = [1_800_000_000_000_000]
    monkeypatch.setattr(statuses, "now_us", lambda: now[0])
    monkeypatch.setattr(statuses, "MANY", 1)
    fixture.add("one", 0)
    fixture.add("two", 1)
    fixture.update()
    now[0] += 5_000_000
    fixture.update()
    assert len(fixture.written) == 1
    now[0] += 5_000_000
    fixture.update()
    assert len(fixture.written) == 2
    fixture.count(1, "starts", 1)
    fixture.update()
    assert len(fixture.written) == 3


def test_what_could_not_be_written_is_written_later(fixture: Fixture) -> None:
    """While the disk hangs nothing waits; afterwards the newest is written."""
    fixture.add("one", 0)
    fixture.able = False
    fixture.update()
    fixture.able = True
    fixture.update()
    assert len(fixture.written) == 1
