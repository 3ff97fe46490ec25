"""Text of conntrack becomes connections: NEW and DESTROY in one, with what each tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from anetcon.decode.columns import NONE
from anetcon.history.events import Events
from anetcon.history.line_batch import LineBatch
from anetcon.history.syslog import BlockCounts
from anetcon.record import CLASSES, END_REASONS
from tests.support.old_lines import AT, DESTROY, NEW, address
from tests.support.records import DAY, SECOND, T0


def read(*texts: str, finish: bool = True) -> tuple[list[dict[str, Any]], list[BlockCounts], Events]:
    """The connections of some blocks."""
    reader = Events(UTC, T0 + DAY)
    found = [reader.read(text.encode()) for text in texts]
    if finish:
        reader.finish()
    batch = LineBatch(max(reader.waiting, 1))
    if reader.waiting:
        reader.take(batch, 0, 0)
    return [_row(batch, number) for number in range(batch.rows)], found, reader


def _row(batch: LineBatch, row: int) -> dict[str, Any]:
    of = batch.of
    ends = {side: (address(of[f"{side}_ip"][row].tobytes()), int(of[f"{side}_port"][row])) for side in SIDES}
    shown: dict[str, Any] = {name: int(of[name][row]) for name in ("start", "end", "proto", "mark", "zone", "ct_id")}
    counters = [int(of[name][row]) for name in ("packets_out", "bytes_out", "packets_in", "bytes_in")]
    shown |= {"class": CLASSES[of["class"][row]], "reason": END_REASONS[of["end_reason"][row]]}
    return shown | ends | {"counters": counters if batch.given["bytes_in"][row] else None}


SIDES = ("src", "dst", "nat_src", "nat_dst")


def test_new_and_destroy() -> None:
    """They are one connection; it ended when it had lasted as long as conntrack says, not when that was printed."""
    (row,), (first, second), _ = read(NEW + NEW.replace("[NEW]", "[UPDATE]"), DESTROY)
    assert [row[side] for side in SIDES] == [
        *(("10.0.0.5", 40000), ("198.51.100.9", 443), ("203.0.113.7", 40213), ("198.51.100.9", 443)),
    ]
    assert (row["start"], row["end"], row["reason"], row["class"]) == (T0 + 250, T0 + 250 + 3 * SECOND, "closed", "nat")
    assert (row["counters"], row["mark"], row["ct_id"]) == ([6, 339, 4, 235], 7, 99)
    assert (first.rows, second.rows, first.unreadable) == (2, 1, [])


def test_one_without_the_other() -> None:
    """A NEW has no end then, but what it tells; and a DESTROY began as long before as it lasted."""
    (row,), _, _ = read(NEW.replace("mark=7", "mark=7 zone=5"))
    assert (row["start"], row["end"], row["reason"], row["counters"]) == (T0 + 250, NONE, "unknown", None)
    assert (row["mark"], row["zone"]) == (7, 5)
    (row,), _, _ = read(DESTROY)
    assert (row["start"], row["end"]) == (T0 + 6 * SECOND, T0 + 9 * SECOND)
    assert read(NEW, finish=False)[0] == []


def test_what_is_open_at_the_end_comes_in_pieces() -> None:
    """Each once, the oldest first."""
    texts = [NEW.replace("sport=40000", f"sport={port}") for port in range(40000, 40003)]
    _, _, reader = read(*texts, finish=False)
    assert [(reader.finish(2), reader.waiting) for _ in range(3)] == [(True, 2), (True, 3), (False, 3)]


def test_the_same_tuple_again() -> None:
    """Two NEW events are two connections, the DESTROY is of the second; another zone is another connection."""
    rows, _, _ = read(NEW + NEW.replace(".000250", ".900000") + DESTROY)
    assert [(row["start"] - T0, row["end"] == NONE) for row in rows] == [(250, True), (900_000, False)]
    zoned = DESTROY.replace("mark=7", "mark=7 zone=5")
    rows, _, _ = read(NEW + zoned)
    assert sorted((row["zone"], row["end"] == NONE) for row in rows) == [(0, True), (5, False)]


def test_other_protocols() -> None:
    """ICMP has an id and a type, UDP no state, GRE and others no ports; IPv6 and a family are read."""
    head = f"[{AT}.000000]\t    [NEW] "
    icmp = "src=10.0.0.5 dst=10.0.0.9 type=8 code=0 id=77 [UNREPLIED] src=10.0.0.9 dst=10.0.0.1 type=0 code=0 id=88"
    gre = "src=10.0.0.5 dst=10.0.0.9 srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.0.9 dst=10.0.0.1 srckey=0x0 dstkey=0x0"
    six = "src=2001:db8::5 dst=2001:db8::9 sport=1 dport=2 [UNREPLIED] src=2001:db8::9 dst=2001:db8::5 sport=2 dport=1"
    lines = ["icmp     1 30 " + icmp, "gre      47 600 " + gre, "ipv6     10 udp      17 30 " + six]
    lines.append("unknown  2 600 src=10.0.0.5 dst=224.0.0.1 [UNREPLIED] src=224.0.0.1 dst=10.0.0.5")
    rows, (found,), _ = read("".join(f"{head}{line}\n" for line in lines))
    assert (found.rows, found.unreadable) == (4, [])
    assert [(row["proto"], row["src"][1], row["dst"][1], row["nat_src"][1]) for row in rows] == [
        *((1, 77, 2048, 88), (47, 0, 0, 0), (17, 1, 2, 1), (2, 0, 0, 0)),
    ]


def test_a_translated_destination_is_a_float() -> None:
    """What the reply comes from is not what was addressed."""
    (row,), _, _ = read(NEW.replace("src=198.51.100.9 dst=203", "src=10.0.0.9 dst=203"))
    assert (row["class"], row["nat_dst"]) == ("float", ("10.0.0.9", 443))


def test_kernel_times_without_printed_ones() -> None:
    """With -o ktimestamp alone a DESTROY has both its times; events without any are passed over."""
    bare = DESTROY.partition("\t")[2].replace("delta-time=3", "delta-time=3 [start=Fri Nov 20 13:05:09 2026] "
                                              "[stop=Fri Nov 20 13:05:12 2026]")  # fmt: skip
    rows, (found,), reader = read(NEW.partition("\t")[2] + bare)
    assert [(row["start"], row["end"]) for row in rows] == [(T0, T0 + 3 * SECOND)]
    assert (found.rows, found.unreadable, reader.times.tolist()) == (2, [], [T0, T0 + 3 * SECOND])
    assert (reader.zoneless, reader.folded, reader.untimed) == (2, 0, 0)


def test_events_without_any_time() -> None:
    """They are no connection, and each is counted: a beginning unless its end tells it, an end, not one with a time."""
    beginning, end = NEW.partition("\t")[2], DESTROY.partition("\t")[2]
    for texts, untimed in (([beginning], 1), ([beginning, end], 2), ([NEW, beginning], 0), ([end], 1), ([NEW, end], 1)):
        rows, _, reader = read("".join(texts))
        assert (len(rows), reader.untimed) == (NEW in texts, untimed), texts


def test_kernel_times_of_an_hour_that_was_twice() -> None:
    """They are read as the first, and counted."""
    bare = DESTROY.partition("\t")[2].replace("delta-time=3", "[start=Sun Oct 26 02:30:30 2025] "
                                              "[stop=Sun Oct 26 03:32:10 2025]")  # fmt: skip
    reader = Events(ZoneInfo("Europe/Madrid"), T0 + DAY)
    reader.read(bare.encode())
    first = datetime(2025, 10, 26, 0, 30, 30, tzinfo=UTC).timestamp()
    assert (reader.times[0], reader.zoneless, reader.folded) == (first * SECOND, 2, 1)


def test_unreadable_events() -> None:
    """What looks like an event and is none is told with its number; what does not is left to others."""
    broken = [
        NEW.replace("dport=443", "dport=99999"),
        NEW.replace("10.0.0.5", "10.0.0.555"),
        NEW.replace(f"[{AT}", f"[{AT + 10**6}"),
        NEW[:90] + "\n",
    ]
    rows, (found,), _ = read("".join(["[NEW] is a word\n", *broken, NEW, NEW[:-2]]))
    assert (len(rows), found.rows) == (1, 1)
    assert [number for number, _ in found.unreadable] == [1, 2, 3, 4, 6], "the last may have been cut"


WORDS = [*NEW.split(" "), *DESTROY.split(" "), "[NEW] ", "\n", "type=300", "bytes=99999999999999999999", "zone=70000"]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=60))
def test_any_text(words: list[str]) -> None:
    """Whatever a file holds, nothing is raised, and no line is counted twice."""
    text = " ".join(words) + "\n"
    rows, (found,), reader = read(text)
    assert found.rows + len(found.unreadable) <= text.count("\n")
    assert len(rows) + reader.untimed <= found.rows
