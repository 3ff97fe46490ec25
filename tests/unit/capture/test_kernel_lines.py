"""Packets of kernel lines become rows of the right namespace, and every missing number a gap."""

from __future__ import annotations

import hashlib
import mmap
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from anetcon.capture.kernel_lines import KernelLines, prefix_of
from anetcon.capture.pipeline import Pipeline
from anetcon.decode.logline import Prefix
from anetcon.journal.read import last_flush
from anetcon.journal.write import Writer
from anetcon.kmsg.packets import Stamp, pack
from anetcon.link import counters
from tests.support import capture_parts as parts
from tests.support.capture_parts import NOW, at

BOOT = NOW - 10_000_000
"""Wall clock when the kernel's log time was 0."""


def line(number: int, netns: str = "qrouter-1", at: int = 0, kind: str = "X", port: int = 0, **how: Any) -> str:
    """A kernel message: one connection from 10.0.0.5, its port the message's number unless another is given."""
    digest = hashlib.md5(netns.encode(), usedforsecurity=False).hexdigest()[:8]
    text = "" if netns == "default" or not how.get("hashed", True) else f"[{digest}]"
    return (
        f"{how.get('level', 4)},{number},{at or number},-;[ANETCON][{kind}]{text} IN=a OUT=b SRC=10.0.0.5 "
        f"DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT={port or number} DPT=443 WINDOW=1 "
        "RES=0x00 SYN URGP=0 \n"
    )


class Scene:
    """A pipeline that hears kernel lines through a socket."""

    def __init__(self, store: Path, memory: mmap.mmap, after_crash: bool = False, hashed: bool = True) -> None:
        flushed = last_flush(store / "journal" / "connections")
        self.store = store
        self.pipeline: Pipeline = parts.pipeline(store, memory)
        self.header = counters.Header(memory)
        prefix = Prefix("[ANETCON]", "[D]", "[X]", hashed=hashed)
        self.lines = KernelLines(prefix, self.pipeline, self.header, after_crash=after_crash, flushed=flushed)
        self.reader, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        assert self.lines.listen(end) == end.fileno()
        parts.SOCKETS.extend([self.reader, end])

    def attach(self, name: str = "qrouter-1", slot: int = 0) -> None:
        """A namespace is audited, and attached."""
        made, _, _ = parts.namespace(name, slot)
        self.lines.name(name, made.inode)
        self.pipeline.add(made)

    def print(self, *messages: str) -> None:
        """A packet of messages, read without delay at the last one's time."""
        time = int(messages[-1].split(",")[2])
        records = "".join(messages).encode()
        self.reader.send(pack(Stamp(BOOT + time, time, len(records)), records))
        assert self.lines.read(at(NOW)) == 1

    def gaps(self) -> list[tuple[str | None, int, int, str, int | None]]:
        """Every gap, times since BOOT."""
        rows = parts.rows(self.store, "gaps")
        return [(g["netns"], _us(g["from"]) - BOOT, _us(g["to"]) - BOOT, g["cause"], g["lost"]) for g in rows]


def _us(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


@pytest.fixture
def memory() -> mmap.mmap:
    """Shared counters; the keeper has said that message 100 is the first."""
    made = parts.shared()
    counters.Header(made).next_line = 100
    return made


@pytest.fixture
def scene(tmp_path: Path, memory: mmap.mmap) -> Iterator[Scene]:
    """One audited namespace, attached."""
    made = Scene(tmp_path, memory)
    made.attach()
    yield made
    made.pipeline.journals.close()


def test_lines_become_rows(scene: Scene) -> None:
    """A row a line, of the namespace the hash stands for, at the line's wall-clock time, with what a line knows."""
    scene.print(line(100), line(101, kind="D"))
    scene.lines.flush(at(NOW))
    nat, float_ = parts.rows(scene.store)
    assert (nat["netns"], nat["netns_inode"], nat["origin"], nat["class"]) == ("qrouter-1", 4026532000, "log", "nat")
    assert (_us(nat["start"]) - BOOT, nat["end"], nat["end_reason"]) == (100, None, "unknown")
    assert nat["dst_ip"] == nat["nat_dst_ip"]
    assert (nat["src_port"], nat["dst_port"], nat["nat_src_ip"], nat["nat_src_port"]) == (100, 443, None, None)
    assert (float_["class"], float_["dst_ip"], float_["dst_port"], float_["nat_dst_port"]) == ("float", None, None, 443)
    assert scene.gaps() == []
    assert scene.pipeline.counted["events"][0] == 2
    assert scene.pipeline.counted["starts"][0] == 2


def test_missing_numbers_are_a_gap(scene: Scene) -> None:
    """From the line before to the line behind, with exactly how many; foreign messages count as messages."""
    scene.print(line(100), line(101, at=1000), "6,105,500000,-;something else\n", line(106, at=900_000))
    scene.print(line(110, at=3_000_000))
    scene.lines.flush(at(NOW))
    assert scene.gaps() == [
        (None, 1000, 500_000, "overrun", 3),
        (None, 900_000, 3_000_000, "overrun", 3),
    ]


def test_what_is_missing_at_the_start_counts(scene: Scene) -> None:
    """Messages that were overwritten before the first one was read are missing too."""
    scene.print(line(103, at=5000))
    scene.lines.flush(at(NOW))
    assert scene.gaps() == [(None, 5000, 5000, "overrun", 3)]


def test_a_gap_never_ends_before_it_begins(scene: Scene) -> None:
    """Also when the wall clock was set back between the line before and the line behind."""
    scene.print(line(100, at=5_000_000))
    scene.lines.flush(at(NOW))
    records = line(103, at=6_000_000).encode()
    scene.reader.send(pack(Stamp(BOOT + 1_000_000, 6_000_000, len(records)), records))
    scene.lines.read_all(at(NOW))
    scene.lines.flush(at(NOW))
    assert scene.gaps() == [(None, 1_000_000, 1_000_000, "overrun", 2)]


def test_losses_close_to_each_other_are_one_gap(scene: Scene) -> None:
    """While lines come faster than they are read the journal gets a few gaps a second, not thousands."""
    scene.print(*(line(number, at=number * 100) for number in range(100, 200, 2)))
    scene.lines.flush(at(NOW))
    assert scene.gaps() == [(None, 10_000, 19_800, "overrun", 49)]


def test_the_next_capture_goes_on_where_the_last_one_wrote(tmp_path: Path, memory: mmap.mmap) -> None:
    """What the one before had read and not written is missing by number: a gap that says so, from the last line
    written to the first one seen."""
    first = Scene(tmp_path, memory)
    first.attach()
    first.print(line(100), line(101, at=1000))
    first.lines.flush(at(NOW))
    first.print(line(102, at=2000), line(103, at=3000))  # read, and lost
    second = Scene(tmp_path, memory, after_crash=True)
    second.attach()
    second.print(line(104, at=4000), line(107, at=500_000))
    second.lines.flush(at(NOW))
    assert second.gaps() == [(None, 1000, 4000, "capture-down", 2), (None, 4000, 500_000, "overrun", 2)]
    assert [row["src_port"] for row in parts.rows(tmp_path)] == [100, 101, 104, 107]


@pytest.mark.parametrize("written", [True, False])
def test_a_crash_around_a_flush(
    tmp_path: Path, memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """Killed when a flush was just written, and not yet counted, or just before: what is on record is not counted as
    lost, and what is not is."""
    first = Scene(tmp_path, memory)
    first.attach()
    first.print(line(100, at=1000))
    first.lines.flush(at(NOW))
    first.print(line(101, at=2000), line(102, at=3000))
    put = Writer.put

    def killed(writer: Writer, payload: bytes, rows: int, start: int, end: int) -> None:
        if written:
            put(writer, payload, rows, start, end)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            first.lines.flush(at(NOW + 500_000))
    second = Scene(tmp_path, memory, after_crash=True)
    second.attach()
    second.print(line(104, at=700_000))
    second.lines.flush(at(NOW + 900_000))
    assert second.gaps() == [(None, 1000, 700_000, "capture-down", 1 if written else 3)]
    assert [row["src_port"] for row in parts.rows(tmp_path)] == [100, *((101, 102) if written else ()), 104]
    third = Scene(tmp_path, memory)
    third.attach()
    third.print(line(105))
    third.lines.flush(at(NOW + 1_000_000))
    assert len(third.gaps()) == 1


def test_a_capture_that_ended_in_order_leaves_nothing_missing(tmp_path: Path, memory: mmap.mmap) -> None:
    """Everything that waits is read before the end; the next one sees no jump."""
    first = Scene(tmp_path, memory)
    first.attach()
    first.reader.send(pack(Stamp(BOOT + 100, 100, 0), line(100).encode()))
    first.lines.read_all(at(NOW))
    first.lines.flush(at(NOW))
    second = Scene(tmp_path, memory)
    second.attach()
    second.print(line(101))
    second.lines.flush(at(NOW))
    assert second.gaps() == []
    assert len(parts.rows(tmp_path)) == 2


def test_only_what_was_stamped_tells_the_time(scene: Scene) -> None:
    """The stamp is of the packet's first bytes: what was read later, or in a packet without, moves nothing."""
    first, later = line(100, at=1000).encode(), line(101, at=9000).encode()
    scene.reader.send(pack(Stamp(BOOT + 1000, 1000, len(first)), first + later))
    scene.reader.send(pack(Stamp(BOOT + 99_000, 99_000, 0), line(102, at=10_000).encode()))
    scene.lines.read_all(at(NOW))
    scene.lines.flush(at(NOW))
    assert [_us(row["start"]) - BOOT for row in parts.rows(scene.store)] == [1000, 9000, 10_000]


def test_a_namespace_that_is_gone_is_remembered(scene: Scene) -> None:
    """Lines that come after their namespace was let go still have its name and inode; its name is known early, too."""
    (namespace,) = scene.pipeline.codes.attached()
    scene.pipeline.remove(namespace)
    scene.lines.name("qrouter-2", 77)
    scene.print(line(100), line(101, "qrouter-2"), line(102, "qrouter-2"))
    scene.lines.flush(at(NOW))
    rows = parts.rows(scene.store)
    assert [(row["netns"], row["netns_inode"]) for row in rows] == [("qrouter-1", 4026532000), *[("qrouter-2", 77)] * 2]


def test_lines_of_others_are_left_out_and_told_of_once(scene: Scene, said: list[str]) -> None:
    """A hash that is no audited namespace's, or none where there is no `default`, is not ours."""
    scene.print(line(100, "qrouter-9"), line(101, "qrouter-9"), line(102, "default"), line(103))
    scene.lines.flush(at(NOW))
    assert [row["src_port"] for row in parts.rows(scene.store)] == [103]
    assert len(said) == 1
    assert "not audited" in said[0]


def test_the_daemons_own_namespace_has_no_hash(scene: Scene) -> None:
    """A prefix without a hash is that of `default`, when it is audited."""
    scene.attach("default", 1)
    scene.print(line(100, "default"), line(101))
    scene.lines.flush(at(NOW))
    assert [row["netns"] for row in parts.rows(scene.store)] == ["default", "qrouter-1"]


def test_without_hashes_one_namespace_is_known_and_several_are_not(tmp_path: Path, memory: mmap.mmap) -> None:
    """With one audited namespace it is that one; with more nobody can tell."""
    scene = Scene(tmp_path, memory, hashed=False)
    scene.attach()
    scene.print(line(100, hashed=False))
    scene.lines.flush(at(NOW))
    scene.attach("qrouter-2", 1)
    scene.print(line(101, hashed=False))
    scene.lines.flush(at(NOW))
    assert [row["netns"] for row in parts.rows(tmp_path)] == ["qrouter-1", "unknown"]


def test_what_user_space_writes_is_no_line(scene: Scene) -> None:
    """A forged line has another facility: its number counts, nothing else."""
    scene.print(line(100, level=12), line(101))
    scene.lines.flush(at(NOW))
    assert [row["src_port"] for row in parts.rows(scene.store)] == [101]
    assert scene.gaps() == []


def test_undecodable_lines_are_counted(scene: Scene) -> None:
    """A line with our prefix that cannot be read is counted for its namespace, and is a gap of it."""
    scene.print(line(100), line(101).replace("SPT=101", "SPT=x"))
    scene.lines.flush(at(NOW))
    assert len(parts.rows(scene.store)) == 1
    assert [(g[0], g[3], g[4]) for g in scene.gaps()] == [("qrouter-1", "undecodable", 1)]
    assert scene.pipeline.counted["undecodable"][0] == 1
    assert scene.pipeline.counted["events"][0] == 2


def test_many_lines_are_taken_in_batches(scene: Scene) -> None:
    """More lines than the columns hold are all written."""
    for first in range(100, 70_100, 700):
        scene.print(*(line(number, port=7) for number in range(first, first + 700)))
    scene.lines.flush(at(NOW))
    assert len(parts.rows(scene.store)) == 70_000
    assert scene.gaps() == []


def test_the_prefix_comes_from_the_settings() -> None:
    """What the rules print is what is looked for."""
    logs = {"prefix": "[A]", "prefix_dnat": "[D]", "prefix_other": "[X]", "namespace_hash": False}
    assert prefix_of(logs) == Prefix("[A]", "[D]", "[X]", hashed=False)
