"""The kernel's answer about the size of the connection table."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import conntrack


def answer(sequence: int, attributes: bytes, kind: int = conntrack.GET_STATS) -> bytes:
    """A netlink message as the kernel builds it."""
    body = conntrack.NFGENMSG.pack(0, 0, 0) + attributes
    return conntrack.NLMSGHDR.pack(conntrack.NLMSGHDR.size + len(body), kind, 0, sequence, 0) + body


def attribute(kind: int, value: int) -> bytes:
    """One attribute: four bytes, big endian."""
    return conntrack.NLATTR.pack(8, kind) + struct.pack(">I", value)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_both_numbers_are_read(connections: int, limit: int) -> None:
    """In any order, with others between."""
    entries = attribute(conntrack.CTA_STATS_GLOBAL_ENTRIES, connections)
    most = attribute(conntrack.CTA_STATS_GLOBAL_MAX_ENTRIES, limit)
    both = {conntrack.CTA_STATS_GLOBAL_ENTRIES: connections, conntrack.CTA_STATS_GLOBAL_MAX_ENTRIES: limit}
    assert conntrack.parse(answer(7, entries + most), 7) == both
    assert conntrack.parse(answer(7, most + attribute(9, 1) + entries), 7) == both | {9: 1}


def test_an_answer_to_another_question_is_none() -> None:
    """Sequence numbers tell which question is answered."""
    assert conntrack.parse(answer(6, b""), 7) is None


def test_an_error_is_an_error() -> None:
    """What the kernel refuses is an OSError with its number."""
    error = conntrack.NLMSGHDR.pack(36, conntrack.NLMSG_ERROR, 0, 7, 0) + struct.pack("=i", -1) + bytes(16)
    with pytest.raises(PermissionError):
        conntrack.parse(error, 7)


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_garbage_ends(anything: bytes, attributes: bytes) -> None:
    """Any bytes, and any attributes, are read to an end without another error than OSError."""
    with contextlib.suppress(OSError):
        conntrack.parse(anything, int.from_bytes(anything[8:12], "little"))
    conntrack.parse(answer(1, attributes), 1)


def processor(drop: int, toolong: int, invalid: int = 0, error: int = 0) -> bytes:
    """The statistics of one processor, with others between."""
    numbers = (
        attribute(conntrack.CTA_STATS_INVALID, invalid) + attribute(conntrack.CTA_STATS_DROP, drop) + attribute(11, 5)
    )
    numbers += attribute(conntrack.CTA_STATS_ERROR, error) + attribute(conntrack.CTA_STATS_CHAIN_TOOLONG, toolong)
    return answer(0, numbers, conntrack.GET_STATS_CPU)


DONE = conntrack.NLMSGHDR.pack(20, conntrack.NLMSG_DONE, 0, 0, 0) + bytes(4)
COUNT = st.integers(0, 2**32 - 1)


class Asked(socket.socket):
    """A socket to which the kernel answers with these datagrams."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self.answers = list(answers)

    def send(self, data: Any, flags: int = 0, /) -> int:  # noqa: ARG002 - that of socket
        """A question."""
        return len(memoryview(data))

    def recv(self, size: int, flags: int = 0, /) -> bytes:  # noqa: ARG002 - that of socket
        """The next answer."""
        return self.answers.pop(0)


@given(st.lists(st.tuples(COUNT, COUNT, COUNT, COUNT), max_size=8), st.booleans())
def test_what_all_processors_counted(counted: list[tuple[int, int, int, int]], together: bool) -> None:
    """Refusals and packets that are invalid are each added up; evictions are neither. The end of the answer may come
    with the last piece or alone."""
    pieces = [processor(*each) for each in counted]
    answers = [b"".join(pieces) + DONE] if together else [*pieces, DONE]
    with Asked(*answers) as asking:
        data = conntrack.processors(asking)
    assert data == b"".join(pieces)
    assert conntrack.counted(data) == (sum(sum(each[:2]) for each in counted), sum(sum(each[2:]) for each in counted))


def test_counts_that_are_not_told() -> None:
    """What the kernel refuses to tell is an OSError."""
    error = conntrack.NLMSGHDR.pack(36, conntrack.NLMSG_ERROR, 0, 0, 0) + struct.pack("=i", -95) + bytes(16)
    with Asked(error) as asking, pytest.raises(OSError, match="statistics"):
        conntrack.processors(asking)


@given(st.binary(max_size=200))
def test_any_bytes_for_counts(anything: bytes) -> None:
    """Any bytes are read to an end."""
    for data in (anything, processor(1, 1) + anything, processor(1, 1)[:24] + anything):
        conntrack.counted(data)
